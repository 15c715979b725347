"""Remedies for mistakes after the last layer."""

from __future__ import annotations

from .remedy import DOC, Lines, Remedy

_LAST = DOC + "nnet.cnn.layer.lstmlayer.html"
_TRAINED = (
    "https://imathworks.com/matlab/matlab-different-result-of-analytical-and-"
    "trained-ann-recurrent-neural-network"
)
_PREDICT = DOC + "seriesnetwork.predict.html"


def _after(
    finding: str, do: str, python: str, matlab: str, reference: str = _PREDICT
) -> Remedy:
    return Remedy(
        finding,
        do,
        Lines(python, "prediction = y"),
        Lines(matlab, "prediction = Y;"),
        reference,
    )


_SHIFT = "the output comes {k} {steps_word} too {direction}"
_SHIFT_DO = (
    "Compare row t of the output with the target of step t; an index that "
    "starts at 0 here and at 1 there is off by one."
)

OUTPUTS = {
    "output-affine": _after(
        "the output is multiplied by {slope} and moved by {offset}, as if its units "
        "were changed once too often or not at all",
        "Compare the output in the units of the network, or change the units once, "
        "with the statistics of the training targets.",
        "prediction = {slope} * y {plus}",
        "prediction = {slope}.*Y {plus};",
        _TRAINED,
    ),
    "output-shift": _after(
        _SHIFT,
        _SHIFT_DO,
        "prediction = y[np.maximum(np.arange(T) - {k}, 0)]",
        "prediction = Y(:, max((1:T) - {k}, 1));",
    ),
    "output-shift:early": _after(
        _SHIFT,
        _SHIFT_DO,
        "prediction = y[np.minimum(np.arange(T) + {k}, T - 1)]",
        "prediction = Y(:, min((1:T) + {k}, T));",
    ),
    "output-reversed": _after(
        "the outputs stand from the last step to the first",
        "Write output t to row t.",
        "prediction = y[::-1]",
        "prediction = fliplr(Y);",
    ),
    "columns-permuted": _after(
        "the columns of the output stand in another order: {order}, counted from 0",
        "Name the columns after the classes or responses of the network; MATLAB sorts "
        "classes by name.",
        "prediction = y[:, {order}]",
        "prediction = Y({order},:);",
        DOC + "classificationlayer.html",
    ),
    "first-instead-of-last": Remedy(
        "the first step of {layers} is passed on, not the last",
        'OutputMode "last" passes the last step on: index -1 in NumPy, end in MATLAB.',
        Lines("a = h[0]", "a = h[-1]"),
        Lines("a = h(:,1);", "a = h(:,end);"),
        _LAST,
    ),
    "mean-instead-of-last": Remedy(
        "the mean over all steps of {layers} is passed on, not the last step",
        'OutputMode "last" passes the last step on; a mean is a pooling layer.',
        Lines("a = h.mean(axis=0)", "a = h[-1]"),
        Lines("a = mean(h, 2);", "a = h(:,end);"),
        _LAST,
    ),
    "max-instead-of-last": Remedy(
        "the largest output of each unit of {layers} over all steps is passed on, not "
        "the last step",
        'OutputMode "last" passes the last step on; a maximum is a pooling layer.',
        Lines("a = h.max(axis=0)", "a = h[-1]"),
        Lines("a = max(h, [], 2);", "a = h(:,end);"),
        _LAST,
    ),
}
