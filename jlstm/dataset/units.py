"""Targets in the units that were recorded, and in those that the network answers in.

    recorded = answer * scale + offset

Networks are often trained on standardised targets, with scale the standard deviation
and offset the mean of what was recorded.
"""

from __future__ import annotations

import math

import numpy as np

from ..config import Data
from ..errors import InputError


def answers(recorded: np.ndarray, data: Data) -> np.ndarray:
    """What the network should answer, `(..., outputs)`, in double precision.

    Raises:
        InputError: as many numbers as neither one nor the outputs, or a scale of 0.
    """
    scale, offset = _numbers(data, recorded.shape[-1])
    return (recorded - offset) / scale


def recorded(answers: np.ndarray, data: Data) -> np.ndarray:
    """Answers of the network in the units that were recorded."""
    if not (data.target_scale or data.target_offset):
        return answers
    scale, offset = _numbers(data, answers.shape[-1])
    # In double: an offset may be much larger than what varies.
    return answers * scale + offset


def _numbers(data: Data, outputs: int) -> tuple[np.ndarray, np.ndarray]:
    found = []
    for name, given, usual in (
        ("target_scale", data.target_scale, 1.0),
        ("target_offset", data.target_offset, 0.0),
    ):
        values = given or (usual,)
        if len(values) not in (1, outputs):
            raise InputError(
                f"{name} does not fit the outputs",
                place=f"data.{name}",
                found=f"{len(values)} numbers",
                expected=f"one, or {outputs}" if outputs > 1 else "one",
            )
        if not all(map(math.isfinite, values)) or (
            name == "target_scale" and 0 in values
        ):
            raise InputError(
                f"{name} cannot be undone",
                place=f"data.{name}",
                found=", ".join(map(str, values)),
                expected="finite numbers" + ", none 0" * (name == "target_scale"),
            )
        found.append(np.array(values))
    return found[0], found[1]
