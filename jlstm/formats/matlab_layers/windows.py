"""What convolutions and pooling share: the axes they run along, and their padding."""

from __future__ import annotations

from typing import Any

from ...pytree import Shape
from ..fields import Fields


def axis(f: Fields, inputs: list[Shape]) -> str:
    """Which axis a one-dimensional layer runs along: space where there is any."""
    if not inputs:
        return "time"
    x = inputs[0]
    if len(x.space) > 1 or not (x.space or x.time):
        f.refuse("Name", f"input {x}", "one axis of space, or time")
    return "space" if x.space else "time"


def padding1(f: Fields) -> Any:
    """The padding of a one-dimensional layer.

    With "same", the widths that were stored belong to the training data: the layer
    works them out again for every sequence.
    """
    mode = f.text("PaddingMode", default="manual")
    sides = f.integers("PaddingSize", "Padding", default=(0, 0))
    if mode in ("same", "causal"):
        return mode
    if mode != "manual" or len(sides) > 2:
        f.refuse("PaddingMode", (mode, sides), "manual, same or causal")
    return (sides[0], sides[-1])


def padding2(f: Fields) -> Any:
    """The padding of a two-dimensional layer: top, bottom, left, right."""
    mode = f.text("PaddingMode", default="manual")
    sides = f.integers("PaddingSize", "Padding", default=(0, 0, 0, 0))
    if mode == "same":
        return "same"
    if len(sides) == 2:  # the first struct versions: [vertical horizontal]
        sides = (sides[0], sides[0], sides[1], sides[1])
    if mode != "manual" or len(sides) != 4:
        f.refuse("PaddingMode", (mode, sides), "manual or same")
    return (sides[:2], sides[2:])


def padding_value(f: Fields, *words: str) -> float | str:
    """A number, or one of `words`."""
    value = f.take("PaddingValue", default=None)
    if isinstance(value, str):
        if value not in words:
            f.refuse("PaddingValue", value, ", ".join(("a number", *words)))
        return value
    return f.number("PaddingValue", default=0.0)


def not_over_time(f: Fields, name: str) -> None:
    """Refuse a window that spans space and time together."""
    if f.flag(name, default=False):
        f.refuse(name, True, "false: space and time together are not supported")


def pair(f: Fields, name: str, default: Any = None) -> tuple[int, int]:
    """Two whole numbers, of which one may stand for both."""
    values = f.integers(name) if default is None else f.integers(name, default=default)
    return (values[0], values[-1])
