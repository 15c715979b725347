"""From views to what layers compute with: channels, constants of one step, pairs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ... import layers as L
from ...pytree import Shape
from ..onnx_values import (
    BATCH,
    FEATURE,
    TIME,
    UNIT,
    Atom,
    Axis,
    Signal,
    essence,
    holds,
    length,
    natural,
    positions,
)
from .registry import Call


def features(call: Call, x: Signal, axis: int) -> tuple[Signal, np.ndarray]:
    """All values of a step along one axis, as channels.

    Where the axis also holds the time, all steps become one vector.

    Returns:
        the channels, and which of them each element along the axis is.
    """
    atoms = essence(x.axes[axis])
    size = int(np.prod([a.size for a in atoms if a.kind == FEATURE]))
    if holds(atoms, BATCH) or size != x.shape.features:
        call.refuse(
            "an axis along which not exactly the values of one example lie",
            found=f"axis {axis} of {x}",
            expected=f"all {x.shape.features} values of a step",
        )
    if x.shape.space:
        x = call.layer(L.Flatten(len(x.shape.space), "row-major"), x, part="flatten")
    if holds(atoms, TIME):
        steps = next(a.size for a in atoms if a.kind == TIME)
        atoms = tuple(
            Atom(FEATURE, steps, size) if a.kind == TIME else a for a in atoms
        )
        x = call.layer(L.FlattenTime(steps), x, part="flatten_time")
    return x, positions(atoms)


def one_step(call: Call, x: Signal) -> Signal:
    """A sequence cut down to one step as a vector, where no axis is the time any more.

    A file that declares one step leaves it open whether more may come: it stays as
    it is.
    """
    build = call.build
    timed = any([a.kind for a in axis] == [TIME] for axis in x.axes)
    if not x.shape.time or timed or build.stepping or 1 in build.steps:
        return x
    if any(holds(essence(axis), TIME) for axis in x.axes):
        return x
    axes = tuple(tuple(a for a in axis if a.kind != TIME) for axis in x.axes)
    picked = build.picked(x.ref)
    if picked is None:
        return call.layer(L.FlattenTime(1), x, axes=axes, part="one_step")
    position, source = picked
    if position == "only":
        return source.view(axes)
    return call.layer(L.Indexing1D(position), source, axes=axes)


def is_time(call: Call, axis: Axis) -> bool:
    """Whether an axis is time and nothing else, also where one step is left of it.

    Where a file declares one step, that axis is nothing: see `one_step`.
    """
    if [a.kind for a in essence(axis)] == [TIME]:
        return True
    alone = [a.kind for a in axis] == [TIME]
    return alone and not call.build.stepping and 1 not in call.build.steps


def without(x: Signal, axis: int, new: Axis = UNIT) -> tuple[Axis, ...]:
    """The axes with one of them replaced."""
    return tuple(new if k == axis else a for k, a in enumerate(x.axes))


def channels(size: int) -> Axis:
    """The axis of channels that a layer hands out."""
    return natural(Shape(False, (), size))[0]


def channel_axis(call: Call, x: Signal, axis: int) -> bool:
    """Whether an axis is exactly that of the channels."""
    if holds(x.axes[axis], BATCH):
        return False
    return essence(x.axes[axis]) == natural(x.shape)[-1]


def step_array(call: Call, array: np.ndarray, x: Signal) -> np.ndarray | None:
    """A constant that meets a signal, as an array for one step `(*space, channels)`.

    None where the constant has several elements along an axis on which the signal has
    one, so that the result has more values than the signal.
    """
    array = array.reshape((1,) * (len(x.axes) - array.ndim) + array.shape)
    axes = ((UNIT,) * (array.ndim - len(x.axes))) + x.axes
    for place, axis in enumerate(axes):
        if array.shape[place] == 1:
            continue
        if array.shape[place] != length(axis):
            if length(axis) == 1:
                return None
            call.refuse(
                "a constant that does not fit the signal",
                found=f"{array.shape} against {x}",
            )
        if any(atom.kind != FEATURE for atom in essence(axis)):
            first = array.take([0], place)
            if not np.array_equal(array, np.broadcast_to(first, array.shape)):
                call.refuse(
                    "a constant that differs from step to step or in the batch",
                    found=f"{array.shape} against {x}",
                )
            array = first
    sizes = [length(axis) if not _mixed(axis) else 1 for axis in axes]
    index = np.zeros((1,) * array.ndim, np.int64)
    for place, axis in enumerate(axes):
        if not _mixed(axis):
            where = positions(axis).reshape(
                [-1 if k == place else 1 for k in range(array.ndim)]
            )
            index = index + where
    flat = np.empty(x.shape.features, array.dtype)
    flat[index.reshape(-1)] = np.broadcast_to(array, sizes).reshape(-1)
    return flat.reshape(*x.shape.space, x.shape.channels)


def _mixed(axis: Axis) -> bool:
    return any(atom.kind != FEATURE for atom in essence(axis))


def compact(array: np.ndarray) -> np.ndarray:
    """The same numbers with axes of length one where they do not differ."""
    for axis in range(array.ndim):
        first = array.take([0], axis)
        same = np.broadcast_to(first, array.shape)
        if array.shape[axis] > 1 and first.tobytes() and np.array_equal(array, same):
            array = first
    # An array of fewer axes meets the last ones.
    while array.ndim and array.shape[0] == 1:
        array = array[0]
    return array


def paired(call: Call, kind: type, *signals: Signal) -> Signal:
    """A layer that combines signals value by value, axes seen from the right."""
    rank = max(len(x.axes) for x in signals)
    signals = tuple(call.build.of_step(x) for x in signals)
    padded = [((UNIT,) * (rank - len(x.axes))) + x.axes for x in signals]
    named = [labels(x.view(axes)) for x, axes in zip(signals, padded, strict=True)]
    shapes = [x.shape for x in signals]
    same = all(
        (s.space, s.channels) == (shapes[0].space, shapes[0].channels) for s in shapes
    )
    best = []
    for place in range(rank):
        found = {
            (essence(axes[place]) if same else label[place])
            for axes, label in zip(padded, named, strict=True)
            if essence(axes[place])
        }
        if len(found) > 1 or None in found:
            call.refuse(
                "two signals whose axes do not meet",
                found=" and ".join(map(str, signals)),
                expected="the same axes, or ones of length one",
            )
        best.append(next(iter(found), UNIT))
    held = [atoms for atoms in best if atoms]
    batches = _batches(padded)
    if len(set(held)) < len(held) or len(batches) > 1:
        call.refuse(
            "every value of one signal meets every value of another",
            found=" and ".join(map(str, signals)),
            expected="the same axes, or ones of length one",
        )
    spaces = tuple(len(s.space) for s in shapes)
    layer = kind(spaces=spaces if len(set(spaces)) > 1 else ())
    made = call.build.add(call.name, layer, *signals)
    if not same:
        best = [_axis(made.shape, label) for label in best]
    # The examples are where they were, though only one is looked at.
    return made.view(batches.get(k, UNIT) + axis for k, axis in enumerate(best))


def _batches(axes: Sequence[Sequence[Axis]]) -> dict[int, Axis]:
    """Where the examples are, by the place of the axis."""
    return {
        place: tuple(atom for atom in axis if atom.kind == BATCH and atom.size == 1)
        for each in axes
        for place, axis in enumerate(each)
        if holds(axis, BATCH)
    }


def labels(x: Signal) -> list[tuple | None]:
    """What each axis is, whatever its stride; None for a part of a step's axis.

    The axes of a step are counted from the right, as in `("step", -1)`.
    """
    steps = natural(x.shape)
    found: list[tuple | None] = []
    for axis in x.axes:
        atoms = essence(axis)
        if not any(atom.kind == FEATURE for atom in atoms):
            found.append(atoms)
        else:
            here = atoms in steps
            found.append(("step", steps.index(atoms) - len(steps)) if here else None)
    return found


def _axis(shape: Shape, label: tuple) -> Axis:
    if label and label[0] == "step":
        return natural(shape)[label[1]]
    return label
