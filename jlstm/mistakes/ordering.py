"""In which order were many features given?

An order is a permutation matrix A: the network was given `x A'`. Among the doubly
stochastic matrices, which mix features, the difference to what was observed is made
smaller by Gauss-Newton steps. Each is solved by the method of Frank and Wolfe, for
which the best permutation for a linear cost is found by assignment; as in Vogelstein
et al., Fast approximate quadratic programming for graph matching, PLoS ONE 10(4), 2015.
The permutation nearest to the end is improved by exchanges of two features.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import combinations
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.optimize import linear_sum_assignment

from .bench import window_safe
from .engine import Data, run_one
from .evidence import Observation
from .inputs import swapped
from .trial import Trial

FEWEST, MOST = 5, 64
SEQUENCES = 16
ROWS = (24, 200)
STARTS, STEPS, INNER = 3, 30, 300
LEAST = 1e-3
"""A step must take away so much of what is left."""
LENGTHS = (1.0, 0.5, 0.25, 0.1, 0.03)
EXACT = 1e-20
SECONDS = 15.0
"""The search gives up after so long: an order is one mistake among many."""

Order = tuple[int, ...]


def order_of_features(
    base: Trial, observed: Observation, timed: bool, tick: Callable[[], None]
) -> Order | None:
    """The order of features under which the network comes nearest to the observation.

    Arguments:
        base: the network and its input as they should be.
        observed: outputs of it.
        timed: whether the first steps can be looked at alone.
        tick: called once for each step.
    """
    xs = [a for run in base.runs for a in run.x.values()]
    if len(base.runs[0].x) > 1 or any(x.ndim != 2 for x in xs):
        return None
    if not FEWEST <= xs[0].shape[1] <= MOST or len(observed.outputs) > 1:
        return None
    if not window_safe(base):
        return None
    with jax.enable_x64(True):
        return _Problem(base, observed, timed).solve(tick)


class _Problem:
    """A cost for mixtures of features, with its derivatives."""

    def __init__(self, base: Trial, observed: Observation, timed: bool):
        self.until = time.monotonic() + SECONDS
        (name,), (output,) = base.runs[0].x, observed.outputs
        runs = base.runs[:SEQUENCES]
        records = [v[output] for v in observed.values[:SEQUENCES]]
        self.width = runs[0].x[name].shape[1]
        rows = None
        if timed:
            enough = 2 * self.width**2 // records[0].shape[1]
            rows = min(max(enough, ROWS[0]), ROWS[1], *map(len, records))
        xs = [run.x[name][:rows] for run in runs]
        length = max(map(len, xs))
        self.x = np.stack([np.pad(x, ((0, length - len(x)), (0, 0))) for x in xs])
        records = [record[:rows] for record in records]
        # Scores are compared as logarithms, which are nearer to linear.
        self.scores = all(
            np.all(r > 0) and np.allclose(r.sum(1), 1, atol=1e-3) for r in records
        )
        self.scale = 1.0 if self.scores else observed.scale[output]
        self.ends = np.array([min(run.end, length) for run in runs], np.int32)
        most = length if output in base.wired.timed else 1
        self.kept = np.stack([np.arange(most) < len(r) for r in records])
        fitted = [np.pad(r, ((0, len(k) - len(r)), (0, 0)))
                  for r, k in zip(records, self.kept, strict=True)]  # fmt: skip
        self.target = np.stack([self._seen(r) for r in fitted])

        def outputs(x: Any, end: Any) -> Any:
            switches = jnp.asarray(base.switches)
            data = Data({name: x}, base.state, switches, jnp.int32(0), end)
            y = run_one(base.wired, data, (output,))[output]
            return self._seen(y.reshape(-1, y.shape[-1]))

        self.run = jax.jit(jax.vmap(outputs))
        self.slopes = jax.jit(jax.vmap(jax.jacrev(outputs)))

        def left(order: Any) -> Any:
            given = jnp.asarray(self.x)[:, :, order]
            return self._left(jax.vmap(outputs)(given, self.ends))

        self.many = jax.jit(lambda orders: jax.lax.map(left, orders))

    def _late(self) -> bool:
        return time.monotonic() > self.until

    def _seen(self, y: Any) -> Any:
        """Outputs in the units in which they are compared."""
        return jnp.log(jnp.maximum(y, 1e-300)) if self.scores else y / self.scale

    def _left(self, y: Any) -> Any:
        """The mean square of what is left."""
        gap = jnp.where(self.kept[..., None], y - self.target, 0)
        return (gap**2).sum() / float(self.kept.sum() * self.target.shape[-1])

    def cost(self, mixture: np.ndarray) -> float:
        return float(self._left(self.run(self.x @ mixture.T, self.ends)))

    def solve(self, tick: Callable[[], None]) -> Order | None:
        """The best order that is found from several mixtures to start with."""
        best = (np.inf, tuple(range(self.width)))
        for start in self._starts():
            best = min(best, self._descend(start, tick))
            if best[0] < EXACT or self._late():
                break
        if not np.isfinite(best[0]):
            return None
        return tuple(map(int, self._exchanged(best, tick)))

    def _starts(self) -> Iterator[np.ndarray]:
        """The even mixture, then some on its way to permutations."""
        even = np.full((self.width, self.width), 1 / self.width)
        yield even
        rng = np.random.default_rng(0)
        for _ in range(STARTS):
            others = [np.eye(self.width)[rng.permutation(self.width)] for _ in range(3)]
            yield (even + sum(others) / len(others)) / 2

    def _descend(
        self, mixture: np.ndarray, tick: Callable[[], None]
    ) -> tuple[float, Order]:
        """The best permutation on the way down from a mixture."""
        best = (np.inf, tuple(range(self.width)))
        before = self.cost(mixture)
        for _ in range(STEPS):
            tick()
            if not np.isfinite(before) or self._late():
                break
            towards = self._step(mixture)
            _, order = linear_sum_assignment(-towards)
            best = min(best, (self.cost(np.eye(self.width)[order]), tuple(order)))
            if best[0] < EXACT:
                break
            tried = [mixture + s * (towards - mixture) for s in LENGTHS]
            costs = [self.cost(one) for one in tried]
            k = int(np.argmin(np.nan_to_num(costs, nan=np.inf)))
            if not costs[k] < before * (1 - LEAST):
                break
            mixture, before = tried[k], costs[k]
        return best

    def _step(self, mixture: np.ndarray) -> np.ndarray:
        """The best mixture for the network made linear around this one."""
        given = self.x @ mixture.T
        gap = self.target - np.asarray(self.run(given, self.ends))
        gap = np.where(self.kept[..., None], gap, 0)
        slopes = np.asarray(self.slopes(given, self.ends))
        slopes = slopes * self.kept[..., None, None, None]
        # d y / d A[j, k] = sum over t of (d y / d x[t, j]) x[t, k]
        effect = np.einsum("srotj,stk->srojk", slopes, self.x)
        effect = effect.reshape(gap.size, -1)
        if not np.all(np.isfinite(effect)):
            return mixture
        left, found = gap.ravel(), mixture
        for _ in range(INNER):
            cost = -(effect.T @ left).reshape(found.shape)
            corner = np.eye(self.width)[linear_sum_assignment(cost)[1]]
            change = effect @ (corner - found).ravel()
            length = float(np.clip(left @ change / (change @ change + 1e-300), 0, 1))
            if length < 1e-9:
                break
            found = found + length * (corner - found)
            left = left - length * change
        return found

    def _exchanged(self, best: tuple[float, Order], tick: Callable[[], None]) -> Order:
        """Better and better orders, each with two features exchanged."""
        pairs = list(combinations(range(self.width), 2))
        while best[0] > EXACT and not self._late():
            tick()
            orders = [swapped(best[1], a, b) for a, b in pairs]
            costs = np.asarray(self.many(np.array(orders)))
            k = int(np.argmin(costs))
            if not costs[k] < best[0]:
                break
            best = (float(costs[k]), orders[k])
        return best[1]
