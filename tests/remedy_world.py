"""A network, a recording, and what a mistake makes of them, in NumPy float64.

Written from the weights and `oracles.loop`; nothing here knows the remedies.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from oracles import AFTER, BIASED, NUMPY, Cell, Weights, draw, loop, stack

LSTM, GRU, PEEPHOLE = Cell("lstm"), Cell("gru", mode=AFTER), Cell("lstm", peephole=True)
relu, sigmoid = NUMPY["relu"], NUMPY["sigmoid"]


def hard_sigmoid_keras3(x):
    return np.clip(x / 6 + 0.5, 0, 1)


def same(x):
    return x


class World:
    """A network, a recording, and what a program finds in its workspace."""

    def __init__(
        self,
        C: int,
        H: int,
        O: int,  # noqa: E741
        T: int,
        cell: Cell = LSTM,
        sequences: int = 2,
    ) -> None:
        rng = np.random.default_rng(C * 100 + H)
        self.C, self.H, self.O, self.T, self.cell = C, H, O, T, cell
        self.first = draw(rng, cell, C, H)
        self.second = draw(rng, cell, H, H)
        if cell.peephole:
            shared = {key: self.first[key] for key in ("i.p", "f.p", "o.p")}
            self.second |= shared
        if cell.mode == BIASED:
            self.second |= {f"{gate}.br": self.first[f"{gate}.br"] for gate in "rzn"}
        self.backward = draw(rng, cell, C, H)
        self.W3, self.b3 = rng.normal(size=(O, H)), rng.normal(size=O)
        self.W4 = rng.normal(size=(O, 2 * H))
        self.x = rng.normal(size=(T, C)) * [1 + k for k in range(C)] + 0.5
        self.longer = rng.normal(size=(T + 3, C))
        self.train = rng.normal(size=(9, C)) * 1.5 + 0.3
        self.start = rng.normal(size=(2, H)) * 0.5
        self.gamma, self.beta = rng.normal(size=H) + 1, rng.normal(size=H)
        self.bR_n = rng.normal(size=H)
        more = [rng.normal(size=(T - 1, C)) for _ in range(sequences - 2)]
        self.sequences = [self.longer, self.x, *more]

    def workspace(self) -> dict[str, Any]:
        """Variables of the programs, as NumPy has them."""
        gates, H = self.cell.gates, self.H
        names: dict[str, Any] = {key: getattr(self, key) for key in "CHOT"}
        for k, w in (("1", self.first), ("2", self.second)):
            names["W" + k] = stack(w, gates, "W", H)
            names["R" + k] = stack(w, gates, "R", H)
            names["b" + k] = stack(w, gates, "b", H)
        for kind in "WRb":
            halves = [stack(w, gates, kind, H) for w in (self.first, self.backward)]
            names[kind] = np.concatenate(halves)
        for gate in "ifo" if self.cell.peephole else ():
            names[f"p_{gate}"] = self.first[f"{gate}.p"]
        names |= {
            "w1": names.pop("W1").ravel(order="F"),
            "w3": self.W3.ravel(order="F"),
        }
        names |= {"r1": names.pop("R1").ravel(order="F")}
        for origin in ("saved", "given", "other"):
            names |= {f"h1_{origin}": self.start[0], f"c1_{origin}": self.start[1]}
        names |= {"recording": self.x, "sequences": self.sequences}
        if self.cell.mode == BIASED:
            names["bR"] = stack(self.first, gates, "br", H)
        for key in ("train", "b3", "W4", "gamma", "beta", "bR_n"):
            names[key] = getattr(self, key)
        return names

    # the right programs, each open where a mistake changes it

    def scaled(self, x: np.ndarray, sigma: np.ndarray | None = None) -> np.ndarray:
        sigma = self.train.std(0, ddof=1) if sigma is None else sigma
        return (x - self.train.mean(0)) / sigma

    def layer(self, w: Weights, x, cell: Cell | None = None, start=None, **own) -> dict:
        h, c = np.zeros((2, self.H)) if start is None else start
        if own:
            return own_loop(w, x, h, c, **own)
        return loop(cell or self.cell, w, x, h, c)

    def regression(
        self,
        x: np.ndarray | None = None,
        *,
        change: Callable[[Weights], Weights] = same,
        first: Callable[[Weights], Weights] = same,
        second: Weights | None = None,
        between: Callable = relu,
        cell: Cell | None = None,
        scaled: np.ndarray | None = None,
        start: Any = None,
        starts: Any = (None, None),
        delay: bool = False,
        W3: np.ndarray | None = None,
        b3: Any = None,
        **own,
    ) -> np.ndarray:
        x = self.scaled(self.x if x is None else x) if scaled is None else scaled
        w1, w2 = first(change(self.first)), change(second or self.second)
        a = between(self.layer(w1, x, cell, start or starts[0], **own)["h"])
        if delay:
            a = np.vstack([np.zeros((1, self.H)), a[:-1]])
        a = relu(self.layer(w2, a, cell, starts[1], **own)["h"])
        W3 = self.W3 if W3 is None else W3
        return a @ W3.T + (self.b3 if b3 is None else b3)

    def ends(self, x: np.ndarray) -> tuple:
        """The states after a sequence."""
        below = self.layer(self.first, self.scaled(x))
        above = self.layer(self.second, relu(below["h"]))
        return tuple((run["h"][-1], run["c"][-1]) for run in (below, above))

    def outputs(self, x: np.ndarray | None = None) -> np.ndarray:
        return self.layer(self.first, self.x if x is None else x)["h"]

    def last(self, x: np.ndarray | None = None, pick: Callable | None = None):
        e = np.exp(self.scores(x, pick))
        return e / e.sum()

    def scores(self, x: np.ndarray | None = None, pick: Callable | None = None):
        h = self.outputs(x)
        return self.W3 @ (h[-1] if pick is None else pick(h)) + self.b3

    def answers(self, sequences: Any = None) -> np.ndarray:
        """One answer for each sequence."""
        given = self.sequences if sequences is None else sequences
        return np.stack([self.last(x) for x in given])

    def labels(self, axis: int = 1) -> np.ndarray:
        e = np.exp(self.outputs() @ self.W3.T + self.b3)
        return e / e.sum(axis, keepdims=True)

    def norm(self, over: Any = 1, epsilon: float = 1e-5) -> np.ndarray:
        h = self.outputs()
        m, v = h.mean(over, keepdims=True), h.var(over, keepdims=True)
        a = (h - m) / np.sqrt(v + epsilon) * self.gamma + self.beta
        return a @ self.W3.T + self.b3

    def halves(self, swapped: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """Forward outputs, and backward ones as computed, last step first."""
        ahead, behind = self.first, self.backward
        if swapped:
            ahead, behind = behind, ahead
        forward = self.layer(ahead, self.x)["h"]
        return forward, self.layer(behind, self.x[::-1])["h"]

    def joined(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        return np.concatenate([left, right], -1) @ self.W4.T + self.b3


def own_loop(
    w: Weights,
    x,
    h,
    c,
    gate=sigmoid,
    g_of=np.tanh,
    c_of=np.tanh,
    coupled=False,
    stale=False,
) -> dict[str, np.ndarray]:
    """An LSTM with every function free."""
    steps = []
    for x_t in x:
        z = {k: w[f"{k}.W"] @ x_t + w[f"{k}.R"] @ h + w[f"{k}.b"] for k in "ifgo"}
        i = gate(z["i"])
        f = 1 - i if coupled else gate(z["f"])
        old, c = c, f * c + i * g_of(z["g"])
        h = gate(z["o"]) * c_of(old if stale else c)
        steps.append((h, c))
    return {"h": np.stack([s[0] for s in steps]), "c": np.stack([s[1] for s in steps])}


# --- changes of the weights -----------------------------------------------------------


def reread(cell: Cell, H: int, rows: Any, kinds: str = "WRb") -> Callable:
    """Gates cut from the stacked arrays in another way: `rows(array, gate)`."""

    def change(w: Weights) -> Weights:
        new = dict(w)
        for kind in kinds:
            array = stack(w, cell.gates, kind, H)
            for k, gate in enumerate(cell.gates):
                new[f"{gate}.{kind}"] = rows(array, k)
        return new

    return change


def by_order(cell: Cell, H: int, order: str) -> Callable:
    taken = [order.index(gate) for gate in cell.gates]
    return reread(cell, H, lambda a, k: np.split(a, len(taken))[taken[k]])


def interleaved(cell: Cell, H: int) -> Callable:
    return reread(cell, H, lambda a, k: a[k :: len(cell.gates)])


def refilled(cell: Cell, H: int, kinds: str) -> Callable:
    def rows(a, k):
        listed = a.flatten("F").reshape(a.shape)
        return np.split(listed, len(cell.gates))[k]

    return reread(cell, H, rows, kinds)


def each(kinds: str, change: Callable[[np.ndarray], np.ndarray]) -> Callable:
    def apply(w: Weights) -> Weights:
        return {
            name: change(value) if name.split(".")[1] in kinds else value
            for name, value in w.items()
        }

    return apply


def forget(added: float) -> Callable[[Weights], Weights]:
    return lambda w: w | {"f.b": w["f.b"] + added}


# --- mistakes that tie steps or layers together ---------------------------------------


def by_step(world: World, h1c1h2c2: Callable[[int, np.ndarray, list], None]):
    """`h1c1h2c2(t, x, s)` moves the states `s = [h1, c1, h2, c2]` by one step."""
    states = [np.zeros(world.H)] * 4
    y = []
    for t, x in enumerate(world.scaled(world.x)):
        h1c1h2c2(t, x[None], states)
        y.append(world.W3 @ relu(states[2]) + world.b3)
    return np.stack(y)


def shared(world: World) -> np.ndarray:
    def move(_, x, s):
        below = world.layer(world.first, x, start=(s[2], s[3]))
        h, c = below["h"][0], below.get("c", below["h"])[0]
        above = world.layer(world.second, relu(h)[None], start=(h, c))
        s[2:] = above["h"][0], above.get("c", above["h"])[0]

    return by_step(world, move)


def reset(world: World, every: int, what: str) -> np.ndarray:
    def move(t, x, s):
        if t % every == 0:
            for k, letter in enumerate("hchc"):
                s[k] = s[k] * 0 if what in ("both", letter) else s[k]
        for k, w in ((0, world.first), (2, world.second)):
            run = world.layer(w, x, start=(s[k], s[k + 1]))
            s[k : k + 2] = run["h"][0], run.get("c", run["h"])[0]
            x = relu(s[k])[None]

    return by_step(world, move)


def exchanged(world: World) -> np.ndarray:
    """The first layer is given its h as c and its c as h."""

    def move(_, x, s):
        below = world.layer(world.first, x, start=(s[1], s[0]))
        above = world.layer(world.second, relu(below["h"]), start=s[2:])
        s[:] = (run[k][0] for run in (below, above) for k in "hc")

    return by_step(world, move)


def closed(world: World, after: int = 1) -> np.ndarray:
    x = world.x.copy()
    for t in range(after, len(x)):
        # The input of a step is known once the step before it has been predicted.
        x[t] = world.regression(x)[t - 1]
    return world.regression(x)
