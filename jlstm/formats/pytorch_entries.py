"""One described layer: its settings and its tensors, crossed off as they are taken.

A description says what a state dict cannot: the order of the modules, what lies between
them, and their settings, in the words of torch.nn. A module that was saved whole says
its settings itself, under the same names.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

import numpy as np

from ..errors import Ambiguous, InputError, Unsupported
from ..layers.base import Layer
from ..pytree import Shape
from .pytorch_tensors import Tensor

REQUIRED: Any = object()
WIDENED = {"float16": "half", "bfloat16": "bfloat16"}

Series = list[tuple[str, Layer]]
"""Layers in the order of the signal, by name."""
Builder = Callable[["Entry"], Series]
BUILDERS: dict[str, Builder] = {}


def builder(*kinds: str) -> Callable[[Builder], Builder]:
    """Register what makes layers of the kinds with these plain names."""

    def register(function: Builder) -> Builder:
        BUILDERS.update(dict.fromkeys(kinds, function))
        return function

    return register


SYNONYMS = {
    "fullyconnected": "linear",
    "dense": "linear",
    "convolution": "conv",
    "batchnormalization": "batchnorm",
    "layernormalization": "layernorm",
    "swish": "silu",
    "clippedrelu": "relu6",
    "maxpooling": "maxpool",
    "averagepooling": "avgpool",
    "globalmaxpooling": "adaptivemaxpool",
    "globalaveragepooling": "adaptiveavgpool",
    "sequenceinput": "input",
}
"""MATLAB's words for what torch has, too."""


def plain(words: str) -> str:
    """A kind of layer as it is looked up: "Fully Connected" is "linear"."""
    word = re.sub(r"[\s_-]|(layer|1d)$", "", words.lower())
    return SYNONYMS.get(word, word)


class Weights:
    """The tensors of a file, as arrays, crossed off as they are taken.

    Attributes:
        widened: torch's names of the dtypes that were widened to single precision.
    """

    def __init__(self, tensors: Mapping[str, Any]):
        self._tensors = tensors
        self._taken: set[str] = set()
        self.widened: set[str] = set()

    def __contains__(self, name: str) -> bool:
        return name in self._tensors

    @property
    def names(self) -> list[str]:
        """All names, in the order of the file."""
        return list(self._tensors)

    @property
    def left(self) -> list[str]:
        """The names that nothing took."""
        return [name for name in self._tensors if name not in self._taken]

    @property
    def dtype(self) -> np.dtype:
        """The precision of the network: double where all of its weights are."""
        kinds = {_kind(t) for t in self._tensors.values()} & {"float32", *WIDENED}
        return np.dtype("float32" if kinds else "float64")

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of a tensor, without reading it."""
        return tuple(self._tensors[name].shape)

    def cross_off(self, name: str) -> None:
        """Take a tensor that plays no part."""
        self._taken.add(name)

    def take(self, name: str) -> np.ndarray:
        """The numbers of a tensor, in single or double precision.

        Raises:
            InputError: not there.
            Unsupported: numbers that are no weights.
        """
        if name not in self._tensors:
            raise InputError(
                "no such tensor in the file",
                found=name,
                expected=", ".join(self.names[:40]),
            )
        self._taken.add(name)
        found = self._tensors[name]
        kind = _kind(found)
        array = found.numpy() if isinstance(found, Tensor) else np.asarray(found)
        if kind in WIDENED:
            self.widened.add(WIDENED[kind])
            array = array.astype(np.float32)
        if array.dtype not in (np.float32, np.float64):
            raise Unsupported(
                "these numbers are no weights",
                place=name,
                found=kind,
                expected="float32, float64, float16 or bfloat16",
            )
        return array


def _kind(tensor: Any) -> str:
    """The torch dtype of a tensor."""
    return tensor.dtype if isinstance(tensor, Tensor) else tensor.dtype.name


class Entry:
    """One layer of a description.

    Attributes:
        place: where it stands, for errors.
        kind: what it is, in plain words.
        name: the name of its module, the first part of the names of its tensors.
        shape: what comes in; None before the first layer that tells.
    """

    def __init__(
        self,
        fields: Mapping[str, Any],
        place: str,
        weights: Weights,
        known: Mapping[str, Any] | None = None,
        shape: Shape | None = None,
    ):
        self.place, self.weights, self.shape = place, weights, shape
        self._fields = dict(fields)
        self._known = dict(known or {})
        self.words = self.text("type")
        self.kind = plain(self.words)
        self.name = self.text("name", default="")

    # --- settings ---

    def take(self, key: str, default: Any = REQUIRED) -> Any:
        """A setting: as described, or as the saved module says.

        Raises:
            Ambiguous: neither says, and there is no default.
            InputError: they contradict each other.
        """
        told, known = self._fields.pop(key, None), self._known.pop(key, None)
        if told is not None and known is not None and _listed(told) != _listed(known):
            raise InputError(
                "the description contradicts the file",
                place=f"{self.place}.{key}",
                found=f"{told!r:.80}",
                expected=f"{known!r:.80}, as the module was saved",
            )
        value = known if told is None else told
        if value is None and default is REQUIRED:
            raise Ambiguous(
                "the file does not tell this setting",
                place=f"{self.place}.{key}",
                found=f"a {self.words} without {key}",
                do=f"add {key} = ... to the layer",
            )
        return default if value is None else value

    def number(self, key: str, default: Any = REQUIRED) -> Any:
        """A real number; of a list of one, that one."""
        value = self.take(key, default)
        if isinstance(value, list | tuple) and len(value) == 1:
            value = value[0]
        if value is default:
            return value
        if isinstance(value, bool) or not isinstance(value, int | float):
            self.refuse(key, value, "a number")
        return value

    def integer(self, key: str, default: Any = REQUIRED) -> Any:
        """A whole number."""
        value = self.number(key, default)
        if value is not default and not isinstance(value, int):
            self.refuse(key, value, "a whole number")
        return value

    def text(self, key: str, default: Any = REQUIRED) -> Any:
        """A word."""
        value = self.take(key, default)
        if value is not default and not isinstance(value, str):
            self.refuse(key, value, "a text")
        return value

    def numbers(self, key: str) -> np.ndarray | None:
        """A list of numbers, if there is one."""
        value = self.take(key, None)
        try:
            return None if value is None else np.array(value, self.weights.dtype)
        except (TypeError, ValueError):
            self.refuse(key, value, "numbers")

    def choice(
        self, key: str, choices: tuple[str, ...], default: Any = REQUIRED
    ) -> Any:
        """One word of several."""
        value = self.text(key, default)
        if value not in choices:
            self.refuse(key, value, " or ".join(choices))
        return value

    def expect(self, key: str, *values: Any) -> None:
        """A setting that may only be one of these, or left out."""
        value = self.take(key, values[0])
        if not any(_listed(value) == _listed(fit) for fit in values):
            self.refuse(key, value, " or ".join(map(repr, values)))

    def ignore(self, *keys: str) -> None:
        """Settings that have no part in a prediction, or that the tensors say too."""
        for key in keys:
            self._fields.pop(key, None)
            self._known.pop(key, None)

    def refuse(self, key: str, found: Any, expected: str) -> NoReturn:
        """Raise because of a setting."""
        raise Unsupported(
            "a setting that is not read",
            place=f"{self.place}.{key}",
            found=f"{found!r:.80}",
            expected=expected,
        )

    def finish(self) -> None:
        """Refuse settings that nothing took.

        Raises:
            Unsupported: naming the first of them.
        """
        for key in (*self._fields, *self._known):
            raise Unsupported(
                f"a {self.words} has no such setting, or it is not read",
                place=f"{self.place}.{key}"[:160],
            )

    # --- tensors ---

    def full(self, suffix: str) -> str:
        """The name of a tensor of this module."""
        return f"{self.name}.{suffix}" if self.name else suffix

    def has(self, suffix: str) -> bool:
        """Whether the module has this tensor."""
        return self.full(suffix) in self.weights

    def tensor(self, suffix: str, axes: int) -> np.ndarray:
        """A tensor of the module, with so many axes.

        Raises:
            InputError: it is not there, or has another number of axes.
        """
        name = self.full(suffix)
        if name not in self.weights:
            beginnings = {n.rpartition(".")[0] for n in self.weights.names}
            raise InputError(
                f"a {self.words} of this name has no such tensor",
                place=self.place,
                found=f"no {name}",
                expected="the name of a module: "
                + ", ".join(map(repr, sorted(beginnings)[:20])),
                do=self._why_not(suffix),
            )
        if len(self.weights.shape(name)) != axes:
            raise InputError(
                f"this is no {self.words}",
                place=self.place,
                found=f"{name} of shape {self.weights.shape(name)}",
                expected=f"{axes} axes",
            )
        return self.weights.take(name)

    def _why_not(self, suffix: str) -> str | None:
        """What to do about a tensor that is stored as something else."""
        beginnings = (self.full(f"{suffix}_"), self.full(f"parametrizations.{suffix}."))
        names = [name for name in self.weights.names if name.startswith(beginnings)]
        if not names:
            return None
        return (
            f"{names[0]} belongs to a parametrization (spectral_norm and others), "
            "which is not computed: take it off before saving, "
            "torch.nn.utils.parametrize.remove_parametrizations, remove_spectral_norm"
        )

    def vector(self, suffix: str, size: int, default: float) -> np.ndarray:
        """A vector of the module; where it has none, one of `default`.

        Raises:
            InputError: of another length.
        """
        if not self.has(suffix):
            return np.full(size, default, self.weights.dtype)
        found = self.tensor(suffix, 1)
        if found.shape != (size,):
            raise InputError(
                "a vector of another length",
                place=self.full(suffix),
                found=found.shape,
                expected=(size,),
            )
        return found


def _listed(value: Any) -> Any:
    """Equal settings equal: a tuple of one and the number, a list and a tuple."""
    if isinstance(value, list | tuple):
        return _listed(value[0]) if len(value) == 1 else tuple(map(_listed, value))
    return value
