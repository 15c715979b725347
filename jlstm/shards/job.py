"""What a process needs to compute a shard: the networks, ready to run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from .. import formats
from ..dataset.kinds import Want
from ..dataset.reading import wanted
from ..errors import InputError
from ..evaluation import Evaluator, MatlabPadding
from ..forward import forward
from ..network import Network
from .kinds import Ask
from .manifest import Evaluation, Net, Options, sha256
from .results import OWN, Layout

DTYPES = {"single": "float32", "double": "float64"}


class Job(NamedTuple):
    """The networks, and what goes in and comes out.

    Arguments:
        run: a list of inputs in, the list of their answers out.
        want: what the networks ask of a sequence.
        ask: what is looked for in a file.
        layout: the columns of the answers.
        unit: sequences that belong together.
        worst: sequences that are kept to be drawn.
    """

    run: Evaluator
    want: Want
    ask: Ask
    layout: Layout
    unit: int
    worst: int


@contextmanager
def ready(evaluation: Evaluation) -> Iterator[Job]:
    """The job of a run, in its precision.

    Raises:
        InputError: a network has changed since the run began, or does not fit.
    """
    nets = [_read(net) for net in evaluation.networks]
    options = evaluation.options
    dtype = np.dtype(DTYPES[options.precision])
    with jax.enable_x64(dtype == np.float64):
        nets = [net.astype(dtype) for net in nets]
        padding = None if options.padding is None else MatlabPadding(**options.padding)
        run = Evaluator(
            nets[0] if options.quantiles is None else nets,
            padding=padding,
            batch_size=options.batch_size,
            engine=options.engine,
        )
        yield Job(
            run,
            wanted(nets[0]),
            asked(options),
            layout(nets[0], options),
            1 if padding is None else padding.mini_batch_size,
            options.worst,
        )


def asked(options: Options) -> Ask:
    """What is looked for in a file."""
    return Ask(options.inputs, options.targets, options.sequence)


def layout(net: Network, options: Options) -> Layout:
    """The columns of the answers, `y1`, `y2`, ... where classes give no names."""
    want = wanted(net)
    classes = want.classes if want.labelled else ()
    names = tuple(f"y{k}" for k in range(1, want.y.channels + 1))
    found = Layout(
        classes or names, classes, want.y.time, options.quantiles,
        np.dtype(DTYPES[options.precision]),
    )  # fmt: skip
    if len({*found.columns, *OWN}) < len(found.columns) + len(OWN):
        found = found._replace(outputs=names)
    if len({*found.columns}) < len(found.columns):
        raise InputError(
            "quantiles of one name",
            found=", ".join(map(str, options.quantiles or ())),
            expected="no quantile twice",
        )
    return found


def require_engine(net: Network, options: Options) -> None:
    """Refuse an engine that does not run the network; nothing is computed.

    It looks at the devices, and so is only for a process that may take them.

    Raises:
        Unsupported: the engine was named and does not run a layer.
    """
    want = wanted(net)
    dtype = np.dtype(DTYPES[options.precision])
    with jax.enable_x64(dtype == np.float64):
        net = net.astype(dtype)
        x = jax.ShapeDtypeStruct((want.least, *want.tail), dtype)
        jax.eval_shape(
            lambda x: forward(
                net, {net.inputs[0]: x}, net.initial, engine=options.engine
            ),
            x,
        )


def resolved(nets: Sequence[Network], options: Options) -> Options:
    """The options with nothing left to be chosen by the network."""
    import msgspec

    kinds = {dtype: name for name, dtype in DTYPES.items()}
    changes: dict[str, Any] = {}
    if options.precision == "auto":
        # Half precision is computed in single.
        changes["precision"] = kinds.get(str(nets[0].dtype), "single")
    return msgspec.structs.replace(options, **changes)


def _read(net: Net) -> Network:
    for path, known in ((net.file, net.sha256), (net.layers, net.layers_sha256)):
        if path is not None and sha256(Path(path)) != known:
            raise InputError("the file has changed since the run began", file=path)
    return formats.read(net.file, variable=net.variable, layers=net.layers)[0]
