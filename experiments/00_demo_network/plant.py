"""Two coupled tanks behind a pump: the simulated plant of the demo network.

    T q'  = k max(u - u0, 0) - q                      pump with dead zone and lag
    A h1' = q - a12 v12 w(h1 - h2)                    tank 1
    A h2' = a12 v12 w(h1 - h2) - a2 v2 w(h2)          tank 2
    w(d)  = sqrt(2 g) d / (d^2 + e^2)^(1/4)           Torricelli, smooth around d = 0

Inputs: pump voltage `u` (V), openings of the coupling valve `v12` and of the outlet
valve `v2` (0 to 1). States: pump flow `q` (cm^3/s) and the levels `h1`, `h2` (cm).
Outputs: the levels. Every run starts with the pump at rest and both tanks empty.
"""

from __future__ import annotations

import numpy as np
from scipy.integrate import solve_ivp

SAMPLE_TIME = 2.0  # s; the inputs are held for one sample
TIME_CONSTANT = 4.0  # s, pump lag T
GAIN = 4.0  # cm^3/s/V, pump gain k
DEAD_ZONE = 1.0  # V, u0
AREA = 15.0  # cm^2, A, both tanks
COUPLING = 0.4  # cm^2, a12, fully open
OUTLET = 0.25  # cm^2, a2, fully open
GRAVITY = 981.0  # cm/s^2
SMOOTHING = 0.2  # cm, e: below it the flow is laminar

LOW = np.array([0.5, 0.4, 0.4])
HIGH = np.array([8.0, 1.0, 1.0])


def excitation(rng: np.random.Generator, runs: int, steps: int) -> np.ndarray:
    """Random steps, each held for 5 to 40 samples: `(runs, time, 3)`, single."""
    x = np.empty((runs, steps, LOW.size), np.float32)
    for signal in np.ndindex(runs, LOW.size):
        start = 0
        while start < steps:
            end = start + int(rng.integers(5, 41))
            value = rng.uniform(LOW[signal[1]], HIGH[signal[1]])
            x[signal[0], start:end, signal[1]] = value
            start = end
    return x


def levels(x: np.ndarray) -> np.ndarray:
    """The levels at the end of every sample: `(runs, time, 3)` to `(runs, time, 2)`."""
    state = np.zeros(3 * len(x))
    y = np.empty((*x.shape[:2], 2))
    for k in range(x.shape[1]):
        solution = solve_ivp(
            _slope, (0.0, SAMPLE_TIME), state, args=(x[:, k].astype(np.float64),),
            rtol=1e-8, atol=1e-8,
        )  # fmt: skip
        state = solution.y[:, -1]
        y[:, k] = state.reshape(3, -1)[1:].T
    return y


def _slope(_: float, state: np.ndarray, x: np.ndarray) -> np.ndarray:
    q, h1, h2 = state.reshape(3, -1)
    u, v12, v2 = x.T
    across = COUPLING * v12 * _torricelli(h1 - h2)
    pump = (GAIN * np.maximum(u - DEAD_ZONE, 0.0) - q) / TIME_CONSTANT
    tank_1 = (q - across) / AREA
    tank_2 = (across - OUTLET * v2 * _torricelli(h2)) / AREA
    return np.concatenate([pump, tank_1, tank_2])


def _torricelli(head: np.ndarray) -> np.ndarray:
    return np.sqrt(2.0 * GRAVITY) * head / (head**2 + SMOOTHING**2) ** 0.25
