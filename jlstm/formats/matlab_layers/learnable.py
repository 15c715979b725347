"""Learnable parameters in all the forms in which they are saved.

A struct of `Value`, `LearnRateFactor`, `L2Factor` and, since R2019a, `Initializer`; the
same as an object; or, in layers that are custom layers inside, the bare array with the
factors of all parameters beside it. The array may be wrapped in a dlarray or gpuArray.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ...errors import Unsupported
from ..fields import Fields, numeric
from ..matfile import MatObject

KNOWN = {"Version", "Value", "LearnRateFactor", "L2Factor", "Initializer"}


class Learnable(NamedTuple):
    """An array in MATLAB's shape with its training factors, scalars or one a gate."""

    array: np.ndarray
    learn_rate: Any
    l2: Any

    def factors(self, path: str) -> list[tuple[str, float, float]]:
        """The factors of the array at `path`, where they are not the default."""
        return factors(path, self.learn_rate, self.l2)


def learnable(f: Fields, name: str) -> Learnable:
    """Read a learnable parameter.

    Raises:
        Unsupported: the network was never trained, the array is not in the file, or it
            is not an array of floating-point numbers.
    """
    place = f"{f.place}.{name}"
    value = f.take(name, default=None)
    for label in ("Initializer", "LearnRateFactor", "L2Factor"):
        f.ignore(name + label)
    saved = value.values if isinstance(value, MatObject) else value
    if isinstance(saved, dict) and "Value" in saved:
        settings = Fields(saved, place)
        settings.ignore(*KNOWN)
        settings.finish()
        value = saved["Value"]
        rates, decays = saved.get("LearnRateFactor"), saved.get("L2Factor")
    else:
        rates, decays = (
            _beside(f, key, name) for key in ("LearnRateFactor", "L2Factor")
        )
    array = None if value is None else numeric(value, place)
    if array is None or array.size == 0:
        raise Unsupported(
            "the network is not trained: this array is empty",
            place=place,
            do="save the network that trainNetwork or trainnet returned, not the "
            "layers that went in",
        )
    if array.dtype.kind != "f":
        f.refuse(name, f"an array of {array.dtype}", "single or double")
    decay = 0.0 if name.endswith("Bias") else 1.0
    return Learnable(
        np.array(array, order="C"), _numbers(rates, 1.0), _numbers(decays, decay)
    )


def vector(f: Fields, name: str) -> tuple[np.ndarray, list[tuple[str, float, float]]]:
    """A per-channel parameter of any orientation, flat, and its factors.

    The field of the layer is called as MATLAB calls it, in small letters.
    """
    found = learnable(f, name)
    return found.array.ravel(order="F"), found.factors(f".{name.lower()}")


def factors(path: str, learn_rate: Any, l2: Any) -> list[tuple[str, float, float]]:
    """Record the factors of one array where they differ from the defaults."""
    rate, decay = float(np.ravel(learn_rate)[0]), float(np.ravel(l2)[0])
    default = 0.0 if path.endswith("bias") else 1.0
    return [] if (rate, decay) == (1.0, default) else [(path, rate, decay)]


def _beside(f: Fields, key: str, name: str) -> Any:
    """The factor of `name` in the struct of all factors of a custom layer."""
    shared = f.take(key, default=None)
    return shared.get(name) if isinstance(shared, dict) else None


def _numbers(value: Any, default: float) -> Any:
    if isinstance(value, np.ndarray) and value.size and value.dtype.kind == "f":
        return value
    return default
