"""A network: named layers and the wires between them, as one pytree.

Most networks are a plain series and read as one; the wiring is a directed acyclic
graph in topological order. A network holds the state it starts from (`initial`) apart
from the state it was saved in (`saved`); `predict` starts from the initial state unless
it is given another, and never changes the network.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from .errors import InputError, JlstmError
from .forward import State as State
from .forward import forward
from .graph import Node, in_topological_order
from .layers.base import Layer
from .pytree import Array, Shape, pytree, static
from .recurrent import Recurrent


class Origin(NamedTuple):
    """Where a network came from and what its reader has to say about it."""

    format: str = ""
    file: str = ""
    variable: str = ""
    kind: str = ""
    details: tuple[tuple[str, str], ...] = ()
    notices: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()


NO_ORIGIN = Origin()


class Factors(NamedTuple):
    """Learn-rate and L2 factor of one parameter array, by its key path."""

    path: str
    learn_rate: float
    l2: float


@pytree
class Network:
    """Layers by name, their states, and how they are connected.

    Arguments:
        layers: the layers by name; a pytree of parameters. The key path of an array,
            `.layers['lstm_1'].f.bias`, is its name everywhere.
        initial: the state each recurrent layer starts from.
        saved: the state it was in when it was saved, where that differs.
        graph: one `Node` a layer, in topological order.
        outputs: references to what the network returns.
        factors: per-parameter training factors that differ from their defaults
            (learn rate 1; L2 1 for weights, 0 for biases).
        origin: provenance; plays no part in any computation.
    """

    layers: dict[str, Layer]
    initial: State
    saved: State | None = None
    graph: tuple[Node, ...] = static(default=())
    outputs: tuple[str, ...] = static(default=())
    factors: tuple[Factors, ...] = static(default=())
    origin: Origin = static(default=NO_ORIGIN)

    @classmethod
    def build(
        cls,
        layers: Mapping[str, Layer],
        graph: Sequence[Node] | None = None,
        *,
        outputs: Sequence[str] | None = None,
        initial: State | None = None,
        saved: State | None = None,
        factors: Sequence[Factors] = (),
        origin: Origin = NO_ORIGIN,
    ) -> Network:
        """Put layers together and check that they fit.

        Without `graph` the layers form a series in the order given. `outputs` defaults
        to every layer that nothing consumes. States default to zeros; a `saved` state
        that equals the initial one is dropped.

        Raises:
            InputError: a wire leads nowhere, the graph has a cycle, or widths differ.
        """
        if graph is None:
            names = list(layers)
            graph = [Node(n, (names[k - 1],) if k else ()) for k, n in enumerate(names)]
        graph = in_topological_order(graph, layers)
        if outputs is None:
            used = {ref.split("/")[0] for node in graph for ref in node.inputs}
            outputs = [node.name for node in graph if node.name not in used]
        recurrent = {n: lay for n, lay in layers.items() if isinstance(lay, Recurrent)}
        start = {n: layer.init_state() for n, layer in recurrent.items()}
        if initial is not None:
            start |= _checked_state(initial, start, whole=False)
        if saved is not None:
            saved = start | _checked_state(saved, start, whole=False)
            if same_state(saved, start):
                saved = None
        net = cls(
            dict(layers), start, saved, tuple(graph), tuple(outputs),
            tuple(factors), origin,
        )  # fmt: skip
        shapes = net.shapes
        for ref in net.outputs:
            if ref not in shapes:
                raise InputError(
                    "an output is not there",
                    found=ref,
                    expected=f"one of {', '.join(shapes)}",
                )
        return net

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the input layers, in the order in which inputs are given."""
        return tuple(node.name for node in self.graph if not node.inputs)

    @property
    def recurrent(self) -> tuple[str, ...]:
        """Names of the recurrent layers, in topological order."""
        return tuple(n.name for n in self.graph if n.name in self.initial)

    @property
    def dtype(self) -> np.dtype:
        """Precision of the parameters: the widest of them."""
        leaves = jax.tree.leaves(self.layers)
        kinds = {np.dtype(leaf.dtype) for leaf in leaves}
        return max(kinds or {np.dtype("float32")}, key=lambda kind: kind.itemsize)

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names of the (first) classification output, in score order."""
        for node in self.graph:
            if names := getattr(self.layers[node.name], "classes", ()):
                return names
        return ()

    @property
    def shapes(self) -> dict[str, Shape]:
        """Shape of every layer's output, by name."""
        shapes: dict[str, Shape] = {}
        for name, inputs in self.graph:
            layer = self.layers[name]
            try:
                given = [shapes[ref] for ref in inputs]
                if isinstance(layer, Recurrent):
                    own = 2 if layer.masked else 1
                    shapes[name] = layer.shape(*given[:own])
                    parts = [Shape(False, (), size) for size in layer.state_sizes]
                    if given[own:] and given[own:] != parts:
                        raise InputError(
                            "the wires do not bring a state of this layer",
                            found=", ".join(map(str, given[own:])),
                            expected=", ".join(map(str, parts)) or "no state",
                        )
                    ports = zip(layer.ports, parts, strict=True)
                    shapes |= {f"{name}/{port}": part for port, part in ports}
                else:
                    shapes[name] = layer.shape(*given)
            except JlstmError as error:
                raise error.within(place=f"layer '{name}'") from None
        return shapes

    def astype(self, dtype: Any) -> Network:
        """The same network in another precision; exact where it gets wider."""
        return jax.tree.map(lambda leaf: leaf.astype(dtype), self)

    def replace(self, **changes: Any) -> Network:
        """A copy with some fields changed."""
        return dataclasses.replace(self, **changes)

    def __repr__(self) -> str:
        return f"Network({' > '.join(node.name for node in self.graph)})"

    def __str__(self) -> str:
        from .inspection import describe

        return describe(self)


def init_state(net: Network) -> State:
    """The state that a fresh run starts from."""
    return dict(net.initial)


def predict(
    net: Network,
    x: Any,
    *,
    state: State | None = None,
    return_state: bool = False,
    trace: bool = False,
    engine: str = "auto",
) -> Any:
    """Run the network over one sequence.

    Arguments:
        net: the network.
        x: `(time, features)`; `(features,)` for a network of feature input. With
            several inputs a tuple in the order of `net.inputs`, or a dict by name. Cast
            to the precision of the network, as MATLAB does. Batches: `jax.vmap`.
        state: where to start; the initial state by default. `net.saved` continues where
            a saved network stood, which is what MATLAB's own `predict` does.
        return_state: also return the state after the last step.
        trace: also return every layer's output by name, and the inner signals of
            recurrent layers as "lstm_1.i", ".f", ".g", ".o", ".c", ".h".
        engine: what runs recurrent layers: "cpu", a C++ kernel, "gpu", cuDNN or a
            kernel for NVIDIA's, "xla", `lax.scan`, or "auto", the fastest that takes
            the layer. They agree to rounding.

    Returns:
        `y`, then the state and the trace where asked for. `y` is `(time, outputs)`, or
        `(outputs,)` where a layer returns the last step only; a tuple for several
        outputs, in the order of `net.outputs`.

    Raises:
        InputError: the input does not fit, or double precision is off while the
            parameters are double.
        Unsupported: an engine was named that does not run the network.
    """
    xs = as_inputs(net, x, whole=True)
    start = init_state(net)
    if state is not None:
        start = _checked_state(state, start, whole=True)
    y, after, signals = _predict(
        net.replace(origin=Origin(), saved=None), xs, start, trace, engine
    )
    extra = ([after] if return_state else []) + ([signals] if trace else [])
    return (y, *extra) if extra else y


def step(net: Network, state: State, x: Any) -> tuple[State, Any]:
    """One time step: `(state, x (features,)) -> (state, y (outputs,))`.

    Carry first, so that `jax.lax.scan(partial(step, net), state, xs)` is a loop. A
    layer of output mode "last" gives its output at every step: the last one so far.

    Raises:
        InputError: the network has a layer that needs the whole sequence at once.
    """
    for name in net.layers:
        if net.layers[name].needs_whole_sequence:
            raise InputError(
                f"layer '{name}' needs the whole sequence at once",
                found=repr(net.layers[name]),
                do="use predict, or give it windows of the signal",
            )
    xs = as_inputs(net, x, whole=False)
    # A stream has checked its state, and has no initial one to compare with.
    state = _checked_state(state, net.initial or state, whole=True)
    after, values, _ = forward(net, xs, state, whole=False, trace=False)
    return after, _outputs(net, values)


@partial(jax.jit, static_argnames=("trace", "engine"))
def _predict(
    net: Network, xs: dict[str, Array], state: State, trace: bool, engine: str
) -> Any:
    after, values, signals = forward(net, xs, state, trace=trace, engine=engine)
    return _outputs(net, values), after, signals


def _outputs(net: Network, values: dict[str, Array]) -> Any:
    results = tuple(values[ref] for ref in net.outputs)
    return results[0] if len(results) == 1 else results


def as_inputs(net: Network, x: Any, *, whole: bool) -> dict[str, Array]:
    """Inputs by name, cast to the precision of the network, shapes checked."""
    names = net.inputs
    if isinstance(x, Mapping):
        given = dict(x)
    elif len(names) == 1:
        given = {names[0]: x}
    elif isinstance(x, tuple | list):
        given = dict(zip(names, x, strict=False)) if len(x) == len(names) else {}
    else:
        given = {}
    if set(given) != set(names):
        raise InputError(
            "the network has other inputs",
            found=", ".join(map(str, given)) or type(x).__name__,
            expected=f"a tuple or a dict of {', '.join(names)}",
        )
    dtype = precision(net)
    return {
        name: _as_input(net.layers[name], name, value, dtype, whole)
        for name, value in given.items()
    }


def precision(net: Network) -> np.dtype:
    """The dtype a network computes in, refused where JAX would silently narrow it."""
    dtype = net.dtype
    if jax.dtypes.canonicalize_dtype(dtype) != dtype:
        raise InputError(
            "the parameters are double precision and JAX's double precision is off",
            do="run inside `with jax.enable_x64(True):`, or use net.astype('float32')",
        )
    return dtype


def _as_input(layer: Any, name: str, x: Any, dtype: np.dtype, whole: bool) -> Array:
    try:
        x = x if isinstance(x, Array) else np.asarray(x)
    except ValueError as error:
        raise InputError(
            "not an array of numbers", place=f"input '{name}'", found=str(error)
        ) from None
    if x.dtype.kind not in "iub" and not jnp.issubdtype(x.dtype, jnp.floating):
        raise InputError(
            "complex input" if x.dtype.kind == "c" else "not an array of numbers",
            place=f"input '{name}'",
            found=f"dtype {x.dtype}",
            expected="real numbers",
        )
    # A copy: JAX may otherwise go on reading memory that the caller fills anew.
    x = jnp.array(x, dtype)
    want: Shape = layer.shape()
    timed = want.time and whole
    tail = (*want.space, want.channels)
    if x.shape[timed:] != tail or x.ndim != timed + len(tail):
        hint = None
        if timed and x.ndim == 2 and x.shape[0] == want.channels:
            hint = "this looks like features x time, as MATLAB stores it: pass x.T"
        elif timed and x.ndim == len(tail) + 2 and x.shape[2:] == tail:
            hint = "this looks like a batch: jax.vmap(lambda x: predict(net, x))(batch)"
        elif timed and x.shape == tail:
            hint = "this is one step: use jlstm.step, or pass x[None]"
        raise InputError(
            "the input does not fit the network",
            place=f"input '{name}'",
            found=f"shape {x.shape}",
            expected=str(want if timed else want._replace(time=False)),
            do=hint,
        )
    if timed and x.shape[0] < max(1, getattr(layer, "min_length", 1)):
        raise InputError(
            "the sequence is too short",
            place=f"input '{name}'",
            found=f"{x.shape[0]} steps",
            expected=f"at least {max(1, getattr(layer, 'min_length', 1))}",
        )
    return x


def _checked_state(state: State, model: State, *, whole: bool) -> State:
    """`state`, refused where `model` has other layers; all of them if `whole`."""
    if set(state) - set(model) or (whole and set(model) - set(state)):
        raise InputError(
            "the state belongs to other layers",
            found=", ".join(state) or "no layer",
            expected=", ".join(model) or "no layer",
        )
    for name, part in state.items():
        found, expected = (
            [jnp.shape(leaf) for leaf in jax.tree.leaves(tree)]
            for tree in (part, model[name])
        )
        kind = type(model[name])
        if found != expected or not isinstance(part, kind):
            raise InputError(
                "the state does not fit the layer",
                place=f"state of '{name}'",
                found=f"{type(part).__name__} of shapes {', '.join(map(str, found))}",
                expected=f"{kind.__name__} of shapes {', '.join(map(str, expected))}",
            )
    return dict(state)


def same_state(a: Any, b: Any) -> bool:
    """Whether two states, of a layer or of a network, are equal in every number."""
    x, y = jax.tree.leaves(a), jax.tree.leaves(b)
    return len(x) == len(y) and all(
        np.array_equal(p, q) for p, q in zip(x, y, strict=True)
    )
