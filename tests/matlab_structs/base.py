"""What all saved layers share: their struct, and arrays of trained scale."""

from __future__ import annotations

from typing import Any

import numpy as np
from matlab_files import EMPTY, MatlabOpaque, cell, number, saved, thing

Rng = np.random.Generator
BASE = "nnet.layer.Layer"
INITIALIZER = "nnet.internal.cnn.layer.learnable.initializer"


def layer(kind: str, name: str, version: int = 1, **fields: Any) -> MatlabOpaque:
    """A layer of the toolbox with a `saveobj`."""
    struct = {"Version": number(version), "Name": name, **fields}
    return saved(f"nnet.cnn.layer.{kind}", struct)


def custom(class_name: str, name: str, **properties: Any) -> MatlabOpaque:
    """A layer without `saveobj`, of the toolbox or of the user."""
    full = class_name if "." in class_name else f"nnet.cnn.layer.{class_name}"
    mixin = "nnet.cnn.layer.mixin.Learnable"
    base = {
        "Name": name,
        "Description": "a layer",
        "Type": "Layer",
        f"{BASE}.PrivateInputs": cell(["in"]),
        f"{BASE}.PrivateOutputs": cell(["out"]),
        "Version": number(1),
        f"{mixin}.LearnRateFactor": EMPTY,
        f"{mixin}.L2Factor": EMPTY,
        f"{mixin}.LearnablesTypes": EMPTY,
    }
    return thing(full, base | properties)


def normal(rng: Rng, *shape: int, scale: float = 1.0) -> np.ndarray:
    return (scale * rng.normal(size=shape)).astype(np.float32)


def positive(rng: Rng, *shape: int) -> np.ndarray:
    return (0.5 + rng.random(shape)).astype(np.float32)


def learnable(
    value: Any, version: int = 2, rate: Any = 1.0, decay: Any = 1.0
) -> dict[str, Any]:
    """A learnable parameter; version 1 is that of R2018, without an initializer."""
    struct: dict[str, Any] = {"Version": number(version)} if version > 1 else {}
    struct |= {
        "Value": value,
        "LearnRateFactor": np.atleast_2d(np.asarray(rate, float)),
        "L2Factor": np.atleast_2d(np.asarray(decay, float)),
    }
    if version > 1:
        arguments = cell([number(2), number(1)], row=True)
        struct["Initializer"] = {
            "Version": number(1),
            "Class": f"{INITIALIZER}.Glorot",
            "ConstructorArguments": arguments,
        }
    return struct


def affine(rng: Rng, shape: tuple[int, ...], version: int = 2) -> dict[str, Any]:
    return {
        "Offset": learnable(normal(rng, *shape), version),
        "Scale": learnable(normal(rng, *shape), version),
    }
