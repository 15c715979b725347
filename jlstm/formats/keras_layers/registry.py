"""The table of Keras layer classes: their variables and their readers."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ...errors import DamagedFile, Unsupported
from .wiring import Call, Tensor

Reader = Callable[[Call], Tensor | list[Tensor]]


class Variable(NamedTuple):
    """An array that a layer owns.

    Arguments:
        owner: the part of the layer that it belongs to, "cell" or "forward_layer/cell";
            empty for the layer itself.
        name: its name in Keras.
        trainable: whether Keras trains it; old files list those first.
        beside: whether it is one that Keras has not, and that jlstm may have put there.
    """

    owner: str
    name: str
    trainable: bool = True
    beside: bool = False

    @property
    def key(self) -> str:
        """Owner and name."""
        return f"{self.owner}/{self.name}" if self.owner else self.name


Config = Mapping[str, Any]
Variables = Callable[[Config], list[Variable]]


@dataclass(frozen=True)
class Kind:
    """What is known of a layer class.

    Attributes:
        read: makes layers of a call.
        variables: the arrays that it owns, in the order of Keras, by its configuration.
        mask: "pass" where Keras hands a mask on, "stop" where it ends, "stop before
            3" where it ends in Keras 2, "own" where the reader sees to it.
        per_step: whether TimeDistributed may wrap it.
        flat: whether it takes a sequence of numbers `(T,)` as such.
        takes: the kind of `Pending` that it takes up.
    """

    read: Reader
    variables: Variables
    mask: str = "pass"
    per_step: bool = False
    flat: bool = False
    takes: str = ""


KINDS: dict[str, Kind] = {}
PACKAGES = ("keras", "tf_keras", "keras_core", "tensorflow")
"""Where the classes of Keras live."""


def reader(
    *names: str,
    variables: Variables = lambda config: [],
    mask: str = "pass",
    per_step: bool = False,
    flat: bool = False,
    takes: str = "",
) -> Callable[[Reader], Reader]:
    """Register a reader for classes of `keras.layers`."""

    def register(function: Reader) -> Reader:
        for name in names:
            KINDS[name] = Kind(function, variables, mask, per_step, flat, takes)
        return function

    return register


def below(owner: str, variables: list[Variable]) -> list[Variable]:
    """Variables of a part, as variables of the whole."""
    return [
        v._replace(owner=f"{owner}/{v.owner}" if v.owner else owner) for v in variables
    ]


def weighted(*names: str) -> Variables:
    """The variables of layers with weights, and a bias unless `use_bias` is false."""

    def variables(config: Config) -> list[Variable]:
        found = [Variable("", name) for name in names]
        if config.get("use_bias", True):
            found.append(Variable("", "bias"))
        return found

    return variables


def inner(config: Config, name: str) -> tuple[str, Config]:
    """The class and the configuration of a layer that another one wraps."""
    entry = config.get(name)
    if (
        not isinstance(entry, dict)
        or not isinstance(entry.get("class_name"), str)
        or not isinstance(entry.get("config"), dict | list)
    ):
        raise DamagedFile(
            "a wrapper around nothing", place=name, found=f"{entry!r:.200}"
        )
    _require_own(entry, name)
    config = entry["config"]
    # Before Keras 2.2.3 a Sequential was the list of its layers.
    return entry["class_name"], {"layers": config} if isinstance(
        config, list
    ) else config


def _require_own(entry: Config, place: str) -> None:
    """A class of somebody else may have the name of one of Keras and compute more.

    Old files name no modules; those of Keras are registered under none, or its own.
    """
    module = str(entry.get("module") or PACKAGES[0])
    package, mark, _ = str(entry.get("registered_name") or "").partition(">")
    if module.partition(".")[0] not in PACKAGES or (
        mark and package.lower() not in PACKAGES
    ):
        raise Unsupported(
            f"{entry['class_name'][:80]} is a class of its own, not one of Keras",
            place=place,
            found=f"module {entry.get('module')!r:.80}, registered as "
            f"{entry.get('registered_name')!r:.80}",
            expected=f"a module of {', '.join(PACKAGES)}",
            do="its computation is Python code that is not in the file",
        )


def kind(class_name: str, place: str) -> Kind:
    """What is known of a class.

    Raises:
        Unsupported: nothing.
    """
    if class_name in KINDS:
        return KINDS[class_name]
    raise Unsupported(
        f"jlstm does not know the layer class {class_name}",
        place=place,
        do="its computation is Python code that is not in the file"
        if class_name == "Lambda" or ">" in class_name
        else "replace the layer, or save the part of the network that does without it",
    )


def snake_case(class_name: str) -> str:
    """A class name as Keras writes it in paths: `SimpleRNN` is `simple_rnn`.

    Source: keras-team/keras `utils/naming.py`.
    """
    name = re.sub(r"\W+", "", class_name)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()


def owners(container: str, class_names: list[str]) -> list[str]:
    """Where the members of a container keep their arrays.

    By class, numbered in order: `layers/dense`, `layers/dense_1`.
    """
    seen: Counter[str] = Counter()
    found = []
    for class_name in class_names:
        name = snake_case(class_name)
        number = seen[name]
        seen[name] += 1
        found.append(
            f"{container}/{name}_{number}" if number else f"{container}/{name}"
        )
    return found


def bias(call: Call, size: int, key: str = "bias") -> np.ndarray:
    """The bias of a layer; zeros where it has none."""
    if key in call.weights:
        return call.weight(key, (size,))
    return np.zeros(size, call.dtype)
