"""The command that measures how fast jlstm is beside what else there is."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from ..errors import InputError
from .options import DISAGREES, Flag, Name, Target, Toml, load, print_json


def bench(
    file: Annotated[
        Path | None, tyro.conf.Positional, tyro.conf.arg(metavar="FILE")
    ] = None,
    /,
    *,
    rows: str = "",
    random: int = 0,
    seed: int = 0,
    kind: Literal["inference", "streaming", "training"] = "inference",
    batch: int = 1,
    length: int = 1_000,
    peers: str = "all",
    rounds: int = 20,
    quick: Flag = False,
    allocator: Literal["plain", "keep"] = "plain",
    plot: Target = None,
    variable: Name = None,
    layers: Toml = None,
    json: Flag = False,
) -> int:
    """Measure jlstm against onnxruntime, torch, Keras, Flax and Equinox, side by side.

    Examples: jlstm bench --quick --rows a,c
    jlstm bench net.mat --batch 64 --length 500
    jlstm bench net.mat --kind streaming --peers onnxruntime,torch
    jlstm bench --random 8 --seed 1 --json > other_sizes.json

    Without FILE the rows of the table are measured: a streaming, b one long sequence,
    c a batch, d g training, e a wide layer (e-inference, e-training), f1 f2 tiny ones,
    h GRU, i BiLSTM. Everybody has the same weights, runs in a process of its own and is
    asked in turn; settings such as numbers of threads are tried first, the best is
    measured. Who is not installed is skipped and named. Answers and gradients are held
    against double precision: beyond 1e-4 a contestant is out. Let nothing else run
    meanwhile; the whole table takes tens of minutes. docs/bench.md says what is timed.

    Exit codes: 0 measured; 1 a contestant was wrong, or jlstm itself failed; 2 refused.

    Args:
        file: a network of your own, measured at --kind, --batch and --length.
        rows: which rows, "a,c"; a letter alone takes all rows of that letter.
        random: so many rows of sizes drawn at random, in place of the table's.
        seed: of those sizes, and of the order in which contestants are asked.
        kind: of FILE: whole sequences; a step a call; forward, backward and Adam.
        batch: of FILE: sequences in a call.
        length: of FILE: steps of a sequence.
        peers: who is compared, "onnxruntime,torch"; all, or none.
        rounds: samples of every contestant.
        quick: short turns, and 5 rounds at most.
        allocator: keep tells glibc to give no memory back, for all contestants alike.
        plot: write a picture of the ratios (needs jlstm[plot]).
        variable: which network, where there are several.
        layers: how arrays extracted by hand form a network.
        json: print everything as JSON, with all samples.
    """
    from .. import arguments as given
    from .. import bench as benchmark

    if sum([file is not None, bool(rows), random != 0]) > 1 or random < 0:
        raise InputError(
            "what is to be measured?",
            expected="one of FILE, --rows and --random, or none for the whole table",
        )
    if file is not None:
        net = load(file, variable, layers)
        some = [benchmark.own(net, kind, batch=batch, length=length, title=file.name)]
    else:
        some = benchmark.drawn(random, seed) if random else benchmark.chosen(rows)
    if plot is not None:
        from ..plots import writable

        writable(plot)  # refused now, not after half an hour
    with given.progress_bar() as progress:
        found = benchmark.measure(
            some, peers=_peers(peers), rounds=min(rounds, 5) if quick else rounds,
            quick=quick, allocator=allocator, seed=seed, progress=progress,
        )  # fmt: skip
    if plot is not None:
        from ..bench.pictures import ratios

        ratios(found, plot)
    if json:
        print_json(found.to_dict())
    else:
        _show(found)
    return DISAGREES if found.disagrees else 0


def _peers(names: str) -> list[str] | None:
    if names in ("all", "none"):
        return None if names == "all" else []
    return [name.strip() for name in names.split(",")]


def _show(found: Any) -> None:
    """The tables as wide as the terminal; as text where it is none."""
    if not sys.stdout.isatty():
        print(found)
        return
    from rich.console import Console
    from rich.table import Table

    from ..bench import report

    console = Console()
    for given in report.tables(found):
        table = Table(title=given.title, title_justify="left")
        for number, head in enumerate(given.head):
            table.add_column(head, justify="left" if number == 0 else "right")
        for cells in given.body:
            table.add_row(*cells)
        console.print(table)
    for line in report.remarks(found):
        console.print(line, markup=False, highlight=False)
