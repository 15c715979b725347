"""Input layers and their normalisations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matlab_files import EMPTY, MatlabOpaque, flag, number

from .base import layer


def statistics(kind: str, size: Sequence[int], **arrays: Any) -> dict[str, Any]:
    """A saved normalisation."""
    head = {"Version": number(1), "Type": kind, "ImageSize": number(*size)}
    return head | arrays


def sequence_input(
    name: str, *size: int, version: int = 5, normalization: Any = None, least: int = 1
) -> MatlabOpaque:
    struct: dict[str, Any] = {"InputSize": number(*size)}
    if version >= 2:
        struct["Normalization"] = EMPTY if normalization is None else normalization
    if version >= 3:
        struct["NormalizationDimension"] = "auto"
    if version >= 4:
        struct["MinLength"] = number(least)
    if version >= 5:
        struct["SplitComplexInputs"] = flag(False)
    return layer("SequenceInputLayer", name, version, **struct)


def feature_input(name: str, size: int, normalization: Any = None) -> MatlabOpaque:
    return layer(
        "FeatureInputLayer", name, InputSize=number(size),
        Normalization=EMPTY if normalization is None else normalization,
        NormalizationDimension="auto",
    )  # fmt: skip


def image_input(name: str, *size: int, normalization: Any = None) -> MatlabOpaque:
    return layer(
        "ImageInputLayer", name, InputSize=number(*size),
        Normalization=EMPTY if normalization is None else normalization,
        Augmentations=EMPTY,
    )  # fmt: skip
