"""ONNX models as networks.

What a graph computes is found by reading it with abstract values (`onnx_interpret`).
Which axis of an input is time is found by trying (`onnx_axes`).
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from itertools import islice, product
from pathlib import Path
from typing import Any

import jax
import numpy as np

from .. import layers as L
from ..errors import JlstmError, Unsupported
from ..golden import Golden
from ..network import Network, Origin
from . import golden_json, onnx_inputs, onnx_lengths, onnx_origin, onnx_own
from .onnx_axes import LENGTHS, Reading, readings
from .onnx_build import Builder
from .onnx_cells import with_cells
from .onnx_composites import composed
from .onnx_describe import Description, describe
from .onnx_interpret import MOST_NODES, Interpreter
from .onnx_sniff import recognises
from .onnx_states import Returned, starting
from .onnx_values import Signal, Start, Value
from .onnxfile import Declared, Model, read

__all__ = ["load", "recognises"]

GOLDEN = "jlstm.golden"
MOST_READINGS = 400
DEPENDS = "what the model computes depends on the length of the sequence"


def load(path: str | Path, layers: Any = None) -> tuple[Network, list[Golden]]:
    """Read an ONNX model.

    Arguments:
        path: the file; external data is looked for in its folder only.
        layers: what the file cannot tell, as a dict or a TOML file:
            `constants`, inputs that are fixed, `{"sr": 16000}`; and `axes`, what the
            axes of an input are, `{"input": ["batch", "time", 20]}`.

    Raises:
        DamagedFile, Unsupported: see `onnxfile.read`; or an operator, an attribute or
            a use of axes that jlstm does not compute, with the name of the node.
        InputError: `layers` speaks of what is not there.
    """
    model = read(path)
    net = understood(model, path, layers)
    text = model.metadata.get(GOLDEN)
    try:
        return net, [] if text is None else golden_json.loads(text)
    except JlstmError as error:
        raise error.within(file=path, place=f"metadata {GOLDEN}") from None


def understood(
    model: Model, path: str | Path, layers: Any = None, dtype: Any = None
) -> Network:
    """What a model computes, as a network.

    Arguments:
        model: the model, of an ONNX file or of another format in ONNX's operators.
        path: the file, for errors.
        layers: see `load`.
        dtype: the precision, by default that of the inputs.
    """
    told = describe(layers)
    try:
        return _Reader(model, told, str(path), dtype).network()
    except JlstmError as error:
        raise error.within(file=path) from None
    except RecursionError:
        raise Unsupported("nested too deeply", file=path) from None


class _Reader:
    """One model on its way to a network."""

    def __init__(self, model: Model, told: Description, file: str, dtype: Any):
        self.model = model
        self.told = told
        self.file = file
        self.own = onnx_own.is_own(model)
        kinds = {d.kind for d in model.graph.inputs}
        self.dtype = np.dtype(dtype or ("float64" if "double" in kinds else "float32"))

    def network(self) -> Network:
        """The network of the first reading of the inputs that leads to one."""
        plain_model = self.model
        # Cells and composites that do not fit may be read piece by piece.
        celled = with_cells(plain_model)
        ways = [] if celled is plain_model else [composed(celled)]
        for model in (*ways, composed(plain_model)):
            self.model = model
            with suppress(JlstmError):
                return self._any()
        self.model = plain_model
        return self._any()

    def _any(self) -> Network:
        names = [d.name for d in self.model.graph.inputs]
        states = starting(self.model.graph, names)
        if self.own:
            states = list(onnx_own.defaults(self.model))
        try:
            return self._read(states)
        except _Failed as failed:
            if states:
                # What starts a recurrence is computed with besides: data, then.
                with suppress(_Failed):
                    return self._read([])
            raise failed.reason from None

    def _read(self, states: list[str]) -> Network:
        self.inputs = onnx_inputs.sort(self.model.graph, self.told, states, self.own)
        worst = _Failed(-1, Unsupported("no reading of the inputs fits"))
        work = 0
        for reading in self._readings():
            try:
                net = self._once(reading, LENGTHS[0])
                if _equal(net, self._once(reading, LENGTHS[1])):
                    return net
                raise _Failed(MOST_NODES, Unsupported(DEPENDS, expected="any length"))
            except _Failed as failed:
                worst = max(worst, failed, key=lambda f: (f.certain, f.done))
                work += failed.done
                if work > MOST_NODES:
                    break
        if onnx_lengths.is_about_shapes(worst.reason):
            net = self._for_one_length()
            if net is not None:
                return net
        reason = worst.reason
        loose = [d.name for d in self.inputs.data if not _is_fixed(d)]
        if reason.do is None and loose:
            reason.do = (
                "if an axis of open length is not time, say how long it is: "
                f"layers={{'axes': {{'{loose[0]}': ['batch', 512]}}}}"
            )
        raise worst

    def _for_one_length(self) -> Network | None:
        """The network for a number of steps that is written into the graph."""
        lengths = onnx_lengths.written_lengths(self.model.graph)
        for reading, steps in onnx_lengths.fixed(self._readings(), lengths):
            with suppress(_Failed):
                return self._once(reading, steps, held=True)
        return None

    def _readings(self) -> list[tuple[Reading, ...]]:
        carried = bool(self.inputs.states)
        own = [onnx_own.reading(d) for d in self.inputs.data]
        if self.own and all(own) and not self.told.axes:
            return [tuple(r for r in own if r is not None)]
        each = [
            readings(d, self.told.axes.get(d.name), carried) for d in self.inputs.data
        ]
        ways = list(islice(product(*each), 100_000))
        ways = [w for w in ways if _together(w)]
        return sorted(ways, key=lambda w: sum(r.cost for r in w))[:MOST_READINGS]

    def _once(
        self, reading: tuple[Reading, ...], length: int, held: bool = False
    ) -> Network:
        """The network of a reading; `held` to refuse sequences of other lengths."""
        steps = {r.steps for r in reading if r.steps}
        build = Builder(
            self.dtype,
            steps=steps,
            stepping=any(r.stepping for r in reading),
        )
        build.own = self.own
        interpreter = Interpreter(self.model, build)
        try:
            values: dict[str, Value] = {**self.inputs.constants}
            for r in reading:
                shape = r.shape
                layer = L.Input((*shape.space, shape.channels), time=r.timed)
                made = build.add(r.name, layer)
                if held and r.timed:
                    flat = build.add(f"{r.name}_held", L.FlattenTime(length), made)
                    made = build.add(f"{r.name}_steps", L.UnflattenTime(length), flat)
                    build.notice(onnx_lengths.notice(length))
                kind = next(d.kind for d in self.inputs.data if d.name == r.name)
                values[r.name] = Signal(
                    made.ref, shape, r.axes(length), whole=kind.startswith("int")
                )
            for name, ids in self.inputs.states.items():
                values[name] = Start(ids)
            results = interpreter.run(values)
            return self._finished(build, interpreter, reading, results)
        except JlstmError as error:
            certain = build.unrolled
            raise _Failed(interpreter.done, error, certain) from None

    def _finished(
        self,
        build: Builder,
        interpreter: Interpreter,
        reading: tuple[Reading, ...],
        results: list[Value],
    ) -> Network:
        names = [declared.name for declared in self.model.graph.outputs]
        made = list(zip(names, results, strict=True))
        pairs = Returned(build, self.inputs.states).pairs(dict(made))
        outputs = [
            (name, self._output(build, name, value))
            for name, value in made
            if name not in pairs.values()
            and not (self.own and onnx_own.is_last_state(value))
        ]
        if not outputs:
            raise Unsupported(
                "a model that hands out nothing but states", found=", ".join(pairs)
            )
        about = onnx_origin.Found(
            self.model, self.file, reading, outputs, self.inputs.constants,
            {name: pairs.get(name) for name in self.inputs.states}, interpreter.read,
        )  # fmt: skip
        if self.own:
            about = about._replace(states={})
            values = [self.model.graph.initializers[n] for n in self.inputs.states]
            flat = [np.reshape(value, -1) for value in values]
            onnx_own.start(build, np.concatenate(flat) if flat else np.zeros(0))
            onnx_own.classify(build, [s.ref for _, s in outputs], self.model)
        origin = onnx_origin.origin(about, build.notices)
        return build.finish([signal.ref for _, signal in outputs], origin)

    def _output(self, build: Builder, name: str, value: Value) -> Signal:
        """An output as jlstm returns it."""
        if not isinstance(value, Signal):
            raise Unsupported(
                "an output that does not depend on the data", place=f"output '{name}'"
            )
        build.context = f"output '{name}'"
        value = build.of_step(value)
        if self.own:
            value = onnx_own.unflattened(build, value, name)
        return build.laid_out(value, name)


class _Failed(Exception):
    """A reading that does not lead through the graph, and how far it went.

    `certain` where the reason tells more than those of other readings.
    """

    def __init__(self, done: int, reason: JlstmError, certain: bool = False):
        self.done = done
        self.reason = reason
        self.certain = certain


def _together(reading: Sequence[Reading]) -> bool:
    """Inputs that can be read together: all step by step, or none of them."""
    timed = [r for r in reading if r.timed]
    return len({r.stepping for r in timed}) < 2


def _is_fixed(declared: Declared) -> bool:
    """Whether the file says how long every axis is, the first one set aside."""
    return all(isinstance(dim, int) for dim in (declared.dims or (None, None))[1:])


def _equal(a: Network, b: Network) -> bool:
    """Whether two networks are the same in every layer, wire and number."""
    a, b = (net.replace(origin=Origin()) for net in (a, b))
    x, treedef = jax.tree.flatten(a)
    y, other = jax.tree.flatten(b)
    return treedef == other and all(
        np.array_equal(p, q, equal_nan=True) for p, q in zip(x, y, strict=True)
    )
