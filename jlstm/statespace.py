"""A linear discrete-time system with names: what `linearize` returns."""

from __future__ import annotations

import dataclasses
import textwrap
from functools import cached_property
from typing import Any

import numpy as np

from .errors import InputError

SHOWN = 6
"""Outputs, inputs and time constants on the screen, at most."""
WIDTH = 88
DIGITS = 100.0
"""A gain is told if this many times the rounding of A leaves it recognisable."""
STILL = 64.0
"""A state stands still if a step moves it by at most this many roundings."""


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class StateSpace:
    """A network near one operating point; `str()` is one screen.

        s[t+1] - s1 = A (s[t] - s0) + B (x[t] - x0)
        y[t]   - y0 = C (s[t] - s0) + D (x[t] - x0)

    `s` is the state *before* step t and `y` the output *of* step t, as in `jl.step`. At
    an equilibrium `s1 = s0`, and this is the linear system that MATLAB's `ss` holds.
    Elsewhere the network does not stay at its operating point: A, B, C, D are right for
    one step, and eigenvalues and gains are those of a system that is frozen there.

    Arguments:
        A: `(states, states)`, ds[t+1] / ds[t].
        B: `(states, inputs)`, ds[t+1] / dx[t], per unit of the input.
        C: `(outputs, states)`, dy[t] / ds[t], in units of the output.
        D: `(outputs, inputs)`, dy[t] / dx[t], output units per input unit.
        s0, x0: the operating point, flat.
        s1, y0: the state after that step and its output, flat.
        state0: `s0` by layer, as `predict`, `step` and `Stream` take it.
        state_names: "lstm_1.h[1]", as `s0` lies: layers in topological order, `h`
            before `c`, units from 1.
        input_names, output_names: "input[1]", "fc[1]", as `x0` and `y0` lie.
    """

    A: np.ndarray
    B: np.ndarray
    C: np.ndarray
    D: np.ndarray
    s0: np.ndarray
    x0: np.ndarray
    s1: np.ndarray
    y0: np.ndarray
    state0: dict[str, Any]
    state_names: tuple[str, ...]
    input_names: tuple[str, ...]
    output_names: tuple[str, ...]

    @cached_property
    def eigenvalues(self) -> np.ndarray:
        """Eigenvalues of A, complex, the largest absolute value first."""
        found = np.linalg.eigvals(self.A.astype(np.float64)).astype(complex)
        return found[np.argsort(-abs(found), kind="stable")]

    @property
    def spectral_radius(self) -> float:
        """Largest absolute value of an eigenvalue; 0 without states."""
        return float(abs(self.eigenvalues[:1]).max(initial=0.0))

    @property
    def stable(self) -> bool:
        """Whether small deviations die out: spectral radius below 1."""
        return self.spectral_radius < 1

    @property
    def time_constants(self) -> np.ndarray:
        """`1 / ln(1 / |eigenvalue|)` in steps, as `eigenvalues` lie.

        Infinite on the unit circle, and negative where a deviation grows.
        """
        with np.errstate(divide="ignore"):
            return 1 / np.log(1 / abs(self.eigenvalues))

    @property
    def equilibrium(self) -> bool:
        """Whether every state stands still at the operating point, to rounding."""
        allowed = standstill(self.s0, self.A)
        return bool(np.all(abs(self.s1 - self.s0) <= allowed))

    @property
    def drift(self) -> float:
        """How far one step moves the state from the operating point: max |s1 - s0|."""
        return float(abs(self.s1 - self.s0).max(initial=0.0))

    @cached_property
    def dc_gain(self) -> np.ndarray | None:
        """`C (I - A)^-1 B + D`, `(outputs, inputs)`, output units per input unit.

        How far the output moves in the end if the input is moved by one unit and held;
        of an unstable system the same formula, as MATLAB's `dcgain`. None where I - A
        is so near to singular that rounding leaves less than two digits.
        """
        A, B, C, D = (m.astype(np.float64) for m in (self.A, self.B, self.C, self.D))
        if not len(A):
            return D
        gap = np.eye(len(A)) - A
        if np.linalg.cond(gap) * np.finfo(self.A.dtype).eps * DIGITS > 1:
            return None
        return C @ np.linalg.solve(gap, B) + D

    def simulate(self, dx: Any) -> np.ndarray:
        """The output's deviations `dy` that the input's deviations `dx` cause.

            ds[0] = 0,  dy[t] = C ds[t] + D dx[t],  ds[t+1] = A ds[t] + B dx[t]

        Arguments:
            dx: `(time, inputs)`, in units of the input.

        Returns:
            `(time, outputs)`, in units of the output, in double precision.

        Raises:
            InputError: another shape, or values that are not finite.
        """
        try:
            dx = np.asarray(dx, np.float64)
        except (TypeError, ValueError) as error:
            raise InputError("not an array of numbers", found=error) from None
        if dx.ndim != 2 or dx.shape[1] != len(self.x0):
            raise InputError(
                "the deviations do not fit the system",
                found=f"shape {dx.shape}",
                expected=f"(time, {len(self.x0)}): {', '.join(self.input_names)}",
            )
        if not np.isfinite(dx).all():
            raise InputError("the deviations are not finite")
        forced, through = dx @ self.B.T, dx @ self.D.T
        states = np.zeros((len(dx), len(self.s0)))
        for t in range(1, len(dx)):
            states[t] = self.A @ states[t - 1] + forced[t - 1]
        return states @ self.C.T + through

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON: matrices as lists of rows, eigenvalues as [real, imag]."""
        names = ("A", "B", "C", "D", "s0", "x0", "s1", "y0")
        gain = self.dc_gain
        return {name: getattr(self, name).tolist() for name in names} | {
            "state_names": list(self.state_names),
            "input_names": list(self.input_names),
            "output_names": list(self.output_names),
            "precision": self.precision,
            "equilibrium": self.equilibrium,
            "eigenvalues": [[v.real, v.imag] for v in self.eigenvalues.tolist()],
            "spectral_radius": self.spectral_radius,
            "stable": self.stable,
            "dc_gain": None if gain is None else gain.tolist(),
        }

    @property
    def precision(self) -> str:
        """What the derivatives were computed in: "single", "double", or a dtype."""
        name = self.A.dtype.name
        return {"float32": "single", "float64": "double"}.get(name, name)

    def __repr__(self) -> str:
        sizes = {"state": self.s0, "input": self.x0, "output": self.y0}
        words = [f"{len(v)} {name}{'s' * (len(v) != 1)}" for name, v in sizes.items()]
        return f"StateSpace({', '.join(words)})"

    def __str__(self) -> str:
        return "\n".join(_lines(self))


def standstill(s: np.ndarray, A: np.ndarray) -> np.ndarray:
    """How far a step may move each state at rest: rounding, generously.

        64 eps max(1, |s|, |A| |s|)

    Each state has a scale of its own, so that a large one hides no drift of a small
    one. The last term is what the rounding of the other states does to it.
    """
    size = abs(s)
    scale = np.maximum(np.maximum(1, size), abs(A) @ size)
    return STILL * float(np.finfo(s.dtype).eps) * scale


def _lines(system: StateSpace) -> list[str]:
    moved = f"{system.drift:.1e}"
    lines = [f"{system!r}, derivatives in {system.precision} precision"]
    if system.equilibrium:
        lines.append(f"  operating point  an equilibrium, to {moved}")
    else:
        lines += [
            f"  operating point  NOT an equilibrium: a step moves it by {moved};",
            "                   what follows is of the system as if it were held there",
        ]
    if len(system.s0):
        lines += [
            f"  spectral radius  {system.spectral_radius:.6g}: {_verdict(system)}",
            *textwrap.wrap(
                f"  time constants   {_time_constants(system)}",
                WIDTH,
                subsequent_indent=" " * 19,
                break_on_hyphens=False,
            ),
        ]
    return lines + _gain(system)


def _verdict(system: StateSpace) -> str:
    if abs(system.spectral_radius - 1) <= DIGITS * np.finfo(system.A.dtype).eps:
        return "on the edge of stability, to rounding"
    return "stable" if system.stable else "unstable"


def _time_constants(system: StateSpace) -> str:
    words, shown = [], 0
    for value, steps in zip(system.eigenvalues, system.time_constants, strict=True):
        if value.imag < 0:
            continue  # told by its conjugate
        if shown == SHOWN:
            return ", ".join(words) + ", ... steps"
        shown += 1
        turn = abs(np.angle(value))
        period = f" (period {2 * np.pi / turn:.3g})" if turn and steps else ""
        words.append(f"{steps:.3g}{period}")
    return ", ".join(words) + " steps"


def _gain(system: StateSpace) -> list[str]:
    gain = system.dc_gain
    if gain is None:
        return ["  DC gain          none: I - A is singular, to rounding"]
    if not system.stable:
        return ["  DC gain          none: deviations do not settle"]
    rows = system.output_names[:SHOWN]
    first = max(map(len, rows))
    width = max(10, *map(len, system.input_names[:SHOWN]))
    fit = max(1, min(SHOWN, (WIDTH - 2 - first) // (width + 2)))
    columns = system.input_names[:fit]
    lines = ["  DC gain, output units per input unit"]
    for name, cells in (
        ("", columns),
        *((n, [f"{v:.5g}" for v in row]) for n, row in zip(rows, gain, strict=False)),
    ):
        line = "".join(f"  {cell:>{width}}" for cell in cells[:fit])
        lines.append(f"  {name:<{first}}{line}")
    more = [
        f"{count} more {word}"
        for count, word in (
            (len(system.output_names) - len(rows), "outputs"),
            (len(system.input_names) - len(columns), "inputs"),
        )
        if count
    ]
    return lines + [f"  and {' and '.join(more)}"] * bool(more)
