"""A network of jlstm beside the same one computed by others, and mistakes to make."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import oracles
from oracles import Cell, Weights

from jlstm import layers as L
from jlstm.network import Network
from jlstm.recurrent import GRU, LSTM, Gate, Peephole

FEATURES, HIDDEN, SECOND, OUTPUTS = 4, 20, 17, 3
PLAIN = Cell("lstm")
Values = dict[str, np.ndarray]


def layer(cell: Cell, w: Weights, **settings: Any) -> Any:
    """The layer of jlstm with the weights of an oracle, in single precision."""
    w = {name: value.astype(np.float32) for name, value in w.items()}
    made = {
        k: Gate(w[f"{k}.W"], w[f"{k}.R"], w[f"{k}.b"], w.get(f"{k}.br"))
        for k in cell.gates
    }
    settings |= dict(state_activation=cell.state, gate_activation=cell.gate)
    settings |= dict(input_projector=w.get("Q_in"), output_projector=w.get("Q_out"))
    if cell.peephole:
        settings["peephole"] = Peephole(*(w[f"{k}.p"] for k in "ifo"))
    if cell.kind == "gru":
        return GRU(**made, **settings, reset_mode=cell.mode)
    return LSTM(**made, **settings)


def draw_dense(rng: np.random.Generator, outputs: int, features: int) -> Any:
    """Weights and bias, rounded to single precision."""
    arrays = rng.normal(size=(outputs, features)), rng.normal(size=outputs)
    return [a.astype(np.float32) for a in arrays]


class Stack(NamedTuple):
    """Two recurrent layers of a kind and a dense one, by both."""

    cell: Cell
    first: Weights
    second: Weights
    dense: Any

    @property
    def features(self) -> int:
        w = self.first
        if "Q_in" in w:
            return len(w["Q_in"])
        return w[f"{self.cell.gates[0]}.W"].shape[1]

    @property
    def net(self) -> Network:
        return Network.build(
            {
                "in": L.Input((self.features,)),
                "one": layer(self.cell, self.first),
                "two": layer(self.cell, self.second),
                "fc": L.FullyConnected(*self.dense),
            }
        )

    def run(self, x: np.ndarray, loop: Callable = oracles.loop) -> Values:
        """Outputs of every layer in double precision, `(T, ...)`."""
        one = _h(loop, self.cell, self.first, np.asarray(x, np.float32).astype(float))
        two = _h(loop, self.cell, self.second, one)
        weights, bias = (np.asarray(a, float) for a in self.dense)
        return {"one": one, "two": two, "fc": two @ weights.T + bias}


def _h(loop: Callable, cell: Cell, w: Weights, x: np.ndarray) -> np.ndarray:
    zero = np.zeros(w[f"{cell.gates[0]}.b"].size)
    return loop(cell, w, x, zero, zero)["h"]


def draw(
    seed: int = 7,
    cell: Cell = PLAIN,
    sizes: tuple[int, ...] = (FEATURES, HIDDEN, SECOND, OUTPUTS),
) -> Stack:
    rng = np.random.default_rng(seed)
    features, hidden, second, outputs = sizes
    return Stack(
        cell,
        oracles.draw(rng, cell, features, hidden),
        oracles.draw(rng, cell, hidden, second),
        draw_dense(rng, outputs, second),
    )


def signal(steps: int, features: int = FEATURES, seed: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(steps, features))


def with_scale(scale: float) -> Stack:
    """Recurrent weights that many times as large."""
    stack = draw(sizes=(4, 30, 30, 2))
    first, second = (
        {k: v * scale if ".R" in k else v for k, v in w.items()}
        for w in (stack.first, stack.second)
    )
    return stack._replace(first=first, second=second)


# --- single precision by others -------------------------------------------------------


def sequential(cell: Cell, w: Weights, x: np.ndarray, h: Any, c: Any) -> dict:
    """LSTM in float32, every sum one term after the other: the least lucky order."""
    f = np.float32
    w = {name: value.astype(f) for name, value in w.items()}
    x, h, c = x.astype(f), h.astype(f), c.astype(f)

    def times(matrix: np.ndarray, vector: np.ndarray) -> np.ndarray:
        return np.cumsum(matrix * vector, axis=1, dtype=f)[:, -1]

    def sigmoid(z: np.ndarray) -> np.ndarray:
        # Right to a rounding of its range, not of its value.
        return f(0.5) + f(0.5) * np.tanh(f(0.5) * z)

    steps = []
    for x_t in x:
        z = {
            k: (times(w[f"{k}.W"], x_t) + times(w[f"{k}.R"], h)) + w[f"{k}.b"]
            for k in cell.gates
        }
        c = sigmoid(z["f"]) * c + sigmoid(z["i"]) * np.tanh(z["g"])
        h = sigmoid(z["o"]) * np.tanh(c)
        steps.append(h)
    return {"h": np.stack(steps).astype(float)}


def torch_single(cell: Cell, w: Weights, x: np.ndarray, h: Any, c: Any) -> dict:
    y = oracles.torch_run(cell, [w], x.astype(np.float32), h, c, np.float32)[0]
    return {"h": y.astype(float)}


def onnx_single(cell: Cell, w: Weights, x: np.ndarray, h: Any, c: Any) -> dict:
    return {"h": oracles.onnx_run(cell, [w], x, h, c)[0].astype(float)}


# --- mistakes, and the first step at which each layer shows them ----------------------


class Mistake(NamedTuple):
    """How to go wrong; the first bad step of layer one, of layer two, from 0."""

    name: str
    run: Callable[[Stack, np.ndarray], Values]
    one: int | None
    two: int | None

    def __str__(self) -> str:
        return self.name


def _weights(change: Callable[[Weights], Weights]) -> Callable:
    def run(stack: Stack, x: np.ndarray) -> Values:
        first, second = (change(dict(w)) for w in (stack.first, stack.second))
        return stack._replace(first=first, second=second).run(x)

    return run


def _order(order: str) -> Callable:
    """The file has its blocks in another order than i f g o."""
    return _weights(
        lambda w: {
            f"{k}.{a}": w[f"{old}.{a}"]
            for k, old in zip("ifgo", order, strict=True)
            for a in "WRb"
        }
    )


def _interleaved(w: Weights) -> Weights:
    """Gates side by side for every unit instead of units for every gate."""
    for a in "WRb":
        rows = np.concatenate([w[f"{k}.{a}"] for k in "ifgo"])
        w |= {f"{k}.{a}": rows[n::4] for n, k in enumerate("ifgo")}
    return w


def _each(part: str, change: Callable) -> Callable:
    return _weights(lambda w: {k: change(v) if part in k else v for k, v in w.items()})


def _cell(**settings: Any) -> Callable:
    return lambda stack, x: stack._replace(cell=stack.cell._replace(**settings)).run(x)


def _between(change: Callable[[np.ndarray], np.ndarray]) -> Callable:
    """Something between the layers."""

    def run(stack: Stack, x: np.ndarray) -> Values:
        values = stack.run(x)
        two = _h(oracles.loop, stack.cell, stack.second, change(values["one"]))
        weights, bias = stack.dense
        return {"one": values["one"], "two": two, "fc": change(two) @ weights.T + bias}

    return run


def _reset(stack: Stack, x: np.ndarray) -> Values:
    """Every step from the zero state."""
    steps = [stack.run(x_t[None]) for x_t in x]
    return {name: np.concatenate([s[name] for s in steps]) for name in steps[0]}


def _shared(stack: Stack, x: np.ndarray) -> Values:
    """One pair h, c for both layers; needs layers of one width."""
    cell, h, c = stack.cell, np.zeros(HIDDEN), np.zeros(HIDDEN)
    one, two = [], []
    for x_t in np.asarray(x, np.float32).astype(float):
        for w, out in ((stack.first, one), (stack.second, two)):
            after = oracles.loop(cell, w, x_t[None], h, c)
            h, c = after["h"][0], after["c"][0]
            x_t = h
            out.append(h)
    weights, bias = stack.dense
    return {"one": np.stack(one), "two": np.stack(two), "fc": two @ weights.T + bias}


def _stale(stack: Stack, x: np.ndarray) -> Values:
    """Starts from where another signal ended."""
    before = signal(30, x.shape[1], seed=99)
    values = stack.run(np.concatenate([before, x]))
    return {name: value[30:] for name, value in values.items()}


def _input(change: Callable[[np.ndarray], np.ndarray]) -> Callable:
    return lambda stack, x: stack.run(change(x))


MISTAKES = [
    Mistake("order i f o g", _order("ifog"), 0, 0),
    Mistake("order i g f o", _order("igfo"), 0, 0),
    Mistake("order i o f g", _order("iofg"), 0, 0),
    Mistake("order o f g i", _order("ofgi"), 0, 0),
    Mistake("interleaved", _weights(_interleaved), 0, 0),
    Mistake("R transposed", _each(".R", np.transpose), 1, 1),
    Mistake("bias twice", _each(".b", lambda b: 2 * b), 0, 0),
    Mistake("bias omitted", _each(".b", np.zeros_like), 0, 0),
    Mistake("forget bias + 1", _each("f.b", lambda b: b + 1), 1, 1),
    Mistake("forget bias - 1", _each("f.b", lambda b: b - 1), 1, 1),
    Mistake("hard-sigmoid", _cell(gate="hard-sigmoid"), 0, 0),
    Mistake("softsign", _cell(state="softsign"), 0, 0),
    Mistake("shared state", _shared, 1, 0),
    Mistake("state reset at each step", _reset, 1, 1),
    Mistake("relu in between", _between(lambda h: np.maximum(h, 0)), None, 0),
    Mistake("tanh in between", _between(np.tanh), None, 0),
    Mistake("stale state", _stale, 0, 0),
    Mistake("time reversed", _input(lambda x: x[::-1]), 0, 0),
    Mistake("shifted by one step", _input(lambda x: np.roll(x, 1, 0)), 0, 0),
    Mistake("standardised twice", _input(lambda x: (x - x.mean(0)) / x.std(0)), 0, 0),
    Mistake("std with N", _input(lambda x: x * np.sqrt(len(x) / (len(x) - 1))), 0, 0),
    Mistake("features swapped", _input(lambda x: x[:, ::-1]), 0, 0),
]
"""The table of measured signatures, and a few more."""
