"""Whether an input has the scale that the network expects.

A network without normalisation must be given what it was trained on, scaled by hand if
its training data were; one with normalisation must be given the raw data.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import InputError
from ..layers import Input
from ..layers.inputs import TARGETS
from ..network import Network
from .gates import PINNED
from .parts import UNSCALED, Part, source
from .remarks import Remark, listed, which

FAR = 10.0
"""Standard deviations from the training mean at which data are of another kind."""
SATURATED = 0.5
"""Share of saturated gate values from which the scale of the input is wrong."""
PHYSICAL = 100.0
"""An input layer that saturates below this was trained on scaled numbers."""


def collect(net: Network, x: Any) -> dict[str, np.ndarray]:
    """All steps of all sequences given, `(steps, *space, channels)`, by input.

    Raises:
        InputError: `x` does not fit the network.
    """
    runs = [_by_name(net, item) for item in (x if isinstance(x, list) else [x])]
    if not runs:
        raise InputError("no input to audit", found="an empty list")
    return {name: np.concatenate([run[name] for run in runs]) for name in net.inputs}


def _by_name(net: Network, x: Any) -> dict[str, np.ndarray]:
    names = net.inputs
    if not isinstance(x, Mapping):
        several = isinstance(x, tuple) and len(names) > 1
        x = dict(zip(names, x if several else (x,), strict=False))
    if set(x) != set(names):
        raise InputError(
            "the network has other inputs",
            found=", ".join(map(str, x)),
            expected=f"a tuple or a dict of {', '.join(names)}",
        )
    return {name: _steps(net, name, x[name]) for name in names}


def _steps(net: Network, name: str, x: Any) -> np.ndarray:
    shape = net.layers[name].shape()
    tail = (*shape.space, shape.channels)
    try:
        x = np.asarray(x, np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(
            "not an array of numbers", place=f"input '{name}'", found=str(error)
        ) from None
    if x.ndim != len(tail) + shape.time or x.shape[shape.time :] != tail or not x.size:
        raise InputError(
            "the input does not fit the network",
            place=f"input '{name}'",
            found=f"shape {x.shape}",
            expected=str(shape),
        )
    return x if shape.time else x[None]


def judge(net: Network, found: list[Part], given: dict[str, Any]) -> list[Remark]:
    """Remarks on the data that the network is to be given."""
    remarks = []
    for name, x in given.items():
        layer = net.layers[name]
        if broken := int(np.sum(~np.isfinite(x))):
            remarks.append(_broken(name, broken, x.size))
        elif isinstance(layer, Input) and layer.normalization not in UNSCALED:
            remarks += _normalised(name, layer, x)
        elif isinstance(layer, Input):
            remarks += _raw(net, name, layer, found, x)
    return remarks


def _broken(name: str, count: int, size: int) -> Remark:
    return Remark(
        "input-broken", name,
        f"{count:,} of {size:,} numbers of the input are NaN or infinite",
        {"count": count, "of": size},
        "from the first of them on every prediction is NaN",
        "fill the gaps or cut the sequence there",
    )  # fmt: skip


# --- networks that normalise ----------------------------------------------------------


def _normalised(name: str, layer: Input, x: np.ndarray) -> list[Remark]:
    """An input far outside the statistics that the network carries."""
    centre, unit = (
        np.broadcast_to(np.asarray(a, np.float64), x.shape[1:]).ravel()
        for a in _statistics(layer)
    )
    columns = x.reshape(len(x), -1)
    usable = unit > 0
    mean, spread = columns.mean(axis=0), columns.std(axis=0)
    safe = np.where(usable, unit, 1.0)
    away = np.where(usable, np.abs(mean - centre) / safe, 0.0)
    ratio = np.where(usable, spread / safe, 1.0)
    off = (away > FAR) | (ratio > FAR)
    still = off | (ratio < 1 / FAR)
    figures = {
        "mean": _short(mean),
        "std": _short(spread),
        "training_mean": _short(centre),
        "training_std": _short(unit),
        "features": which(off),
    }
    scaled = _looks_scaled(layer, columns, mean, spread)
    if scaled and usable.any() and np.mean(still[usable]) > 0.5:
        return [
            Remark(
                "input-normalised-twice",
                name,
                f"the input looks {scaled} already, and the network normalises it "
                f"again, by mean {_about(centre)} and spread {_about(unit)}",
                figures,
                "every step looks the same to the network, far from what it was "
                "trained on",
                "give it the raw data",
            )
        ]
    if np.any(off):
        return [
            Remark(
                "input-out-of-range",
                name,
                f"{int(off.sum())} of {off.size} features are far from the training "
                f"data (indices {listed(np.flatnonzero(off))}): up to "
                f"{away.max():.3g} standard deviations from their mean, spread up to "
                f"{ratio.max():.3g} times theirs",
                figures,
                "gates saturate and predictions are extrapolated",
                "compare units, the order of the features and the layout with the "
                "training data",
            )
        ]
    return []


def _statistics(layer: Input) -> tuple[Any, Any]:
    """Centre and spread of the training data; a range is taken for four deviations."""
    if layer.std is not None:
        return layer.mean, layer.std
    low, high = (np.asarray(a, np.float64) for a in (layer.minimum, layer.maximum))
    return (low + high) / 2, (high - low) / 4


def _looks_scaled(
    layer: Input, x: np.ndarray, mean: np.ndarray, spread: np.ndarray
) -> str:
    """How the columns of `x` seem to have been scaled by hand, "" if they do not."""
    if np.mean((np.abs(mean) < 0.5) & (spread > 0.5) & (spread < 2)) > 0.9:
        return "standardised"
    if layer.normalization in TARGETS:
        low, high = layer.target or TARGETS[layer.normalization]
        margin = 0.1 * (high - low)
        inside = (x.min(axis=0) >= low - margin) & (x.max(axis=0) <= high + margin)
        if np.mean(inside & (spread > 0.02 * (high - low))) > 0.9:
            return "rescaled"
    return ""


# --- networks that do not -------------------------------------------------------------


def _raw(
    net: Network, name: str, layer: Input, found: list[Part], x: np.ndarray
) -> list[Remark]:
    """An input that saturates the gates it meets."""
    if layer.mean is not None:
        x = x - np.asarray(layer.mean, np.float64)
    columns = x.reshape(len(x), -1)
    mean, spread = columns.mean(axis=0), columns.std(axis=0)
    large = (np.abs(mean) > 3) | (spread > 3)
    if not np.any(large):
        return []
    for part in _fed(net, name, found):
        share = _saturation(part, columns)
        if share > SATURATED:
            return [
                Remark(
                    "input-saturates",
                    part.name,
                    f"{share:.0%} of its gate values are saturated by this input, "
                    f"which {name} does not scale (mean {_about(mean)}, standard "
                    f"deviation {_about(spread)})",
                    {
                        "saturated": share,
                        "mean": _short(mean),
                        "std": _short(spread),
                        "features": which(large),
                    },
                    "predictions hardly follow the input",
                    "scale it as the training data were: (x - mean) / std, with their "
                    "mean and standard deviation, not those of x",
                )
            ]
    return []


def _saturation(part: Part, x: np.ndarray) -> float:
    """Share of the gate values `W x + b` that lie within 0.01 of an end."""
    shares = []
    for gate, edge in _edges(part).items():
        weights = part.inputs[gate]
        alive = _alive(weights)
        if np.any(alive):
            z = x @ weights[alive].T + part.bias[gate][alive]
            shares.append(float(np.mean(np.abs(z) > edge)))
    return float(np.mean(shares)) if shares else 0.0


def advise(net: Network, found: list[Part]) -> list[Remark]:
    """What to keep in mind of networks that saturate soon and do not normalise."""
    remarks = []
    for name in net.inputs:
        layer = net.layers[name]
        if not isinstance(layer, Input) or layer.normalization not in UNSCALED:
            continue
        for part in _fed(net, name, found):
            limit = _working_range(part)
            if limit < PHYSICAL:
                missing = (
                    "scale" if layer.normalization == "zerocenter" else "normalise"
                )
                remarks.append(
                    Remark(
                        "input-not-normalised",
                        name,
                        f"the network does not {missing} its input",
                        {"saturates_from": limit, "by": part.name},
                        f"{part.name} saturates from about {limit:.2g} on: give it "
                        "numbers as small as those it was trained on",
                        "if the training script scaled its data, scale with the same "
                        "mean and standard deviation",
                    )
                )
                break
    return remarks


def _working_range(part: Part) -> float:
    """Root mean square of the input at which the median unit reaches its ends."""
    limits = []
    for gate, edge in _edges(part).items():
        weights = part.inputs[gate]
        norms = np.sqrt(np.sum(weights[_alive(weights)] ** 2, axis=1))
        limits += list(edge / norms)
    return float(np.median(limits)) if limits else np.inf


def _edges(part: Part) -> dict[str, float]:
    """Pre-activation at which each gate saturates, for the gates that do."""
    cell = part.cell
    names = {
        gate: cell.state_activation if gate in "gn" else cell.gate_activation
        for gate in cell.gates
    }
    return {gate: PINNED[name] for gate, name in names.items() if name in PINNED}


def _alive(weights: np.ndarray) -> np.ndarray:
    """Rows that the input can move at all."""
    norms = np.max(np.abs(weights), axis=1)
    return norms > 1e-3 * max(1.0, float(norms.max()))


def _fed(net: Network, name: str, found: list[Part]) -> list[Part]:
    """The recurrent parts that an input reaches unchanged."""
    return [part for part in found if source(net, part.layer) == name]


def _about(values: np.ndarray) -> str:
    low, high = float(values.min()), float(values.max())
    return f"{low:.3g}" if f"{low:.3g}" == f"{high:.3g}" else f"{low:.3g} to {high:.3g}"


def _short(values: np.ndarray) -> list[float]:
    return [float(v) for v in values[:100]]
