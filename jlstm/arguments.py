"""What the arguments of the command line mean: sequences in, tables out."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from . import recording
from .errors import InputError, JlstmError

if TYPE_CHECKING:
    from .network import Network


def inputs(
    net: Network, source: str | None, file: Path, layout: recording.Layout
) -> list[Any]:
    """The input sequences, each an array or, for several inputs, a tuple of them."""
    names = (source or "").split(",")
    if len(names) != len(net.inputs):
        raise InputError(
            f"the network has {len(net.inputs)} inputs",
            found=source,
            expected=f"one source for each of {', '.join(net.inputs)}, comma-separated",
        )
    shapes = net.shapes
    columns = [
        [
            _arranged(f"--input {given}", array, shapes[name], layout)
            for array in recording.read(given, file)
        ]
        for name, given in zip(net.inputs, names, strict=True)
    ]
    if len({len(column) for column in columns}) != 1:
        raise InputError(
            "the inputs have different numbers of sequences",
            found=", ".join(str(len(column)) for column in columns),
        )
    return columns[0] if len(columns) == 1 else list(zip(*columns, strict=True))


def expected(
    net: Network,
    xs: list[Any],
    source: str,
    file: Path,
    layout: recording.Layout,
    scale: str | None = None,
    offset: str | None = None,
    what: str = "--expected",
) -> list[Any]:
    """The recorded outputs, one for each sequence, with the scaling taken out."""
    shapes = net.shapes
    columns = []
    for ref, given in zip(net.outputs, _split(source, len(net.outputs)), strict=True):
        found = recording.read(given, file)
        if isinstance(found[0], tuple):
            return recording.per_sequence(found[0], len(xs))
        if len(found) == 1 and len(xs) > 1:
            found = recording.rows(found[0], len(xs))
        steps = [
            (x[0] if isinstance(x, tuple) else x).shape[0] if shapes[ref].time else None
            for x in xs
        ]
        if len(found) != len(xs):
            raise InputError(
                "not one recorded output for each sequence",
                found=f"{len(found)} outputs",
                expected=f"{len(xs)}",
            )
        factor = number(scale, file, 1.0)
        if not np.all(factor):
            raise InputError("a scale of zero", place="--scale", found=scale)
        shift = number(offset, file, 0.0)
        columns.append(
            [
                (_arranged(f"{what} {given}", y, shapes[ref], layout, t) - shift)
                / factor
                for y, t in zip(found, steps, strict=True)
            ]
        )
    return columns[0] if len(columns) == 1 else list(zip(*columns, strict=True))


def layer_outputs(
    net: Network,
    xs: list[Any],
    pairs: tuple[str, ...],
    file: Path,
    layout: recording.Layout,
) -> list[dict[str, np.ndarray]]:
    """Observed outputs of layers for each sequence, from LAYER=SOURCE."""
    shapes = net.shapes
    found: list[dict[str, np.ndarray]] = [{} for _ in xs]
    for pair in pairs:
        name, equals, source = pair.partition("=")
        owner = name.partition(".")[0]
        if not equals or (name not in shapes and owner not in shapes):
            raise InputError(
                "not the output of a layer",
                place=f"--layer-output {pair}",
                expected=f"LAYER=SOURCE with a layer among {', '.join(shapes)}",
            )
        arrays = recording.read(source, file)
        if len(arrays) != len(xs):
            raise InputError(
                "not one output of the layer for each sequence",
                place=f"--layer-output {pair}",
                found=f"{len(arrays)}",
                expected=f"{len(xs)}",
            )
        for k, (array, x) in enumerate(zip(arrays, xs, strict=True)):
            steps = (x[0] if isinstance(x, tuple) else x).shape[0]
            if name not in shapes:  # an inner signal: `(time, hidden)`
                found[k][name] = array if len(array) == steps else array.T
                continue
            time = steps if shapes[name].time else None
            found[k][name] = _arranged(
                f"--layer-output {pair}", array, shapes[name], layout, time
            )
    return found


def _arranged(what: str, *args: Any) -> np.ndarray:
    try:
        return recording.arrange(*args)
    except JlstmError as error:
        raise error.within(place=what) from None


def _split(source: str, count: int) -> list[str]:
    parts = source.split(",")
    if len(parts) != count:
        raise InputError(
            f"the network has {count} outputs",
            found=source,
            expected="one source for each, comma-separated",
        )
    return parts


def number(source: str | None, file: Path, default: float) -> Any:
    """A number, or the numbers in a variable."""
    if source is None:
        return default
    try:
        number = float(source)
        if not np.isfinite(number):
            raise InputError("not a finite number", found=source)
        return number
    except InputError:
        raise
    except ValueError:
        return recording.read(source, file)[0].ravel()


@contextmanager
def in_precision(
    net: Network, precision: Literal["auto", "single", "double"]
) -> Iterator[Network]:
    """The network in the precision asked for, with JAX's double precision on for it.

    "auto" is the precision of its parameters.
    """
    import jax

    dtype = {"single": "float32", "double": "float64"}.get(precision, net.dtype)
    with jax.enable_x64(np.dtype(dtype) == np.float64):
        yield net.astype(dtype)


def columns(net: Network) -> list[str]:
    """Names of the output columns: classes, or y1, y2, ..."""
    shape = net.shapes[net.outputs[0]]
    names = list(net.classes)
    if len(names) == shape.channels and len(net.outputs) == 1:
        return names
    return [f"y{k}" for k in range(1, shape.channels + 1)]


def table(results: list[Any], suffix: str, names: list[str]) -> bytes:
    """Predictions as the contents of a .csv, .npy or .npz file.

    Arguments:
        results: for each sequence a tuple of outputs.
        suffix: the kind of file.
        names: headings of the columns of a .csv.

    Raises:
        InputError: several sequences or outputs, for a file that holds one array.
    """
    single = len(results) == 1 and len(results[0]) == 1
    if suffix not in (".csv", ".npy", ".npz") or (suffix != ".npz" and not single):
        raise InputError(
            "the predictions cannot be written like this",
            found=f"{len(results)} sequences of {len(results[0])} outputs as {suffix}",
            expected="--output with .csv, .npy or .npz"
            if single
            else "--output with .npz, one array each",
        )
    if suffix == ".csv":
        rows = np.atleast_2d(results[0][0])
        lines = [",".join(names)]
        lines += [line(row) for row in rows.reshape(rows.shape[0], -1)]
        return ("\n".join(lines) + "\n").encode()
    buffer = io.BytesIO()
    if suffix == ".npy":
        np.save(buffer, results[0][0])
    else:
        np.savez(
            buffer,
            **{
                f"y{k}" if len(result) == 1 else f"y{k}_{j}": array
                for k, result in enumerate(results, 1)
                for j, array in enumerate(result, 1)
            },
        )
    return buffer.getvalue()


def line(values: Any) -> str:
    """Numbers with commas, each the shortest that reads back as the same value."""
    return ",".join(str(value) for value in np.ravel(values))


def progress(items: list[Any], what: str) -> Iterator[Any]:
    """The items, with a progress bar on a terminal where there are many."""
    if len(items) < 10 or not sys.stderr.isatty():
        return iter(items)
    from rich.console import Console
    from rich.progress import track

    return iter(track(items, what, console=Console(stderr=True)))


@contextmanager
def progress_bar() -> Iterator[Any]:
    """A bar on a terminal, moved by calls `(what, done, total)`; None elsewhere."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        tasks: dict[str, Any] = {}

        def move(what: str, done: int, total: int) -> None:
            if what not in tasks:
                for task in tasks.values():
                    bar.update(task, visible=False)
                tasks[what] = bar.add_task(what, total=total)
            bar.update(tasks[what], completed=done, total=total, visible=True)

        yield move


def is_heading(line: str) -> bool:
    """Whether a line of CSV names columns instead of holding numbers."""
    return recording.is_heading(line, ";" if ";" in line else ",")


def scaling(result: Any) -> str:
    """A hint, where the recorded numbers are the prediction times a, plus b."""
    if result.ok or len(result.predicted) != 1:
        return ""
    y, recorded = (np.ravel(a[0]) for a in (result.predicted, result.recorded))
    if y.size < 4 or not np.all(np.isfinite([y, recorded])) or not np.ptp(y):
        return ""
    factor, shift = np.polyfit(y, recorded, 1)
    if np.abs(factor * y + shift - recorded).max() > 1e-4 * np.ptp(recorded):
        return ""
    return (
        f"  the recorded numbers are the prediction * {factor:.6g} + {shift:.6g}: "
        "standardised outputs? Try --scale and --offset"
    )
