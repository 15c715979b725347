"""Mistakes in the scale of what goes in: normalised twice, not, or by other numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ..layers import Input
from .cells import FUNCTIONS
from .trial import RUNNING, VALUES, Mistake, Trial, of_input, with_input, with_switch

Change = Callable[[np.ndarray], np.ndarray]


def scales(trial: Trial) -> Iterator[Mistake]:
    """All mistakes in the scale of the input, simple ones first."""
    layers = _inputs(trial)
    normalising = [n for n, one in layers.items() if one.normalization != "none"]
    for name in normalising:
        own = name if len(layers) > 1 else None
        yield from _normalisation(name, layers[name], own)
    if all(x.ndim == 2 and len(x) > 1 for run in trial.runs for x in run.x.values()):
        yield from _own_statistics(trial, normalising)


def neutral(trial: Trial) -> np.ndarray | None:
    """The input `(features,)` that the normalisation turns into zero, if there is one.

    Whoever normalises by hand and fills gaps with zeros afterwards gives this.
    """
    (layer, *more) = _inputs(trial).values()
    if more or layer.normalization == "none":
        return None
    width = next(iter(trial.runs[0].x.values())).shape[-1]
    low, high = (normalised(layer, np.full(width, value)) for value in (0.0, 1.0))
    with np.errstate(divide="ignore", invalid="ignore"):
        found = -low / (high - low)
    return found if np.all(np.isfinite(found)) and found.any() else None


def _inputs(trial: Trial) -> dict[str, Input]:
    layers = trial.wired.layers
    return {name: one for name, one in layers.items() if isinstance(one, Input)}


def omitted(names: list[str]) -> Callable[[Trial], Trial]:
    """Input layers that pass on what they are given."""
    return with_switch(names, instead=FUNCTIONS.index("identity"))


def _normalisation(name: str, layer: Input, own: str | None) -> Iterator[Mistake]:
    yield Mistake(
        "normalisation-omitted", (own,) if own else (), {}, RUNNING, omitted([name]),
        frozenset({"x values"}),
    )  # fmt: skip
    yield of_input(
        "normalisation-twice", {}, VALUES, _quiet(lambda x: normalised(layer, x)),
        "values", layer=own,
    )  # fmt: skip
    for form, change in _forms(layer).items():
        # The layer steps aside for what was computed by hand.
        by_hand = with_input(_quiet(change), own)

        def instead(trial: Trial, by_hand: Any = by_hand) -> Trial:
            return by_hand(omitted([name])(trial))

        yield Mistake(
            "normalisation-partial", (own,) if own else (), {"form": form}, VALUES,
            instead, frozenset({"x values"}),
        )  # fmt: skip


def _forms(layer: Input) -> dict[str, Change]:
    """What is made of an input where the normalisation is done by half."""
    if layer.normalization == "zscore":
        mean, std = np.asarray(layer.mean), np.asarray(layer.std)
        return {
            "mean-only": lambda x: x - mean,
            "std-only": lambda x: x / std,
            "variance": lambda x: (x - mean) / std**2,
            "multiplied": lambda x: (x - mean) * std,
        }
    if layer.target:
        return {}
    if layer.normalization == "rescale-zero-one":
        return {"symmetric": lambda x: 2 * normalised(layer, x) - 1}
    if layer.normalization == "rescale-symmetric":
        return {"zero-one": lambda x: (normalised(layer, x) + 1) / 2}
    return {}


def normalised(layer: Input, x: np.ndarray) -> np.ndarray:
    """What the input layer makes of `x`, in NumPy."""
    return np.asarray(layer(x))  # only arithmetic: NumPy in, NumPy out


def _own_statistics(trial: Trial, normalising: list[str]) -> Iterator[Mistake]:
    """Standardised by the statistics of this very input, of one or all sequences."""
    ways: dict[str, Change] = {
        "own-sample": lambda x: (x - x.mean(0)) / x.std(0, ddof=1),
        "own-population": lambda x: (x - x.mean(0)) / x.std(0),
        "minmax": _minmax,
        "minmax-symmetric": lambda x: 2 * _minmax(x) - 1,
    }
    if len(trial.runs) > 1 and len(trial.runs[0].x) == 1:
        every = np.concatenate([x for run in trial.runs for x in run.x.values()])
        mean, low = every.mean(0), every.min(0)
        sample, population = every.std(0, ddof=1), every.std(0)
        ways |= {
            "all-sample": lambda x: (x - mean) / sample,
            "all-population": lambda x: (x - mean) / population,
            "all-minmax": lambda x: (x - low) / np.ptp(every, axis=0),
        }
    for statistics, change in ways.items():
        yield of_input(
            "standardised", {"statistics": statistics}, VALUES, _quiet(change), "values"
        )
        by_hand = with_input(_quiet(change))

        def instead(trial: Trial, by_hand: Any = by_hand) -> Trial:
            return by_hand(omitted(normalising)(trial))

        if normalising:
            yield Mistake(
                "standardised", (), {"statistics": statistics, "instead": True}, VALUES,
                instead, frozenset({"x values"}),
            )  # fmt: skip


def _minmax(x: np.ndarray) -> np.ndarray:
    return (x - x.min(0)) / np.ptp(x, axis=0)


def _quiet(change: Change) -> Change:
    def apply(x: np.ndarray) -> np.ndarray:
        with np.errstate(divide="ignore", invalid="ignore"):
            return change(x)

    return apply


def affine(slope: float, offset: float) -> Mistake:
    """The network was given `slope x + offset`."""
    return Mistake(
        "input-affine",
        (),
        {"slope": float(slope), "offset": float(offset)},
        VALUES,
        with_input(lambda x: slope * x + offset),
        frozenset({"x values"}),
        fitted=2,
    )


def spread_changed(trial: Trial, factor: float, n: int | None) -> Mistake:
    """The input layer divides by `factor` times its standard deviation."""

    def change(trial: Trial) -> Trial:
        runs = []
        for run in trial.runs:
            x = dict(run.x)
            for name in x:
                mean = np.asarray(trial.wired.layers[name].mean)
                x[name] = mean + (x[name] - mean) / factor
            runs.append(run._replace(x=x))
        return trial._replace(runs=tuple(runs))

    parameters = {"factor": float(factor)} | ({"n": n} if n else {})
    return Mistake(
        "std-ddof", (), parameters, VALUES, change, frozenset({"x values"}), fitted=1
    )
