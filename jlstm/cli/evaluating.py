"""The command that runs a network over a folder of files."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from ..errors import InputError
from .options import Engine, Flag, Name, Precision, Toml, load, print_json

if TYPE_CHECKING:
    from ..network import Network
    from ..shards.manifest import Evaluation, Folder, Options

SOME_SET_ASIDE = 1
"""Exit code: the rest is finished."""
TERMINATED = 143
BETWEEN = 0.5
"""Seconds between two looks at how many shards are finished."""
UNCHANGED = (128, "right", 0.0, "longest")
"""MATLAB's padding, where nothing is said about it."""
Place = Annotated[Path | None, tyro.conf.arg(metavar="FOLDER")]
Names = Annotated[str | None, tyro.conf.arg(metavar="NAMES")]
Address = Annotated[str | None, tyro.conf.arg(metavar="HOST:PORT")]
Whole = Annotated[int | None, tyro.conf.arg(metavar="N")]


def evaluate(
    net: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="NET")],
    data: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="DATA")],
    /,
    *,
    out: Place = None,
    variable: Name = None,
    layers: Toml = None,
    inputs: Names = None,
    targets: Names = None,
    sequence: Name = None,
    padding: Literal["none", "matlab"] = "none",
    mini_batch_size: int = 128,
    padding_direction: Literal["right", "left"] = "right",
    padding_value: float = 0.0,
    sequence_length: str = "longest",
    batch_size: str = "auto",
    engine: Engine = "auto",
    precision: Precision = "auto",
    quantiles: Names = None,
    processes: Whole = None,
    coordinator: Address = None,
    process_id: Whole = None,
    worst: int = 10,
    resume: Flag = False,
    dry_run: Flag = False,
    json: Flag = False,
) -> int:
    """Run a network, or an ensemble, over a folder of files that no memory holds.

    Examples: jlstm evaluate net.mat data/ --out predictions/
    jlstm evaluate nets/ data/ --out predictions/ --sequence basin --targets flow
    --processes 4 --resume

    Every file of DATA (.parquet .csv .tsv .txt .npz .npy .nc .h5 .mat) is a shard: its
    answers go to predictions/SHARD.parquet in the folder, each put in place whole. A
    file that cannot be read is set aside and the rest is finished. What was killed is
    continued by the same command with --resume and ends with the same files. Exit
    codes: 0 done, 1 files were set aside, 2 refused.

    Args:
        net: a network, or a folder of networks of one architecture: an ensemble.
        data: a file, or a folder of files.
        out: a new folder for answers and records.
        variable: which network, where there are several in a file.
        layers: how arrays extracted by hand form a network.
        inputs: columns or variables that go in, comma-separated; all by default.
        targets: columns or variables to compare the answers with.
        sequence: the column that says which sequence a row is of; without it a file is
            one sequence.
        padding: none, so that no answer depends on others; or as MATLAB pads.
        mini_batch_size: of MATLAB's padding.
        padding_direction: of MATLAB's padding.
        padding_value: of MATLAB's padding.
        sequence_length: of MATLAB's padding: longest, shortest, or a number.
        batch_size: sequences that are computed side by side: auto, or a number.
        engine: what runs recurrent layers.
        precision: arithmetic to compute in; auto is that of the network.
        quantiles: of an ensemble, comma-separated; 0.05,0.5,0.95 by default.
        processes: how many work on this machine; with --coordinator, on all of them.
        coordinator: host:port of process 0, or slurm; see docs/evaluate.md.
        process_id: which process this is, with --coordinator host:port.
        worst: sequences that are kept to be drawn.
        resume: go on where there is an evaluation in the folder.
        dry_run: say what would be done, and do nothing.
        json: print the summary as JSON for scripts.
    """
    matlab = (mini_batch_size, padding_direction, padding_value, sequence_length)
    if padding == "none" and matlab != UNCHANGED:
        raise InputError("these are options of MATLAB's padding", do="--padding matlab")
    if worst < 0:
        raise InputError("not a number of sequences", place="--worst", found=worst)
    if not math.isfinite(padding_value):
        raise InputError(
            "not a finite number", place="--padding-value", found=padding_value
        )
    if targets and sequence_length == "shortest":
        raise InputError(
            "steps that MATLAB's padding cuts off cannot be compared",
            found="--targets and --sequence-length shortest",
        )
    from ..shards.manifest import Folder, Options
    from ..shards.results import require_pyarrow

    require_pyarrow()
    if out is None and not dry_run:
        raise InputError("where to?", expected="--out FOLDER")
    given = Options(
        inputs=_names(inputs),
        targets=_names(targets),
        sequence=sequence,
        padding=None
        if padding == "none"
        else {
            "mini_batch_size": mini_batch_size,
            "direction": padding_direction,
            "value": padding_value,
            "sequence_length": _number(sequence_length, ("longest", "shortest")),
        },
        batch_size=_number(batch_size, ("auto",)),
        engine=engine,
        precision=precision,
        quantiles=_quantiles(quantiles),
        worst=worst,
    )
    folder = None if out is None else Folder(out)
    first, evaluation = _gathered(net, data, variable, layers, given)
    if folder is None or dry_run:
        from ..shards import conducting
        from ..shards.outline import outline, words

        if folder is not None:
            conducting.required(folder, evaluation, resume)
        found = outline(folder, evaluation, first)
        print_json(found) if json else print(words(found))
        return 0
    from ..shards.processes import Terminated

    try:
        found = _run(
            folder, evaluation, first, resume, coordinator, process_id, processes
        )
    except Terminated:
        return TERMINATED
    if found is None:
        return 0
    for failure in found["set_aside"]:
        print(f"jlstm: set aside: {failure['reason']}", file=sys.stderr)
    print_json(found) if json else print(_words(folder, found))
    return SOME_SET_ASIDE if found["set_aside"] else 0


def _gathered(
    net: Path, data: Path, variable: str | None, layers: Path | None, options: Options
) -> tuple[Network, Evaluation]:
    """One of the networks, and what the run is about, options checked against it."""
    import msgspec

    from ..evaluation import QUANTILES, MatlabPadding, as_members
    from ..shards import job, manifest, networks
    from ..shards.sources import Source

    ensemble = networks.is_ensemble(net)
    if options.quantiles and not ensemble:
        raise InputError(
            "quantiles are those of an ensemble",
            file=net,
            expected="a folder of networks",
        )
    if ensemble and options.quantiles is None:
        options = msgspec.structs.replace(options, quantiles=tuple(QUANTILES))
    files = networks.listed(net, variable, layers)
    nets = [load(Path(file.file), variable, layers) for file in files]
    options = job.resolved(as_members(nets), options)
    if options.padding is not None:
        MatlabPadding(**options.padding)  # what it refuses is refused now
    job.layout(nets[0], options)
    return nets[0], manifest.of(files, data, Source.of(data), options)


def _run(
    folder: Folder,
    evaluation: Evaluation,
    net: Network,
    resume: bool,
    coordinator: str | None,
    process_id: int | None,
    processes: int | None,
) -> dict[str, Any] | None:
    """The summary; None for a process that leaves it to the first one."""
    from ..shards import cluster, conducting
    from ..shards.job import layout, ready, require_engine
    from ..shards.outline import fitting
    from ..shards.processes import gpus, run
    from ..shards.working import work

    if coordinator is not None:
        k, n = cluster.identity(coordinator, process_id, processes)
        if k:
            cluster.meet(coordinator, k, n)
            evaluation = folder.evaluation()
            with ready(evaluation) as job:
                work(folder, evaluation, job, k, n)
            return None
    if not (resume and folder.plan.exists()):
        # Where other processes take the devices, they find out about the engine.
        if coordinator is None and ((processes or 1) == 1 or not gpus()):
            require_engine(net, evaluation.options)
        fitting(evaluation, net)
    with conducting.conducting(folder, evaluation, resume) as notes:
        for note in notes:
            print(f"jlstm: note: {note}", file=sys.stderr)
        deaths: list[str] = []
        with _bar(folder, evaluation) as progress:
            if coordinator is None and (processes or 1) > 1:
                deaths = run(folder, processes or 1, progress)
            else:
                k, n = 0, 1
                if coordinator is not None:
                    k, n = cluster.identity(coordinator, process_id, processes)
                    cluster.meet(coordinator, k, n)
                with ready(evaluation) as job:
                    work(folder, evaluation, job, k, n, progress)
        found = conducting.finish(
            folder, evaluation, layout(net, evaluation.options), deaths
        )
        for death in deaths:
            print(f"jlstm: note: {death}", file=sys.stderr)
        if coordinator is None:
            folder.end()
    return found


@contextmanager
def _bar(folder: Folder, evaluation: Evaluation) -> Iterator[Any]:
    """Progress on a terminal: shards, sequences, sequences/s, time left."""
    if not sys.stderr.isatty():
        yield lambda sequences, steps: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    begin, total = time.monotonic(), len(evaluation.shards)
    counted, shown = [0], [0.0]
    with Progress(
        TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn(),
        console=Console(stderr=True), transient=True,
    ) as bar:  # fmt: skip
        left = len(folder.left(evaluation))
        task = bar.add_task("reading", total=total, completed=total - left)

        def move(sequences: int, steps: int) -> None:
            counted[0] += sequences
            now = time.monotonic()
            if now - shown[0] < BETWEEN:
                return
            shown[0], rate = now, counted[0] / (now - begin)
            done = total - len(folder.left(evaluation))
            bar.update(
                task,
                completed=done,
                description=f"{done}/{total} shards, {counted[0]:,} sequences, "
                f"{rate:,.0f}/s",
            )

        yield move


def _words(folder: Folder, found: dict[str, Any]) -> str:
    set_aside = f", {len(found['set_aside'])} set aside" if found["set_aside"] else ""
    lines = [
        f"{folder.out}: {found['finished']} of {found['shards']} shards{set_aside}, "
        f"{found['sequences']:,} sequences, {found['steps']:,} steps"
    ]
    if metrics := found.get("metrics"):
        shown = [f"{k} {v:.4g}" for k, v in metrics.items() if isinstance(v, float)]
        lines += ["  " + ", ".join(shown), f"  {folder.out / 'report.html'}"]
    return "\n".join(lines)


def _names(given: str | None) -> tuple[str, ...]:
    return tuple(name.strip() for name in (given or "").split(",") if name.strip())


def _number(given: str, words: tuple[str, ...]) -> Any:
    if given in words:
        return given
    if not given.isdecimal() or not int(given):
        raise InputError(
            "not a number", found=given, expected=f"{', '.join(words)}, or a number"
        )
    return int(given)


def _quantiles(given: str | None) -> tuple[float, ...] | None:
    if given is None:
        return None
    try:
        found = tuple(float(part) for part in given.split(","))
    except ValueError:
        found = (2.0,)
    if not all(0 <= q <= 1 for q in found):
        raise InputError(
            "not quantiles", found=given, expected="numbers from 0 to 1, 0.05,0.95"
        )
    return found
