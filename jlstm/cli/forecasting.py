"""The command that lets a network go on by itself."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from ..errors import InputError
from .options import (
    Engine,
    Layout,
    Name,
    Needed,
    Precision,
    Source,
    Start,
    Target,
    Toml,
    load,
)  # fmt: skip

if TYPE_CHECKING:
    import numpy as np

    from ..closedloop.forecast import Forecast
    from ..network import Network

TABLES = (".csv", ".tsv", ".txt", ".parquet", ".nc")


def forecast(
    net: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="NET")],
    /,
    *,
    history: Needed,
    steps: int,
    feedback: Annotated[str, tyro.conf.arg(metavar="INPUT=OUTPUT,...")] = "",
    exogenous: Source = None,
    inputs: Annotated[str, tyro.conf.arg(metavar="NAMES")] = "",
    scale: Source = None,
    offset: Source = None,
    starts: int | None = None,
    output: Target = None,
    plot: Target = None,
    variable: Name = None,
    layers: Toml = None,
    layout: Layout = "auto",
    state: Start = "initial",
    precision: Precision = "auto",
    engine: Engine = "auto",
) -> int:
    """Let a network go on by itself: its outputs come back as its inputs.

    Examples: jlstm forecast net.mat --history x.csv --steps 96
    jlstm forecast nets/ --history x.csv --steps 96 --exogenous rain.csv --feedback h=y1
    jlstm forecast net.mat --history x.csv --steps 24 --starts 10 --feedback h=y1

    The network runs over the history, then so many steps in closed loop. The table has
    a line a step: `ahead`, the inputs fed back, and the outputs y1, y2, ... of that
    step; of an ensemble their means, deviations and quantiles. A network that was
    trained to predict the next step says in `y1` of a line what comes a step later.

    Args:
        net: the network; or a folder of networks of one architecture, an ensemble.
        history: the recorded inputs: a table with a column a feature, or an array.
        steps: how far to forecast.
        feedback: which input is which output: names of the table's heading, or x1, x2,
            ...; outputs are y1, y2, ... Without it output k becomes input k, where
            there are as many.
        exogenous: the inputs that are not fed back for those steps, by the names of the
            heading, or in the order of the features.
        inputs: which columns of the tables are the features, in their order; all
            without it.
        scale: what is fed back is output * scale + offset, for networks whose outputs
            are standardised: a number, or a variable of one for each output.
        offset: likewise.
        starts: forecast from every so many steps of the history instead, to compare
            with what it recorded; exogenous inputs are the recorded ones.
        output: .csv, .npz or .npy; printed as CSV without it.
        plot: write a picture of history, forecast and band (needs jlstm[plot]).
        variable: which network, where there are several.
        layers: how arrays extracted by hand form a network.
        layout: orientation of arrays without a heading, where both would fit.
        state: start from the initial state, or from the one the network was saved in.
        precision: arithmetic to compute in; auto is that of the network.
        engine: what runs recurrent layers over the history.
    """

    from .. import arguments as given
    from ..forecasting import forecast as run
    from ..formats.native import write_whole
    from ..shards.networks import files, is_ensemble

    if plot is not None:
        from ..plots import writable

        writable(plot)
    nets = [load(file, variable, layers) for file in files(net)]
    first = nets[0]
    chosen = [name.strip() for name in inputs.split(",") if name.strip()]
    names, x = _history(first, history, chosen, net, layout)
    wires = _wires(feedback, names, first)
    future = None
    if exogenous is not None:
        others = [name for k, name in enumerate(names) if k not in (wires or {})]
        future = _exogenous(exogenous, others, net, layout)
    by = {
        name: given.number(source, net, 0.0)
        for name, source in (("scale", scale), ("offset", offset))
        if source is not None
    }
    with given.in_precision(first, precision) as one:
        nets = [member.astype(one.dtype) for member in nets]
        begin = [member.saved or member.initial for member in nets]
        alone = not is_ensemble(net)
        found = run(
            nets[0] if alone else nets, x, steps, feedback=wires, exogenous=future,
            starts=starts, engine=engine, **by,
            state=None if state == "initial" else begin[0] if alone else begin,
        )  # fmt: skip
        if plot is not None:
            from ..plots_forecast import draw

            draw(plot, x, found, names, f"{net.name}: {steps} steps in closed loop")
        if output is not None:
            write_whole(output, _written(found, names, output.suffix.lower()))
        if output is None and plot is None:
            sys.stdout.write(_table(found, names))
        else:
            print(found)
            if starts is not None:
                print(_errors(found, x, names))
    return 0


def _history(
    net: Network, source: str, chosen: list[str], beside: Path, layout: Layout
) -> tuple[list[str], np.ndarray]:
    """Names and values of the features, `(time, features)`."""
    from .. import recording

    if len(net.inputs) != 1:
        raise InputError(
            "the network has several inputs",
            found=", ".join(net.inputs),
            do="jl.forecast in Python takes them",
        )
    shape = net.shapes[net.inputs[0]]
    numbered = [f"x{k}" for k in range(1, shape.features + 1)]
    if Path(source).suffix.lower() in TABLES:
        names, x = _columns(source, chosen)
        if len(names) != shape.features:
            raise InputError(
                "the columns do not fit the network",
                file=source,
                found=f"{len(names)} columns: {', '.join(names)}",
                expected=f"{shape.features} features",
                do="name those that go in, in their order: --inputs",
            )
        return (names if names[0] else numbered), x
    if chosen:
        raise InputError("an array has no names", place="--inputs", found=source)
    arrays = recording.read(source, beside)
    if len(arrays) != 1:
        raise InputError("one history at a time", found=f"{len(arrays)} in {source}")
    return numbered, recording.arrange(arrays[0], shape, layout)


def _columns(source: str, chosen: list[str]) -> tuple[list[str], np.ndarray]:
    """The columns of a table, by name where there are names; else the names are ''."""
    import numpy as np

    from ..dataset import tables
    from ..dataset.files import read_table

    table = read_table(source)
    if missing := [name for name in chosen if table.names.count(name) != 1]:
        raise InputError(
            "not the name of one column",
            file=source,
            found=", ".join(missing),
            expected=table.listed(),
        )
    names = chosen or list(table.names)
    columns = [tables.numbers(table, table.names.index(name)) for name in names]
    return (names if table.headed else [""] * len(names)), np.stack(columns, axis=1)


def _exogenous(
    source: str, others: list[str], beside: Path, layout: Layout
) -> np.ndarray:
    """The inputs that are not fed back: by name from a table with a heading."""
    from .. import recording

    if Path(source).suffix.lower() in TABLES:
        names, u = _columns(source, [])
        if not names[0]:
            return u
        return _columns(source, others)[1]
    (u,) = recording.read(source, beside)
    return recording.orient(u, len(others), layout)


def _wires(text: str, names: list[str], net: Network) -> dict[int, int] | None:
    """Places of inputs and outputs from INPUT=OUTPUT,..."""
    if not text:
        return None
    outputs = [f"y{k}" for k in range(1, _outputs(net) + 1)]
    found: dict[int, int] = {}
    for pair in text.split(","):
        ins, _, out = (part.strip() for part in pair.partition("="))
        if ins not in names or out not in outputs or names.index(ins) in found:
            raise InputError(
                "not an input and the output that it comes from",
                place="--feedback",
                found=pair,
                expected=f"INPUT=OUTPUT, each input once; inputs {', '.join(names)}; "
                f"outputs {', '.join(outputs)}",
            )
        found[names.index(ins)] = outputs.index(out)
    return found


def _outputs(net: Network) -> int:
    shapes = net.shapes
    return sum(shapes[ref].features for ref in net.outputs)


def _table(found: Forecast, names: list[str]) -> str:
    """The forecast as CSV: a line for every step ahead, of every origin."""
    import numpy as np

    from .. import arguments as given

    steps = found.members.shape[-2]
    y = [f"y{k}" for k in range(1, len(found.names) + 1)]
    fed = np.asarray(found.inputs)[..., list(found.fed_inputs)]
    titles = [names[k] for k in found.fed_inputs] + y
    values = np.concatenate([fed, np.asarray(found.members)], axis=-1)
    parts = [("", values.mean(axis=-3))]
    if values.shape[-3] > 1:
        parts.append(("_std", values.std(axis=-3, ddof=1)))
        for q in found.levels:
            between = np.quantile(values, q, axis=-3).astype(values.dtype)
            parts.append((f"_q{100 * q:02.4g}", between))
    # What belongs to one signal stands together.
    order = [
        (title + end, a[..., k]) for k, title in enumerate(titles) for end, a in parts
    ]
    rolling = values.ndim == 4
    heading = ["start"] * rolling + ["ahead"] + [title for title, _ in order]
    body = np.stack([column.reshape(-1) for _, column in order], axis=1)
    origins = found.origins if rolling else (0,)
    lines = [",".join(heading)]
    for n, row in enumerate(body):
        start = [str(origins[n // steps])] if rolling else []
        lines.append(",".join([*start, str(n % steps + 1), given.line(row)]))
    return "\n".join(lines) + "\n"


def _errors(found: Forecast, x: np.ndarray, names: list[str]) -> str:
    """What was fed back against what was recorded, for some steps ahead."""
    from ..closedloop.forecast import errors_ahead

    ours, held = errors_ahead(found, x)
    steps = len(ours)
    shown = sorted({min(2**k, steps) for k in range(steps.bit_length() + 1)})
    lines = ["  rmse of what is fed back, and of the last recorded value held"]
    lines.append(f"  {'steps ahead':<14}" + "".join(f"{k:>10}" for k in shown))
    for j, place in enumerate(found.fed_inputs):
        for name, error in ((names[place], ours), ("  held", held)):
            numbers = "".join(f"{error[k - 1, j]:>10.4g}" for k in shown)
            lines.append(f"  {name[:14]:<14}{numbers}")
    return "\n".join(lines)


def _written(found: Forecast, names: list[str], suffix: str) -> bytes:
    import numpy as np

    if suffix == ".csv":
        return _table(found, names).encode()
    arrays: dict[str, Any] = {
        name: np.asarray(getattr(found, name))
        for name in ("mean", "std", "quantiles", "members", "inputs", "origins")
    }
    buffer = io.BytesIO()
    if suffix == ".npz":
        np.savez(buffer, **arrays)
    elif suffix == ".npy":
        np.save(buffer, arrays["mean"])
    else:
        raise InputError(
            "no kind of table",
            found=suffix,
            expected="--output with .csv, .npz or .npy",
        )
    return buffer.getvalue()
