"""How far rounding alone may move the answer of a network on a given input.

Two programs that evaluate the same formula in the same precision do not give the same
numbers: they add in another order and approximate tanh in another way. How large the
difference gets is a property of the network and the input, not of the formula: one net
forgets every error within a few steps, another carries it to the end or amplifies it.
So it is measured, on the very input that is compared, in three steps.

1. One step. A sum of n products in precision u (2^-24 for single) is the exact sum for
   weights that differ by at most n u relatively, and for roundings that do not
   conspire by about sqrt(n) u (Higham & Mary 2019, theorem 2.4). A saturating function
   is right to about u of its range, 1, which the next layer sees as noise of size u at
   each input.

2. The whole run. The network is run in single precision several times with weights
   disturbed at random by just that much, and once undisturbed: each run is what another
   correct program might have computed. `spread` is the largest distance of these runs
   from the double precision run, up to each step. Growth over time, through the layers
   and with their width is all in there, whatever its law.

3. Other precisions. To first order everything is proportional to u:

       tolerance = 4 (u / 2^-24) spread + 4 u (|y| + 1 where y is the value of a
                                                saturating function)

The factor 4 leaves room for a program that is unluckier than the runs tried here. This
is Monte Carlo arithmetic (Parker 1997; Vignes 1993 calls it CESTAC) on the weights
instead of on every operation.

Sources: N. J. Higham, T. Mary, A new approach to probabilistic rounding error analysis,
SIAM J. Sci. Comput. 41(5), 2019; D. S. Parker, Monte Carlo arithmetic, UCLA CSD-970002,
1997; J. Vignes, A stochastic arithmetic for reliable scientific computation, Math.
Comput. Simul. 35, 1993.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from .errors import InputError
from .layers import Activation, Classification, Dropout, Identity, Regression, Softmax
from .network import Network, State, predict
from .recurrent import Bidirectional, Gate, Recurrent

ROUNDOFF = {"double": 2.0**-53, "single": 2.0**-24, "half": 2.0**-11}
"""Unit roundoff; half stands for float16 and for the TF32 of tensor cores alike."""
DTYPE = {"double": np.float64, "single": np.float32, "half": np.float16}
RUNS = 8
FACTOR = 4.0
SATURATING = ("sigmoid", "hard-sigmoid", "tanh", "softsign")
PASSING = (Classification, Dropout, Identity, Regression)

Values = dict[str, np.ndarray]
"""Values of outputs and layers by name, `(time, columns)`, in double precision."""


class Runs(NamedTuple):
    """What was computed for one sequence.

    `own` in the precision asked for, `exact` in double; `spread` as the module says.
    """

    own: Values
    exact: Values
    spread: Values


def measure(
    net: Network,
    xs: Sequence[Any],
    names: Sequence[str],
    *,
    state: State | None = None,
    precision: str = "single",
    judged: bool = True,
    engine: str = "auto",
) -> list[Runs]:
    """Run the network on sequences of one length as the module describes.

    Arguments:
        net: the network.
        xs: the sequences, each as `predict` takes it.
        names: layers and inner signals to return beside the outputs.
        state: where to start, as for `predict`.
        precision: of the run that is called `own`.
        judged: whether a tolerance is wanted; without, `own` is all that is computed.
        engine: what makes the run that is called `own`, as `predict` takes it.
    """
    dtype = DTYPE[precision]
    # What a program is given is rounded to its precision before anything else.
    xs = [jax.tree.map(lambda a: np.asarray(a, dtype), x) for x in xs]
    exact: list[Values] = []
    if judged or precision == "double":
        with jax.enable_x64(True):
            last = engine if precision == "double" else "auto"
            exact = evaluate(net.astype(np.float64), xs, names, state, last)
    own = exact
    if precision != "double":
        own = evaluate(net.astype(dtype), xs, names, state, engine)
    if not judged:
        return [Runs(values, values, {}) for values in own]
    spread = _spread(net.astype(np.float32), xs, names, state, exact)
    return [Runs(*runs) for runs in zip(own, exact, spread, strict=True)]


def evaluate(
    net: Network,
    xs: Sequence[Any],
    names: Sequence[str],
    state: State | None,
    engine: str = "auto",
) -> list[Values]:
    """Outputs, and layers by name, for sequences of one length."""
    if state is not None:
        state = jax.tree.map(lambda a: np.asarray(a, net.dtype), state)

    def run(x: Any) -> Any:
        y, *more = predict(
            net,
            x,
            state=state,
            trace=bool(names),
            return_state=True,
            engine=engine,
        )
        y = y if len(net.outputs) > 1 else (y,)
        if unknown := [name for name in names if name not in more[-1]]:
            raise InputError(
                "no such layer or signal",
                found=", ".join(unknown),
                expected=", ".join(sorted(more[-1])),
            )
        inner = {name: more[-1][name] for name in names}
        return dict(zip(net.outputs, y, strict=True)) | inner

    if len(xs) == 1:
        results = [run(xs[0])]
    else:
        batch = jax.vmap(run)(jax.tree.map(lambda *rows: np.stack(rows), *xs))
        results = [jax.tree.map(lambda a, k=k: a[k], batch) for k in range(len(xs))]
    timed = {name: shape.time for name, shape in net.shapes.items()}
    return [
        {
            name: as_columns(value, timed.get(name, True))
            for name, value in result.items()
        }
        for result in results
    ]


def as_columns(value: Any, timed: bool) -> np.ndarray:
    """`(time, columns)` in double precision; one row where there is no time."""
    value = np.asarray(value, np.float64)
    return value.reshape(len(value) if timed else 1, -1)


def _spread(
    net: Network,
    xs: Sequence[Any],
    names: Sequence[str],
    state: Any,
    exact: list[Values],
) -> list[Values]:
    rng = np.random.default_rng(0)
    causal = not any(layer.needs_whole_sequence for layer in net.layers.values())
    so_far = np.maximum.accumulate if causal else _everywhere
    found = []
    with np.errstate(over="ignore", invalid="ignore"):  # of networks that hold infinity
        nets = [net] + [disturb(net, rng) for _ in range(RUNS)]
        runs = [evaluate(other, xs, names, state) for other in nets]
        for k, values in enumerate(exact):
            far = {
                name: np.max([abs(run[k][name] - y) for run in runs], axis=0)
                for name, y in values.items()
            }
            found.append({name: so_far(spread) for name, spread in far.items()})
    return found


def _everywhere(spread: np.ndarray) -> np.ndarray:
    return np.broadcast_to(spread.max(axis=0, keepdims=True), spread.shape)


def disturb(net: Network, rng: np.random.Generator) -> Network:
    """The network as another program in single precision might as well have seen it.

    Input layers stay as they are: what they compute is exactly rounded everywhere.
    """
    layers = {
        name: _disturb(
            net.layers[name], rng, any(saturates(net, ref) for ref in inputs)
        )
        if inputs
        else net.layers[name]
        for name, inputs in net.graph
    }
    return net.replace(layers=layers)


def _disturb(layer: Any, rng: np.random.Generator, noisy: bool) -> Any:
    """Step 1 of the module; `noisy` where the input carries the noise of size u."""

    def relative(array: Any) -> Any:
        terms = array.size / min(array.shape[0], array.shape[-1]) if array.ndim else 1
        return add(array, np.sqrt(terms) * abs(np.asarray(array, np.float64)))

    def add(array: Any, size: Any) -> Any:
        noise = ROUNDOFF["single"] * size * rng.standard_normal(array.shape)
        return np.asarray(array + noise, array.dtype)

    def with_bias(part: Any) -> Any:
        part = jax.tree.map(relative, part)
        if isinstance(part, Gate):
            size = noisy * _rows(part.input_weights)
            size = size + _saturating(layer) * _rows(part.recurrent_weights)
        elif hasattr(part, "bias"):
            size = noisy * _rows(part.weights)
        else:
            return part
        return dataclasses.replace(part, bias=add(part.bias, np.sqrt(size)))

    return jax.tree.map(with_bias, layer, is_leaf=lambda part: hasattr(part, "bias"))


def _rows(weights: Any) -> np.ndarray:
    """Sum of the squares of the weights of each output: `(O, K)`, or `(..., K, O)`."""
    axes = 1 if weights.ndim == 2 else tuple(range(weights.ndim - 1))
    return np.square(np.asarray(weights, np.float64)).sum(axes)


def amplified(runs: Runs, name: str, precision: str) -> np.ndarray:
    """What rounding has become on its way through the network, `(time, columns)`."""
    return FACTOR * runs.spread[name] * (ROUNDOFF[precision] / ROUNDOFF["single"])


def tolerance(runs: Runs, net: Network, name: str, precision: str) -> np.ndarray:
    """What rounding explains, `(time, columns)`, by the formula of the module."""
    size = np.abs(runs.exact[name]) + saturates(net, name)
    # Below the smallest normal number a processor may give zero.
    tiny = np.finfo(np.float32).tiny
    return amplified(runs, name, precision) + FACTOR * ROUNDOFF[precision] * size + tiny


def saturates(net: Network, name: str) -> bool:
    """Whether an output, a layer or a signal is the value of a saturating function."""
    inputs = {node.name: node.inputs for node in net.graph}
    layer = net.layers[_owner(net, name)]
    while isinstance(layer, PASSING):
        name = inputs[name][0]
        layer = net.layers[_owner(net, name)]
    return _saturating(layer)


def _owner(net: Network, name: str) -> str:
    """The layer of "layer/hidden" or of the inner signal "layer.f"."""
    name = name.partition("/")[0]
    while name not in net.layers:
        name = name.rpartition(".")[0]
    return name


def _saturating(layer: Any) -> bool:
    if isinstance(layer, Bidirectional):
        layer = layer.forward
    if isinstance(layer, Recurrent):
        return getattr(layer, "state_activation", "tanh") in SATURATING
    return isinstance(layer, Softmax) or (
        isinstance(layer, Activation) and layer.name in SATURATING
    )
