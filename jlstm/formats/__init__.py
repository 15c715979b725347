"""File formats: which one a file is in, how to read it, how to write it.

Every reader returns a `Network` and the golden vectors that the file carries. What a
file is, is decided by its first bytes, not by its name.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import InputError, Unsupported
from ..golden import Golden
from ..network import Network
from ._gates import matlab_arrays as matlab_arrays

LATER = {
    ".onnx": "ONNX",
    ".keras": "Keras",
    ".h5": "Keras",
    ".pt": "PyTorch",
    ".pth": "PyTorch",
}


def read(
    path: str | Path, *, variable: str | None = None, layers: Any = None
) -> tuple[Network, list[Golden]]:
    """Read a network and its golden vectors.

    Arguments:
        path: a MAT file, a native file, or the folder of a fine-tuning run, for the
            network that came out of it.
        variable: which of several networks in a MAT file.
        layers: how arrays extracted by hand form a network; a TOML file or a list of
            layers (see `formats.arrays`).

    Raises:
        DamagedFile, Unsupported, Ambiguous, InputError: see the readers.
    """
    from . import arrays, matlab, matlab_export, matlab_struct, native
    from .matfile import MatFile

    path = Path(path)
    if path.is_dir():
        path = _result_of(path)
    if native.recognises(path):
        for name, value in (("variable", variable), ("layers", layers)):
            if value is not None:
                raise Unsupported(f"a native file has no use for {name}", file=path)
        net, golden = native.load(path), native.golden(path)
        return net, [] if golden is None else [golden]
    if path.suffix in LATER and path.exists():
        raise Unsupported(
            f"{LATER[path.suffix]} files are not read yet",
            file=path,
            expected="a MAT file or a native .safetensors file",
        )
    if layers is not None:
        if variable is not None:
            raise Unsupported("give either variable or layers, not both", file=path)
        net, golden = arrays.load(path, layers)
        return net, [] if golden is None else [golden]
    file = MatFile(path)
    with matlab.reading(file):
        chosen = matlab.choose(file, variable)
        net = matlab.build(chosen, file)
        golden = []
        if chosen.kind == matlab_export.KIND:
            golden = matlab_struct.golden(chosen.value, net)
    return net, golden


def _result_of(folder: Path) -> Path:
    """The file of the network that a fine-tuning run ended with."""
    if not (folder / "run.json").is_file():
        raise InputError(
            "a folder that is no fine-tuning run",
            file=folder,
            expected="a network, or a folder with run.json in it",
        )
    result = folder / "net.safetensors"
    if not result.is_file():
        raise InputError(
            "the run has not ended",
            file=folder,
            expected=f"{result.name} in it",
            do=f"jlstm finetune --resume {folder}",
        )
    return result


def save(
    net: Network,
    path: str | Path,
    golden: Golden | Sequence[Golden] | None = None,
) -> tuple[Path, ...]:
    """Write a network; the extension says in which format.

    Arguments:
        net: the network.
        path: `.safetensors`, the native format; or `.mat`, plain arrays for MATLAB,
            with a script `rebuild_<stem>.m` beside it that makes the network again.
        golden: what the original network computed, to be checked after loading: one
            record or several. A MAT file holds all of them, and gets some that jlstm
            computes where none starts from the initial state. A `.safetensors` file
            holds one: the first from the initial state, else the first.

    Returns:
        the files that were written.

    Raises:
        Unsupported: an extension that jlstm does not write, or something in the network
            that the format cannot hold.
        InputError: the file cannot be written there.
    """
    from . import matlab_save, native

    path = Path(path)
    # A record is a tuple itself.
    records = [golden] if isinstance(golden, Golden) else [*(golden or ())]
    if path.suffix == ".mat":
        return matlab_save.save(net, path, records)
    if path.suffix != ".safetensors":
        raise Unsupported(
            "jlstm does not write this format",
            file=path,
            found=path.suffix or "no extension",
            expected=".safetensors or .mat",
        )
    records.sort(key=lambda record: record.start != "initial")  # the others as they lie
    native.save(net, path, records[0] if records else None)
    return (path,)
