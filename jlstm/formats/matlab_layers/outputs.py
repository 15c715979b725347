"""Output layers: identities at prediction that name what comes out."""

from __future__ import annotations

from typing import Any

from ... import layers as L
from ...pytree import Shape
from ..fields import Fields, strings
from .registry import Built, reader


@reader("RegressionOutputLayer", "nnet.keras.layer.BinaryCrossEntropyRegressionLayer")
def _regression(f: Fields, inputs: list[Shape]) -> Built:
    names = strings(f.take("ResponseNames", default=None)) or ()
    f.ignore("LossFunction", "OutputSize", "Loss")
    # MATLAB writes one "Response" for any number of them.
    return Built(L.Regression(names if _fits(names, inputs) else ()))


@reader("ClassificationOutputLayer", "FocalLossLayer")
def _classification(f: Fields, inputs: list[Shape]) -> Built:
    saved = f.take("Categories", "Classes", "ClassNames", default="auto")
    f.ignore("OutputSize", "NumClasses", "ClassWeights", "LossFunction")
    f.ignore("Alpha", "Gamma")
    classes = strings(saved)
    if classes is None:
        return Built(L.Classification(()), notices=["its classes cannot be decoded"])
    return Built(L.Classification(() if classes == ("auto",) else classes))


def custom_output(class_name: str, f: Fields, inputs: list[Shape]) -> Built:
    """An output layer of the user's own.

    SeriesNetwork and DAGNetwork accept nothing but an output layer at an end, and an
    output layer passes predictions on unchanged: its own part is the loss.
    """
    notice = f"the output layer {class_name} is your own: its loss is not read"
    classes: Any = strings(f.take("Classes", default=None))
    if classes and _fits(classes, inputs):
        return Built(L.Classification(classes), notices=[notice])
    return Built(L.Regression(()), notices=[notice])


def _fits(names: tuple[str, ...], inputs: list[Shape]) -> bool:
    return names != ("Response",) and (not inputs or len(names) == inputs[0].channels)
