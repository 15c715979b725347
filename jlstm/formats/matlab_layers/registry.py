"""The table of layer classes and their readers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ... import layers as L
from ...errors import Unsupported
from ...pytree import Shape
from ..fields import Fields
from ..matfile import MatObject

TOOLBOX = "nnet.cnn.layer."


@dataclass
class Built:
    """A layer, and what its file says beside its parameters.

    Attributes:
        layer: the layer.
        initial, saved: states of a recurrent layer; None means zeros and "as initial".
        factors: (path inside the layer, learn-rate factor, L2 factor).
        notices: what the user should know.
    """

    layer: L.Layer
    initial: Any = None
    saved: Any = None
    factors: list[tuple[str, float, float]] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)


Reader = Callable[[Fields, list[Shape]], Built]
READERS: dict[str, Reader] = {}

NEVER_MATTER = (
    "Version", "Name", "Description", "Type", "ChannelDim", "ObservationDim",
    "VectorFormat", "DistributeOverTime", "CudnnGPUAlgoForward", "NumInputs",
    "NumOutputs", "InputNames", "OutputNames", "NormalizationDimension",
    "NumStates", "StateNames",
)  # fmt: skip
"""Fields that are labels, or caches of what follows from the shapes."""


def reader(*names: str) -> Callable[[Reader], Reader]:
    """Register a reader for classes of `nnet.cnn.layer`, or for full class names."""

    def register(function: Reader) -> Reader:
        for name in names:
            READERS[name if "." in name else TOOLBOX + name] = function
        return function

    return register


def read(class_name: str, fields: Fields, inputs: list[Shape]) -> Built:
    """Read one layer.

    Raises:
        Unsupported: the class, a property, or a value of one is not known.
    """
    if class_name not in READERS:
        raise _unknown(class_name, fields)
    fields.ignore(*NEVER_MATTER)
    fields.ignore(*(name for name in fields.names if name.endswith("DimIdx")))
    built = READERS[class_name](fields, inputs)
    fields.finish()
    return built


def _unknown(class_name: str, fields: Fields) -> Unsupported:
    own = not class_name.startswith(("nnet.", "rl.", "deep.", "images.", "vision."))
    return Unsupported(
        f"jlstm does not know the layer class {class_name}",
        place=fields.place,
        found=", ".join(fields.names) or "no saved properties",
        do="its computation is MATLAB code that is not in the file: replace the layer, "
        "or export the part of the network that does without it"
        if own
        else "replace the layer, or export the part of the network that does without "
        "it",
    )


def is_layer(value: Any) -> bool:
    """Whether a decoded value is a layer object."""
    return isinstance(value, MatObject) and (
        value.class_name in READERS or value.class_name.startswith(TOOLBOX)
    )
