"""How good predictions are: the measures that system identification, hydrology and
machine learning report, in double precision.

Every measure is `f(y, target, weights=None) -> float`. `y` and `target` are
`(time, outputs)`, or lists of such arrays, which are pooled: the means and variances
are those of all sequences together. An answer per sequence is `(outputs,)`, in a list.
Targets that are NaN and values of weight 0 are left out; other weights make every mean
and variance a weighted one. A prediction that is NaN is an error of the network and
makes the measure NaN.

Measures relative to the target are computed for each output and averaged over the
outputs, each counting the same; an output of which nothing is scored does not count.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .errors import InputError
from .hits import Hits, hits
from .moments import Moments, merged, moments


class Sequences(NamedTuple):
    """Sequences one after the other: `(steps, outputs)` each, and their lengths."""

    y: np.ndarray
    target: np.ndarray
    weights: np.ndarray
    lengths: np.ndarray


def rmse(y: Any, target: Any, weights: Any = None) -> float:
    """Root mean squared error, in the unit of the target.

        rmse = sqrt(mean((y - t)^2))

    The mean is over all steps and outputs together.

    Raises:
        InputError: the shapes differ, or nothing is scored; so do all measures.
    """
    return _number("rmse", y, target, weights)


def mae(y: Any, target: Any, weights: Any = None) -> float:
    """Mean absolute error, in the unit of the target: `mean(|y - t|)`.

    The mean is over all steps and outputs together.
    """
    return _number("mae", y, target, weights)


def nrmse(y: Any, target: Any, weights: Any = None) -> float:
    """Root mean squared error in units of the target's standard deviation.

        nrmse = ||t - y|| / ||t - mean(t)||

    0 is perfect, 1 is as good as the mean of the target. NaN if the target is constant.
    Source: MathWorks reference page goodnessOfFit, cost function NRMSE (older releases
    returned 1 minus this). Others divide by the range or the mean.
    """
    return _number("nrmse", y, target, weights)


def fit(y: Any, target: Any, weights: Any = None) -> float:
    """The fit in percent that MATLAB's `compare` prints.

        fit = 100 (1 - ||t - y|| / ||t - mean(t)||)

    100 is perfect, 0 is as good as the mean of the target. NaN if the target is
    constant. Several sequences are pooled, where `compare` has a fit for each
    experiment. Source: MathWorks reference page compare.
    """
    return _number("fit", y, target, weights)


def nse(y: Any, target: Any, weights: Any = None) -> float:
    """Nash-Sutcliffe efficiency.

        nse = 1 - sum((t - y)^2) / sum((t - mean(t))^2)

    1 is perfect, 0 is as good as the mean of the target. NaN if the target is constant.
    Source: Nash & Sutcliffe 1970, River flow forecasting through conceptual models
    part I, Journal of Hydrology 10(3).
    """
    return _number("nse", y, target, weights)


def r2(y: Any, target: Any, weights: Any = None) -> float:
    """Coefficient of determination: the same number as `nse`, by statistics' name.

        r2 = 1 - sum((t - y)^2) / sum((t - mean(t))^2)

    It is not the squared correlation, which is blind to a wrong scale and offset. NaN
    if the target is constant. Source: scikit-learn, r2_score.
    """
    return _number("r2", y, target, weights)


def kge(y: Any, target: Any, weights: Any = None) -> float:
    """Kling-Gupta efficiency.

        kge = 1 - sqrt((r - 1)^2 + (std(y) / std(t) - 1)^2 + (mean(y) / mean(t) - 1)^2)

    `r` is the correlation of y and t. 1 is perfect. NaN if the target is constant or
    its mean is 0, and if the prediction is constant, which has no correlation; says
    nothing where the mean of the target is close to 0, as in standardised data. Source:
    Gupta, Kling, Yilmaz & Martinez 2009, Journal of Hydrology 377(1-2).
    """
    return _number("kge", y, target, weights)


def accuracy(y: Any, target: Any, weights: Any = None) -> float:
    """Share of steps whose highest score is that of the true class, from 0 to 1.

    `target` is one-hot, of the shape of the scores `y`. A step of which any target is
    NaN or all are 0 has no class and is left out; it weighs as much as the largest
    weight of its classes. Scores that are NaN are wrong.
    """
    return float(_hits(y, target, weights).measures()["accuracy"])


def cross_entropy(y: Any, target: Any, weights: Any = None) -> float:
    """Mean cross-entropy of scores that come out of a softmax, in nats.

        cross_entropy = -mean over steps(sum over classes(t log(max(y, eps))))

    `eps` is that of the precision of `y`, as in the loss of that name. Steps are left
    out and weighed as in `accuracy`.
    """
    return float(_hits(y, target, weights).measures()["cross_entropy"])


def summary(
    y: Any, target: Any, weights: Any = None, *, classes: bool = False
) -> dict[str, float]:
    """The measures that make sense, by name: of numbers, or of scores of classes.

    Arguments:
        y: the predictions.
        target: what they should have been; one-hot for classes.
        weights: of the shape of the target; 0 is not scored.
        classes: whether `y` are the scores of classes.
    """
    if classes:
        found = _hits(y, target, weights).measures()
    else:
        found = _moments(y, target, weights).over_all()
    return {name: float(value) for name, value in found.items()}


def _number(name: str, y: Any, target: Any, weights: Any) -> float:
    return float(_moments(y, target, weights).over_all()[name])


def _moments(y: Any, target: Any, weights: Any) -> Moments:
    given = sequences(y, target, weights)
    found = merged(moments(*given))
    _require_some(found.weight)
    return found


def _hits(y: Any, target: Any, weights: Any) -> Hits:
    found = hits(*sequences(y, target, weights), eps=resolution(y)).merged()
    _require_some(found.weight)
    return found


def sequences(y: Any, target: Any, weights: Any = None) -> Sequences:
    """All sequences one after the other, checked, in double precision.

    Arguments:
        y, target, weights: as every measure takes them.

    Raises:
        InputError: not numbers, shapes that differ, a weight that is none.
    """
    given = {"y": _sequences("y", y), "target": _sequences("target", target)}
    given["weights"] = (
        [np.ones_like(one) for one in given["target"]]
        if weights is None
        else _sequences("weights", weights)
    )
    shapes = [one.shape for one in given["target"]]
    for name, some in given.items():
        found = [one.shape for one in some]
        if found != shapes:
            raise InputError(
                f"{name} and target are not of the same shape",
                found=_listed(found),
                expected=_listed(shapes),
            )
    if len({shape[1] for shape in shapes}) > 1:
        raise InputError("the sequences differ in their outputs", found=_listed(shapes))
    lengths = np.array([shape[0] for shape in shapes])
    pooled = Sequences(*map(np.concatenate, given.values()), lengths=lengths)
    if not (pooled.weights >= 0).all():
        raise InputError("a weight is negative or NaN", expected="0 or more")
    return pooled


def _sequences(name: str, given: Any) -> list[np.ndarray]:
    """Arrays `(time, outputs)`; an answer `(outputs,)` in a list is one step."""
    several = isinstance(given, list | tuple)
    try:
        arrays = [np.asarray(v, np.float64) for v in (given if several else [given])]
    except (TypeError, ValueError) as error:
        raise InputError(f"{name} is not numbers", found=str(error)) from None
    if not arrays:
        raise InputError(f"{name} has no sequence")
    for array in arrays:
        if array.ndim != 2 and not (several and array.ndim == 1):
            raise InputError(
                f"{name} is no sequence",
                found=f"shape {array.shape}",
                expected="(time, outputs), or a list of such arrays",
                do="one signal is y[:, None], one answer is y[None], a batch is list(y)"
                if array.ndim
                else None,
            )
    return [np.atleast_2d(array) for array in arrays]


def resolution(y: Any) -> float:
    """Machine epsilon of the precision that `y` came in."""
    dtype = np.asarray(y[0] if isinstance(y, list | tuple) and y else y).dtype
    return float(np.finfo(dtype if dtype.kind == "f" else float).eps)


def _require_some(weight: np.ndarray) -> None:
    if not np.any(weight):
        raise InputError(
            "nothing is left to score",
            found="targets that are NaN or have weight 0",
            expected="at least one that is scored",
        )


def _listed(shapes: list[tuple[int, ...]]) -> str:
    shown = ", ".join(map(str, shapes[:6]))
    return f"{shown}, ... ({len(shapes)} sequences)" if len(shapes) > 6 else shown
