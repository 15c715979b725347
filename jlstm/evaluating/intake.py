"""Sequences as they are given, as arrays by the name of the input, checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from ..dataset import Recording
from ..errors import InputError, JlstmError
from ..network import Network, as_inputs, precision

Item = dict[str, np.ndarray]
"""One sequence: by input, `(time, *space, channels)`."""


class Intake:
    """What a network takes, made ready to look at many sequences quickly.

    Arguments:
        net: the network.
    """

    def __init__(self, net: Network) -> None:
        self._net = net
        self._dtype = precision(net)
        self._tails: dict[str, tuple[bool, tuple[int, ...], int]] = {}
        for name in net.inputs:
            shape = net.layers[name].shape()
            least = max(1, getattr(net.layers[name], "min_length", 1))
            tail = (*shape.space, shape.channels)
            self._tails[name] = shape.time, tail, least if shape.time else 0

    def __call__(self, sequences: Any) -> list[Item]:
        """Every sequence as the network takes it.

        Raises:
            InputError: one that does not fit, by its number, counted from 1.
        """
        return [self._item(k, x) for k, x in enumerate(_listed(sequences), 1)]

    def _item(self, number: int, given: Any) -> Item:
        names = tuple(self._tails)
        given = given.x if isinstance(given, Recording) else given
        if len(names) == 1 and not isinstance(given, Mapping):
            found = {names[0]: given}
        elif isinstance(given, tuple | list) and len(given) == len(names):
            found = dict(zip(names, given, strict=True))
        else:
            found = given
        if isinstance(found, Mapping) and set(found) == set(names):
            quick = {name: self._quick(name, found[name]) for name in names}
            if all(a is not None for a in quick.values()):
                return self._of_one_length(number, quick)  # pyright: ignore[reportArgumentType]
        # Something is unusual: the slow way knows what to say of it.
        try:
            slow = as_inputs(self._net, given, whole=True)
        except JlstmError as error:
            place = f"sequence {number}" + (f", {error.place}" if error.place else "")
            error.place = place
            raise
        return self._of_one_length(
            number, {name: np.asarray(slow[name]) for name in names}
        )

    def _quick(self, name: str, x: Any) -> np.ndarray | None:
        """The array, where nothing about it needs words."""
        timed, tail, least = self._tails[name]
        if not isinstance(x, np.ndarray | jax.Array) or x.dtype.kind not in "fiub":
            return None
        if x.shape[timed:] != tail or x.ndim != timed + len(tail):
            return None
        if timed and x.shape[0] < least:
            return None
        return np.asarray(x, self._dtype)

    def _of_one_length(self, number: int, item: Item) -> Item:
        lengths = {n: len(a) for n, a in item.items() if self._tails[n][0]}
        if len(set(lengths.values())) > 1:
            raise InputError(
                "the inputs have different numbers of steps",
                place=f"sequence {number}",
                found=", ".join(f"'{n}' {t}" for n, t in lengths.items()),
                expected="one number",
            )
        return item


def _listed(sequences: Any) -> Sequence[Any]:
    if isinstance(sequences, np.ndarray | jax.Array):
        if sequences.dtype == object:
            return list(sequences.ravel())
        return list(np.asarray(sequences))
    if isinstance(sequences, str | bytes | Mapping) or not hasattr(
        sequences, "__iter__"
    ):
        raise InputError(
            "not sequences",
            found=type(sequences).__name__,
            expected="a list of arrays (time, features), or (sequences, time, "
            "features)",
            do="one sequence alone: predict(net, x)",
        )
    return sequences if isinstance(sequences, list | tuple) else list(sequences)
