"""What the commands have in common: kinds of flags, exit codes, loading, JSON."""

from __future__ import annotations

import json as json_module
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

if TYPE_CHECKING:
    from ..network import Network

File = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FILE")]
Name = Annotated[str | None, tyro.conf.arg(metavar="NAME")]
Number = Annotated[float | None, tyro.conf.arg(metavar="NUMBER")]
Toml = Annotated[Path | None, tyro.conf.arg(metavar="TOML")]
Source = Annotated[str | None, tyro.conf.arg(metavar="SOURCE")]
Needed = Annotated[str, tyro.conf.arg(metavar="SOURCE")]
Pairs = Annotated[tuple[str, ...], tyro.conf.arg(metavar="LAYER=SOURCE")]
Folder = Annotated[Path | None, tyro.conf.arg(metavar="FOLDER")]
Target = Annotated[Path | None, tyro.conf.arg(metavar="PATH")]
Flag = Annotated[bool, tyro.conf.FlagCreatePairsOff]
Layout = Literal["auto", "time-features", "features-time"]
Precision = Literal["auto", "single", "double"]
Start = Literal["initial", "saved"]
Engine = Literal["auto", "cpu", "gpu", "xla"]

DISAGREES, REFUSED = 1, 2
"""Exit codes: the numbers differ; something was refused, with the reason on stderr."""


def load(
    file: Path, variable: str | None, layers: Path | None, quiet: bool = False
) -> Network:
    """The network; what a user should know about it goes to standard error."""
    from .. import formats
    from ..inspection import saved_state

    net = formats.read(file, variable=variable, layers=layers)[0]
    for notice in () if quiet else (*net.origin.notices, *saved_state(net)):
        print(f"jlstm: note: {notice}", file=sys.stderr)
    return net


def print_json(value: Any) -> None:
    """JSON on standard output, which never holds NaN."""
    print(json_module.dumps(value, indent=2, allow_nan=False, default=str))
