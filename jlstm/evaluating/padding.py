"""What MATLAB does with sequences of different length in a mini-batch."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

import numpy as np

from ..errors import InputError
from .intake import Item


@dataclasses.dataclass(frozen=True)
class MatlabPadding:
    """Make the sequences of a mini-batch equally long, as MATLAB's `predict` does.

    Mini-batches are taken in the order of the sequences. MATLAB's layers have no mask:
    they run over what was filled in as over any other step, so an answer depends on
    which sequences share a mini-batch. To the right this changes what comes last and
    everything that runs backwards; to the left it changes every step. What is filled in
    goes through the normalisation of the input layer as well.

    Outputs over time are cut back to the steps of their sequence, filled on the same
    side; steps that were cut off have no output.

    Arguments:
        mini_batch_size: sequences of a mini-batch; the last one may have fewer.
        direction: the end that is filled or cut, "right" or "left".
        value: what is filled in.
        sequence_length: "longest" fills up to the longest sequence of the mini-batch;
            "shortest" cuts down to the shortest; a number fills up to the longest and
            then splits into pieces of so many steps, from which to which the states
            are carried. That makes a difference only to layers that look ahead.
        whole_pieces: with a number, fill up to a whole number of pieces, as R2019's
            help for `predict` says; otherwise the last piece is shorter.

    Source: MathWorks reference pages predict, trainingOptions (SequenceLength,
    SequencePaddingDirection, SequencePaddingValue).
    """

    mini_batch_size: int = 128
    direction: Literal["right", "left"] = "right"
    value: float = 0.0
    sequence_length: Literal["longest", "shortest"] | int = "longest"
    whole_pieces: bool = False

    def __post_init__(self) -> None:
        whole = isinstance(self.sequence_length, int | np.integer)
        possible: dict[str, tuple[bool, str]] = {
            "mini_batch_size": (_is_count(self.mini_batch_size), "a number from 1"),
            "direction": (self.direction in ("right", "left"), '"right" or "left"'),
            "sequence_length": (
                _is_count(self.sequence_length)
                if whole
                else self.sequence_length in ("longest", "shortest"),
                '"longest", "shortest" or a number from 1',
            ),
            "whole_pieces": (
                whole or not self.whole_pieces,
                "False, but where sequence_length is a number",
            ),
        }
        for name, (right, expected) in possible.items():
            if not right:
                raise InputError(
                    "MATLAB pads otherwise",
                    place=f"MatlabPadding, {name}",
                    found=repr(getattr(self, name)),
                    expected=expected,
                )

    @property
    def piece(self) -> int | None:
        """Steps of the pieces into which sequences are split; None where not."""
        whole = isinstance(self.sequence_length, int | np.integer)
        return int(self.sequence_length) if whole else None

    def lengths(self, steps: list[int]) -> list[int]:
        """How long each sequence is made, from how many steps they have."""
        size, found = self.mini_batch_size, []
        for start in range(0, len(steps), size):
            some = steps[start : start + size]
            room = min(some) if self.sequence_length == "shortest" else max(some)
            if self.piece and self.whole_pieces:
                room = -(-room // self.piece) * self.piece
            found += [room] * len(some)
        return found

    def made(self, item: Item, room: int) -> Item:
        """A sequence of `room` steps."""

        def one(a: np.ndarray) -> np.ndarray:
            if len(a) >= room:
                return a[:room] if self.direction == "right" else a[len(a) - room :]
            rows = np.full((room - len(a), *a.shape[1:]), self.value, a.dtype)
            return np.concatenate([a, rows] if self.direction == "right" else [rows, a])

        return {name: one(a) for name, a in item.items()}

    def cut(self, output: np.ndarray, steps: int, room: int) -> np.ndarray:
        """What belongs to a sequence of `steps` of an output `(members, time, ...)`.

        Raises:
            InputError: something was filled in, and the output has not the steps of
                what went in.
        """
        if room <= steps:
            return output
        if output.shape[1] != room:
            raise InputError(
                "it is not known which steps of the output belong to the sequence",
                found=f"{output.shape[1]} steps of output, of {steps} steps and "
                f"{room - steps} that were filled in",
                expected=f"{room} steps of output",
                do="evaluate without padding",
            )
        kept = slice(steps) if self.direction == "right" else slice(room - steps, room)
        return output[:, kept]


def _is_count(value: Any) -> bool:
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    return whole and int(value) > 0
