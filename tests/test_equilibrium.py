"""Where networks come to rest, against scipy's fsolve, closed forms and plain loops."""

from __future__ import annotations

from typing import Any

import numpy as np
import oracles
import pytest
from dynamics import Plant, plant, slopes
from oracles import GRU_CELLS, Cell
from scipy.optimize import fsolve

from jlstm import layers as L
from jlstm.equilibrium import LONGEST, WATCHED, _approaches
from jlstm.errors import InputError
from jlstm.linearization import linearize
from jlstm.network import Network
from jlstm.recurrent import LSTM, Gate

PLAIN = Cell("lstm")
PAIRS = [(PLAIN, PLAIN), (GRU_CELLS[0], PLAIN), (Cell("lstm", projected=True),)]


def at_rest(system: Plant, x: np.ndarray) -> np.ndarray:
    """scipy's root of `F(s, x) - s`, from where a long run of the equations ends."""
    s = system.run(np.zeros(system.size), np.tile(x, (300, 1)))[0]
    root = fsolve(lambda s: system.step(s, x)[0] - s, s + 1e-3, xtol=1e-14)
    assert np.abs(system.step(root, x)[0] - root).max() < 1e-13
    return root


@pytest.mark.parametrize("pair", PAIRS, ids=str)
def test_it_is_the_root_that_scipy_finds(pair, rng, double):
    system = plant(rng, *pair)
    x = system.mean + 0.5 * system.std * rng.normal(size=3)
    found = linearize(system.net.astype("float64"), x, "equilibrium")
    wanted = at_rest(system, x)
    np.testing.assert_allclose(found.s0, wanted, rtol=0, atol=1e-11)
    assert found.equilibrium and found.drift < 1e-14
    assert not linearize(system.net.astype("float64"), x).equilibrium
    # What it is for: the state to start from.
    state = system.state(wanted)
    for name, part in found.state0.items():
        for a, b in zip(part, state[name], strict=True):
            np.testing.assert_allclose(a, b, rtol=0, atol=1e-11)
    A = slopes(lambda s: system.step(s, x)[0], wanted)
    np.testing.assert_allclose(found.A, A, rtol=0, atol=1e-8)


def test_in_single_precision(rng):
    system = plant(rng, PLAIN, PLAIN)
    x = system.mean.astype(np.float32)
    found = linearize(system.net, x, "equilibrium")
    assert found.equilibrium and found.s0.dtype == np.float32
    wanted = at_rest(system, x.astype(float))
    tiny = 2e-6 * np.abs(wanted).max()
    np.testing.assert_allclose(found.s0, wanted, rtol=0, atol=tiny)


# --- one unit, whose motion is known --------------------------------------------------


def unit(
    biases: dict[str, float], feedback: float = 0.0, drive: float = 0.0, **settings: Any
) -> Network:
    """An LSTM of one unit; only its candidate sees the input and its own output."""
    gates = {
        k: Gate(*(np.array(a) for a in ([[0.0]], [[0.0]], [biases.get(k, 0.0)])))
        for k in "ifgo"
    }
    gates["g"] = Gate(
        np.array([[drive]]), np.array([[feedback]]), np.array([biases.get("g", 0.0)])
    )
    layers = {"in": L.Input((1,)), "lstm": LSTM(**gates, **settings)}
    return Network.build(layers)


def sigmoid(x: float) -> float:
    return 1 / (1 + np.exp(-x))


@pytest.mark.parametrize("forget", [0.0, 5.0, 9.0, 12.0])
def test_slow_modes_are_removed(forget, double):
    """`c* = i g / (1 - f)`; the slowest has a time constant of 163,000 steps."""
    net = unit({"f": forget}, drive=1.0)
    found = linearize(net, [0.3], "equilibrium")
    c = 0.5 * np.tanh(0.3) / (1 - sigmoid(forget))
    assert found.s0[1] == pytest.approx(c, rel=1e-9)
    assert found.time_constants[0] == pytest.approx(-1 / np.log(sigmoid(forget)))
    assert found.stable and found.equilibrium


def test_an_equilibrium_that_repels_is_found_only_if_it_starts_there(double):
    net = unit({"f": 3.0, "i": 3.0, "o": 3.0}, feedback=4.0)
    found = linearize(net, [0.0], "equilibrium")
    assert found.spectral_radius > 1 and found.equilibrium
    assert not found.s0.any()
    state = net.initial["lstm"]._replace(c=np.array([1e-6]))
    found = linearize(net.replace(initial={"lstm": state}), [0.0], "equilibrium")
    assert found.stable and found.s0[1] > 1


def refusal(net: Network, x: float) -> str:
    with pytest.raises(InputError, match="does not come to rest") as caught:
        linearize(net, [x], "equilibrium")
    return str(caught.value)


def test_a_sum_without_end(double):
    # f is 1 to the last digit, so c grows by i g each step.
    text = refusal(unit({"f": 60.0}, drive=1.0), 0.3)
    assert f"after {LONGEST:,} steps it still drifts, by" in text
    assert f"by {0.5 * np.tanh(0.3):.1e} a step" in text


def units(
    gates: dict[str, list[float]], R: list[list[float]], **settings: Any
) -> Network:
    """LSTM units in single precision; only their candidates see each other."""
    n = len(R)
    parts = {
        k: Gate(
            np.zeros((n, 1), "f4"),
            np.array(R if k == "g" else np.zeros((n, n)), "f4"),
            np.array(gates[k], "f4"),
        )
        for k in "ifgo"
    }
    return Network.build({"in": L.Input((1,)), "lstm": LSTM(**parts, **settings)})


def test_a_large_state_hides_no_drift_of_a_small_one():
    """`c1 = .999 c1 + 1` goes to 1000; `c2 = c2 + .005` to nowhere."""
    drift = np.log(0.005 / 0.995)
    gates = {"i": [40, drift], "f": [np.log(999), 40], "g": [9, 9], "o": [0, 0]}
    text = refusal(units(gates, [[0, 0], [0, 0]]), 0.0)
    assert f"after {LONGEST:,} steps it still drifts, by 5.0e-03 a step" in text


def test_what_large_states_do_to_a_small_one_by_rounding_is_no_motion():
    """`c1 = 1e6 - c1 / 2`, `c2 = 3000 c1 + b2`: one rounding of c1 moves c2 by 188."""
    one = 1e6 / 1.5
    gates = {"i": [40, 40], "f": [-99, -99], "g": [1e6, 1e5 - 3000 * one],
             "o": [40, 40]}  # fmt: skip
    net = units(gates, [[-0.5, 0], [3000, 0]], state_activation="relu")
    found = linearize(net, [0.0], "equilibrium")
    assert found.equilibrium
    c1, c2 = found.s0[2:].astype(float)
    assert c1 == pytest.approx(one, rel=1e-6) and c2 == pytest.approx(1e5, abs=600)


def test_growth_beyond_all_bounds(double):
    # With relu for the state, h = c / 2 and c' = f c + 2 c: it explodes.
    net = unit({"f": 3.0, "g": 1.0}, feedback=9.0, state_activation="relu")
    assert "grows beyond all bounds" in refusal(net, 0.0)


def rotation(angle: float) -> tuple[Network, np.ndarray]:
    """Two units whose linear part turns the state by `angle` and swells it a little."""
    c, s = 1.35 * np.cos(angle), 1.35 * np.sin(angle)
    turn = np.array([[c, -s], [s, c]]) * 4.0
    zero, none = np.zeros((2, 1)), np.zeros((2, 2))
    wide = {"f": -20.0, "i": 20.0, "o": 0.0}
    gates = {k: Gate(zero, none, np.full(2, wide[k])) for k in "ifo"}
    layer = LSTM(gates["i"], gates["f"], Gate(zero + 0.01, turn, np.zeros(2)),
                 gates["o"])  # fmt: skip
    return Network.build({"in": L.Input((1,)), "lstm": layer}), turn


@pytest.mark.parametrize("steps", [2, 4])
def test_an_oscillation_has_a_period(steps, double):
    net, turn = rotation(2 * np.pi / steps)
    w = {f"{k}.W": np.zeros((2, 1)) for k in "ifo"} | {"g.W": np.full((2, 1), 0.01)}
    w |= {f"{k}.R": np.zeros((2, 2)) for k in "ifo"} | {"g.R": turn}
    w |= {f"{k}.b": np.full(2, v) for k, v in
          {"i": 20.0, "f": -20.0, "g": 0.0, "o": 0.0}.items()}  # fmt: skip
    h = oracles.loop(PLAIN, w, np.ones((4000, 1)), np.zeros(2), np.zeros(2))["h"]
    later = np.abs(h[3000:3100] - h[3000]).max(axis=1)
    assert np.flatnonzero(later < 1e-6)[1] == steps and np.ptp(h[3000:]) > 0.3
    text = refusal(net, 1.0)
    assert f"oscillates: after {steps} steps it is back" in text


def test_what_newton_proposes_must_be_where_the_state_is_going():
    """Plain spirals around (1, 2): each condition alone refuses."""
    centre, at = np.array([1.0, 2.0]), np.arange(WATCHED)[:, None]
    turning = np.hstack([np.cos(0.3 * at), np.sin(0.3 * at)])
    inwards, outwards = centre + 0.999**at * turning, centre + 1.001**at * turning
    calm, wild = np.diag([0.5, -0.9]), np.diag([0.5, -1.1])
    assert _approaches(inwards, calm, centre, centre)
    assert not _approaches(inwards, wild, centre, centre)
    assert not _approaches(outwards, calm, centre, centre)
    assert not _approaches(centre + turning, calm, centre, centre)
    assert not _approaches(inwards, calm, centre, centre + 1e-9)
    # Nearer in the end, but not throughout.
    assert not _approaches(inwards[::-1] * (at < 500), calm, centre, centre)
