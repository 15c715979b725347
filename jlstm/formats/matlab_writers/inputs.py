"""Input and output layers."""

from __future__ import annotations

import numpy as np

from ... import layers as L
from .registry import Place, Written, per_channel, writer

STATISTICS = {
    "Mean": "mean",
    "StandardDeviation": "std",
    "Min": "minimum",
    "Max": "maximum",
}


@writer(L.Input)
def _input(layer: L.Input, place: Place) -> Written:
    if layer.target is not None:
        place.refuse(
            f"{layer.normalization} to {layer.target}",
            "its normalisations rescale to [0, 1] or [-1, 1]",
            "scale the data outside of the network",
        )
    kind, call, since = _kind(layer, place)
    late = layer.min_length != 1
    return Written(
        kind,
        call,
        "R2021b" if late else since,
        (layer.size,),
        settings={"Normalization": layer.normalization}
        | ({"MinLength": layer.min_length} if late else {}),
        arrays={
            word: _statistic(getattr(layer, name), len(layer.size) - 1)
            for word, name in STATISTICS.items()
            if getattr(layer, name) is not None
        },
        properties={"InputSize": layer.size},
    )


def _kind(layer: L.Input, place: Place) -> tuple[str, str, str]:
    if layer.time:
        return "SequenceInputLayer", "sequenceInputLayer", "R2019b"
    if len(layer.size) == 1:
        return "FeatureInputLayer", "featureInputLayer", "R2020b"
    if len(layer.size) == 3:
        return "ImageInputLayer", "imageInputLayer", "R2019b"
    return place.refuse(
        f"single examples of size {layer.size}",
        "its input layers take vectors, images and sequences",
    )


def _statistic(array: object, space: int) -> np.ndarray:
    array = np.asarray(array)
    return per_channel(array, space) if array.ndim < 2 else array


@writer(L.Regression)
def _regression(layer: L.Regression, place: Place) -> Written:
    return Written(
        "RegressionOutputLayer",
        "regressionLayer",
        properties={"ResponseNames": layer.responses},
        is_output=True,
    )


@writer(L.Classification)
def _classification(layer: L.Classification, place: Place) -> Written:
    if not layer.classes:
        return Written(
            "ClassificationOutputLayer",
            "classificationLayer",
            properties={"Classes": "auto"},
            is_output=True,
        )
    return Written(
        "ClassificationOutputLayer",
        "classificationLayer",
        "R2018b",
        arrays={"Classes": layer.classes},
        is_output=True,
    )
