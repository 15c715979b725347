"""The linear system by itself, against scipy, closed forms and the equations."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
import pytest
from dynamics import plant
from oracles import BEFORE, Cell
from scipy import signal

from jlstm.errors import InputError
from jlstm.linearization import linearize
from jlstm.statespace import StateSpace

TURN = 2 * np.pi / 9
POLES = np.array([0.5, 0.9 * np.exp(1j * TURN), 0.9 * np.exp(-1j * TURN), -0.2, 0.0])


def system(A, B, C, D, **fields: Any) -> StateSpace:
    A, B, C, D = (np.asarray(m) for m in (A, B, C, D))
    (p, m), n = D.shape, len(A)
    zero: dict[str, Any] = {"s0": np.zeros(n, A.dtype), "s1": np.zeros(n, A.dtype),
            "x0": np.zeros(m), "y0": np.zeros(p), "state0": {}}  # fmt: skip
    names = {
        f"{word}_names": tuple(f"{word}[{k + 1}]" for k in range(size))
        for word, size in (("state", n), ("input", m), ("output", p))
    }
    return StateSpace(A, B, C, D, **(zero | names | fields))


def with_poles(rng, poles, m=2, p=3) -> StateSpace:
    """A real system with these poles; conjugate ones lie next to each other."""
    A, k = np.zeros((len(poles), len(poles))), 0
    while k < len(poles):
        if poles[k].imag:
            a, b = poles[k].real, poles[k].imag
            A[k : k + 2, k : k + 2] = [[a, b], [-b, a]]
        else:
            A[k, k] = poles[k].real
        k += 2 if poles[k].imag else 1
    T, n = rng.normal(size=(len(poles), len(poles))), len(poles)
    B, C, D = (rng.normal(size=shape) for shape in ((n, m), (p, n), (p, m)))
    return system(T @ A @ np.linalg.inv(T), B, C, D)


def test_it_moves_as_scipy_says(rng):
    found = with_poles(rng, POLES)
    dx = rng.normal(size=(40, 2))
    dlti = signal.dlti(found.A, found.B, found.C, found.D, dt=1.0)
    wanted = signal.dlsim(dlti, dx)[1]
    tiny = 1e-12 * np.abs(wanted).max()
    np.testing.assert_allclose(found.simulate(dx), wanted, rtol=0, atol=tiny)
    held = np.tile([1.0, 0.0], (400, 1))
    settled = found.simulate(held)[-1]
    np.testing.assert_allclose(found.dc_gain[:, 0], settled, rtol=0, atol=1e-10)
    assert np.abs(found.dc_gain[:, 0] - found.D[:, 0]).max() > 0.1
    assert found.simulate(np.zeros((0, 2))).shape == (0, 3)


def test_poles(rng):
    found = with_poles(rng, POLES)
    order = np.argsort(-abs(POLES), kind="stable")
    np.testing.assert_allclose(abs(found.eigenvalues), abs(POLES[order]), atol=1e-12)
    np.testing.assert_allclose(
        np.sort_complex(found.eigenvalues), np.sort_complex(POLES), atol=1e-12
    )
    assert found.spectral_radius == pytest.approx(0.9) and found.stable
    # After one time constant a deviation is down to 1/e.
    taus = found.time_constants
    decayed = abs(found.eigenvalues[:4]) ** taus[:4]
    np.testing.assert_allclose(decayed, np.exp(-1), 1e-12)
    assert taus[4] < 0.1
    text = str(found)
    assert "spectral radius  0.9: stable" in text
    assert "time constants   9.49 (period 9), 1.44, 0.621 (period 2)" in text
    assert "an equilibrium, to 0.0e+00" in text and "double precision" in text
    row = next(line for line in text.splitlines() if "output[2]" in line)
    assert row.split()[1:] == [f"{v:.5g}" for v in found.dc_gain[1]]


def test_on_the_edge_and_beyond(rng):
    on = with_poles(rng, np.array([1.0 + 0j, 0.5]))
    assert on.dc_gain is None and "none: I - A is singular" in str(on)
    assert "on the edge of stability" in str(on)
    single = dataclasses.replace(on, A=np.float32([[0.99999, 1], [0, 0.5]]))
    assert single.dc_gain is None  # no digit of it would be right
    double = dataclasses.replace(on, A=np.float64([[0.99999, 1], [0, 0.5]]))
    assert double.dc_gain is not None and double.stable
    beyond = with_poles(rng, np.array([1.25 + 0j, 0.5]))
    assert not beyond.stable and "1.25: unstable" in str(beyond)
    assert "DC gain          none: deviations do not settle" in str(beyond)
    assert beyond.time_constants[0] == pytest.approx(-1 / np.log(1.25))
    # MATLAB's dcgain: what the formula gives.
    gap = np.linalg.inv(np.eye(2) - beyond.A)
    np.testing.assert_allclose(
        beyond.dc_gain, beyond.C @ gap @ beyond.B + beyond.D, rtol=1e-9
    )
    exact = system([[1.0]], [[1.0]], [[1.0]], [[0.0]])
    assert exact.time_constants[0] == np.inf and not exact.stable


def test_a_point_that_does_not_stay(rng):
    found = with_poles(rng, POLES)
    moved = dataclasses.replace(found, s1=np.array([0, -0.25, 0.1, 0, 0]))
    assert moved.drift == 0.25 and not moved.equilibrium
    assert "NOT an equilibrium: a step moves it by 2.5e-01" in str(moved)
    rounding = dataclasses.replace(found, s1=np.full(5, 1e-15))
    assert rounding.equilibrium


def test_every_state_stands_still_on_its_own_scale():
    """Rounding of the first reaches the second by the 3 that couples them."""
    s0, C, D = np.array([1e9, 1.0, 0.0]), np.zeros((1, 3)), np.zeros((1, 1))
    drifting = np.array([1e9, 1.0 + 1e-6, 0.0])
    for coupling, still in ((0.0, False), (3.0, True)):
        A = np.array([[0.9, 0, 0], [coupling, 1, 0], [0, 0, 1]])
        found = system(A, np.zeros((3, 1)), C, D, s0=s0, s1=drifting)
        assert found.equilibrium is still
        moved = dataclasses.replace(found, s1=np.array([1e9, 1.0, 1e-6]))
        assert not moved.equilibrium


def test_large_systems_fit_one_screen(rng):
    found = with_poles(rng, np.linspace(0.1, 0.9, 50) + 0j, m=20, p=30)
    lines = str(found).splitlines()
    assert len(lines) <= 14 and max(map(len, lines)) <= 88
    assert "24 more outputs and 14 more inputs" in lines[-1]
    assert repr(found) == "StateSpace(50 states, 20 inputs, 30 outputs)"
    long = tuple(f"sequenceinput[{k + 1}]" for k in range(20))
    turning = 0.8 * np.exp(1j * np.linspace(0.1, 3, 9))
    found = with_poles(rng, np.stack([turning, turning.conj()], 1).ravel(), m=20)
    lines = str(dataclasses.replace(found, input_names=long)).splitlines()
    assert max(map(len, lines)) <= 88 and "16 more inputs" in lines[-1]
    assert sum("period" in line for line in lines) == 2


def test_as_json(rng):
    found = with_poles(rng, POLES)
    told = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    for name in "ABCD":
        assert np.array_equal(told[name], getattr(found, name))
    assert told["eigenvalues"] == [[v.real, v.imag] for v in found.eigenvalues]
    assert told["state_names"][4] == "state[5]" and told["stable"] is True
    assert np.array_equal(told["dc_gain"], found.dc_gain)
    on = with_poles(rng, np.array([1.0 + 0j]))
    assert on.to_dict()["dc_gain"] is None


@pytest.mark.parametrize("cell", [Cell("lstm"), Cell("gru", mode=BEFORE)], ids=str)
def test_what_it_leaves_out_is_of_second_order(cell, rng, double):
    """Half the deviation leaves a quarter of the error, against the equations."""
    real = plant(rng, cell, Cell("lstm"))
    x0 = real.mean + 0.3 * real.std
    found = linearize(real.net.astype("float64"), x0, "equilibrium")
    shape = real.std * rng.normal(size=(30, 3))
    errors = []
    for size in (1e-4, 5e-5):
        y = real.run(found.s0, x0 + size * shape)[1]
        errors.append(np.abs(y - found.y0 - found.simulate(size * shape)).max())
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.05)
    assert errors[1] < 1e-3 * np.abs(found.simulate(5e-5 * shape)).max()


def test_deviations_that_do_not_fit(rng):
    found = with_poles(rng, POLES)
    for dx in (np.zeros(2), np.zeros((5, 3)), np.zeros((1, 5, 2))):
        with pytest.raises(InputError, match=r"do not fit the system(.|\n)*input\[2\]"):
            found.simulate(dx)
    with pytest.raises(InputError, match="not finite"):
        found.simulate([[1.0, np.nan]])
    with pytest.raises(InputError, match="not an array"):
        found.simulate([["a", "b"]])
