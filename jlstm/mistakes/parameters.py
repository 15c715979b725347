"""Mistakes in the parameters of whole layers: another layer's, misread, rounded."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import jax
import ml_dtypes
import numpy as np

from ..layers import BatchNormalization, FullyConnected, Input, LayerNormalization
from .cells import Both
from .trial import PARAMETERS, Mistake, Trial, scopes, with_layers
from .weights import directions, recurrent, refilled

NORMALISING = (BatchNormalization, LayerNormalization)
EPSILONS = (1e-3, 1e-5, 1e-6)


def parameters(trial: Trial) -> Iterator[Mistake]:
    """All mistakes in the parameters of whole layers."""
    cells = recurrent(trial.wired)
    for name in cells:
        yield from _elsewhere(name, cells)
    layers = trial.wired.layers
    dense = [n for n, one in layers.items() if isinstance(one, FullyConnected)]
    for scope in scopes(dense):
        yield from _of_dense(scope, [layers[name] for name in scope])
    normalising = [n for n, one in layers.items() if isinstance(one, NORMALISING)]
    for scope in scopes(normalising):
        yield from _of_normalisation(scope, [layers[name] for name in scope])


def round_to(array: np.ndarray, kind: str) -> np.ndarray:
    """Numbers as a shorter format holds them."""
    with np.errstate(over="ignore"):
        short = array.astype(ml_dtypes.bfloat16 if kind == "bfloat16" else kind)
        return short.astype(float)


def rounded(kind: str) -> Mistake:
    """All parameters of the network in a shorter format."""

    def change(trial: Trial) -> Trial:
        layers = {
            name: layer
            if isinstance(layer, Input)
            else jax.tree.map(lambda a: round_to(a, kind), layer)
            for name, layer in trial.wired.layers.items()
        }
        return with_layers(trial, layers)

    return Mistake(
        "weights-rounded", (), {"to": kind}, PARAMETERS, change, frozenset({"rounding"})
    )


def _elsewhere(name: str, cells: dict[str, Any]) -> Iterator[Mistake]:
    """Parameters of the wrong layer or direction."""
    layer = cells[name]

    def made(kind: str, change: Any, **parameters: Any) -> Mistake:
        touches = {f"{part}:{name}" for part in ("input", "recurrent", "bias")}
        return Mistake(
            kind, (name,), parameters, PARAMETERS, change, frozenset(touches)
        )

    if isinstance(layer, Both):

        def swap(trial: Trial) -> Trial:
            one: Any = trial.wired.layers[name]
            turned = dataclasses.replace(
                one, forward=one.backward, backward=one.forward
            )
            return with_layers(trial, {name: turned})

        yield made("directions-swapped", swap)
        for direction in ("forward", "backward"):

            def twice(trial: Trial, direction: str = direction) -> Trial:
                one: Any = trial.wired.layers[name]
                cell = getattr(one, direction)
                both = dataclasses.replace(one, forward=cell, backward=cell)
                return with_layers(trial, {name: both})

            yield made("one-direction-twice", twice, direction=direction)
    for other, source in cells.items():
        if other != name and _alike(layer, source):

            def borrow(trial: Trial, other: str = other) -> Trial:
                mine: Any = trial.wired.layers[name]
                its: Any = trial.wired.layers[other]
                return with_layers(trial, {name: _parameters_of(mine, its)})

            yield made("weights-of-another-layer", borrow, source=other)


def _alike(a: Any, b: Any) -> bool:
    return type(a) is type(b) and [
        (c.w.shape, c.r.shape, c.kind, c.peephole is None) for c in directions(a)
    ] == [(c.w.shape, c.r.shape, c.kind, c.peephole is None) for c in directions(b)]


def _parameters_of(mine: Any, its: Any) -> Any:
    if isinstance(mine, Both):
        return dataclasses.replace(
            mine,
            forward=_parameters_of(mine.forward, its.forward),
            backward=_parameters_of(mine.backward, its.backward),
        )
    fields = ("w", "r", "b", "rb", "peephole", "q_in", "q_out")
    return dataclasses.replace(mine, **{f: getattr(its, f) for f in fields})


def _of_dense(names: tuple[str, ...], layers: list[Any]) -> Iterator[Mistake]:
    def made(kind: str, aspect: str, field: str, change: Any) -> Mistake:
        touches = frozenset(f"{aspect}:{name}" for name in names)
        new = with_fields(names, lambda one: {field: change(getattr(one, field))})
        return Mistake(kind, names, {}, PARAMETERS, new, touches)

    shapes = [layer.weights.shape for layer in layers]
    if all(outputs == features for outputs, features in shapes):
        yield made("dense-transposed", "input", "weights", np.transpose)
    if all(min(shape) > 1 for shape in shapes):
        yield made("dense-memory-order", "input", "weights", refilled)
    yield made("dense-bias-omitted", "bias", "bias", np.zeros_like)


def with_fields(names: tuple[str, ...], new: Callable[[Any], dict[str, Any]]) -> Any:
    """A change of some fields of some layers."""

    def change(trial: Trial) -> Trial:
        old: dict[str, Any] = {name: trial.wired.layers[name] for name in names}
        changed = {n: dataclasses.replace(one, **new(one)) for n, one in old.items()}
        return with_layers(trial, changed)

    return change


def _of_normalisation(names: tuple[str, ...], layers: list[Any]) -> Iterator[Mistake]:
    """Settings that belong to the structure, so each is compiled by itself."""

    def made(kind: str, parameters: dict[str, Any], change: Any) -> Mistake:
        touches = frozenset(f"norm:{name}" for name in names)
        return Mistake(
            kind, names, parameters, PARAMETERS, change, touches, False, False
        )

    for value in EPSILONS:
        if all(value != layer.epsilon for layer in layers):
            change = with_fields(names, lambda _, value=value: {"epsilon": value})
            yield made("epsilon", {"value": value}, change)
    if all(getattr(layer, "over", "") == "channels" for layer in layers):
        over_time = with_fields(names, lambda _: {"over": "time-channels"})

        def whole(trial: Trial) -> Trial:  # no longer step by step
            trial = over_time(trial)
            wired = dataclasses.replace(trial.wired, stepwise=False)
            return trial._replace(wired=wired)

        yield made("normalisation-over-time", {}, whole)
