"""Frozen dataclasses that are JAX pytrees, and the shapes that flow between layers."""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar, dataclass_transform

import jax
import numpy as np

T = TypeVar("T")

Array = jax.Array | np.ndarray
"""An array on any device: NumPy's where a file was read, JAX's once it was computed."""


def static(**kwargs: Any) -> Any:
    """A field that belongs to the structure of the pytree, not to its arrays."""
    return dataclasses.field(metadata={"static": True}, **kwargs)


@dataclass_transform(frozen_default=True, eq_default=False, field_specifiers=(static,))
def pytree(cls: type[T]) -> type[T]:
    """Make `cls` a frozen dataclass whose non-static fields are pytree children.

    Equality is identity: comparing arrays has no single truth value.
    """
    cls = dataclasses.dataclass(frozen=True, eq=False, repr=False)(cls)
    fields = dataclasses.fields(cls)  # pyright: ignore[reportArgumentType]
    settings = [field.name for field in fields if field.metadata.get("static")]
    arrays = [field.name for field in fields if field.name not in settings]
    keys = [jax.tree_util.GetAttrKey(name) for name in arrays]

    children_of, rest_of = _getter(arrays), _getter(settings)

    def flatten(whole: Any) -> tuple[Any, Any]:
        return children_of(whole), rest_of(whole)

    def with_keys(whole: Any) -> tuple[Any, Any]:
        return tuple(zip(keys, children_of(whole), strict=True)), rest_of(whole)

    def unflatten(rest: Any, children: Any) -> Any:
        values = zip((*settings, *arrays), (*rest, *children), strict=True)
        return cls(**dict(values))

    # Not `register_dataclass`: to jax 0.10 two of those are equal where their settings
    # are, whatever their classes, and one then gets the program compiled for another.
    jax.tree_util.register_pytree_with_keys(cls, with_keys, unflatten, flatten)
    return cls


def _getter(names: list[str]) -> Callable[[Any], tuple[Any, ...]]:
    """Fields of an object as a tuple, quickly: every call of a program asks."""
    if len(names) > 1:
        return operator.attrgetter(*names)
    if names:
        one = operator.attrgetter(names[0])
        return lambda whole: (one(whole),)
    return lambda whole: ()


class Shape(NamedTuple):
    """What one layer hands to the next: `(time?, *space, channels)`.

    Channels always come last. `time` says whether a time axis leads; its length
    is only known when a sequence arrives.
    """

    time: bool
    space: tuple[int, ...]
    channels: int

    @property
    def features(self) -> int:
        """Values per time step."""
        size = self.channels
        for length in self.space:
            size *= length
        return size

    def __str__(self) -> str:
        axes = ["time"] if self.time else []
        axes += [str(length) for length in (*self.space, self.channels)]
        return f"({', '.join(axes)})" if len(axes) > 1 else f"({axes[0]},)"
