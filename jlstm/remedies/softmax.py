"""Remedies for the softmax layer: left out, made twice, or another function."""

from __future__ import annotations

from .remedy import DOC, GITHUB, Remedy, lines

_SOFTMAX = DOC + "nnet.cnn.layer.softmaxlayer.html"

SOFTMAX = {
    "activation-omitted:softmax": Remedy(
        "softmax ({layers}) is left out, so that the outputs are no probabilities",
        "Apply softmax over the classes to the last scores.",
        lines("prediction = scores", "prediction = softmax(scores)"),
        lines("prediction = scores;", "prediction = softmax(scores);"),
        _SOFTMAX,
    ),
    "activation-replaced:softmax": Remedy(
        "{wrong} of each score by itself is computed instead of softmax in {layers}, "
        "so that the outputs do not sum to one",
        "Apply softmax over the classes: the outputs of one step sum to one.",
        lines("prediction = {wrong:scores}", "prediction = softmax(scores)"),
        lines("prediction = {wrong:scores};", "prediction = softmax(scores);"),
        _SOFTMAX,
    ),
    "softmax-twice": Remedy(
        "softmax ({layers}) is applied twice, the second time to the probabilities",
        "Apply softmax once; what predict returns for a network with a softmaxLayer "
        "are probabilities already.",
        lines(
            "prediction = softmax(softmax(scores))",
            "prediction = softmax(scores)",
        ),
        lines(
            "prediction = softmax(softmax(scores));",
            "prediction = softmax(scores);",
        ),
        GITHUB + "OpenANN/OpenANN/issues/162",
    ),
    "softmax-log": Remedy(
        "{layers} gives the logarithms of the probabilities (log_softmax)",
        "Take exp of the observed numbers to get the probabilities, or compute softmax "
        "in place of log_softmax.",
        lines(
            "prediction = np.log(softmax(scores))",
            "prediction = softmax(scores)",
        ),
        lines("prediction = log(softmax(scores));", "prediction = softmax(scores);"),
        "https://pytorch.org/docs/stable/generated/torch.nn.LogSoftmax.html",
    ),
    "softmax-over-time": Remedy(
        "{layers} makes the steps of each class sum to one, not the classes of each "
        "step (softmax over time)",
        "Divide by the sum over the classes, step by step.",
        lines(
            "prediction = e / e.sum(axis=0, keepdims=True)",
            "prediction = e / e.sum(axis=1, keepdims=True)",
        ),
        lines("prediction = E./sum(E, 2);", "prediction = E./sum(E, 1);"),
        _SOFTMAX,
    ),
}
