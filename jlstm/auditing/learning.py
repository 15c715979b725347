"""What training never touched: layers as initialised, recurrences, copied weights.

MATLAB and Keras start recurrent weights orthogonal (the columns of all gates stacked
are orthonormal) and biases at 0, the forget gate at 1 or 0. An update leaves neither as
it was. What gets no gradient stays, or is only shrunk by L2 regularisation: by a common
factor under SGD, to nothing under Adam, which normalises the step.
"""

from __future__ import annotations

import hashlib

import numpy as np

from ..layers import FullyConnected
from ..network import Network
from ..recurrent import GRU, LSTM
from .parts import Part
from .remarks import Remark

ORTHOGONAL = 1e-4
"""Departure from orthogonality within rounding; training leaves 0.1 and more."""
ABSENT = 1e-6
"""No state moves a pre-activation by more than this: there is no recurrence."""
WEAK = 0.05
"""The same where the biases say by themselves that nothing was learned."""


def untrained(net: Network, found: list[Part]) -> list[Remark]:
    """Layers that stand as they were initialised; worse where others were trained."""
    fresh = [
        part
        for part in found
        if _biases_initial(part)
        and _orthogonal(part) is not None
        and not part.frozen(net, *(f"{gate}.bias" for gate in part.cell.gates))
    ]
    trained = [part.name for part in found if part not in fresh]
    trained += [
        name
        for name, layer in net.layers.items()
        if isinstance(layer, FullyConnected) and np.any(np.asarray(layer.bias))
    ]
    return [_untrained(part, trained) for part in fresh]


def _untrained(part: Part, trained: list[str]) -> Remark:
    words = (
        "as initialised: every bias is exactly at its first value and the recurrent "
        "weights are exactly orthogonal"
    )
    figures = {"scale": _orthogonal(part), "trained": trained}
    if not trained:
        return Remark(
            "untrained", part.name, words, figures,
            "predictions are those of random weights",
            "load the network after training, not the layers that went into it",
        )  # fmt: skip
    return Remark(
        "partly-loaded", part.name,
        f"{words}, while {', '.join(trained[:3])} {_are(trained)} trained", figures,
        "predictions pass through random weights",
        "its weights were not loaded, or it was cut off from the loss or kept from "
        "learning: load every layer from the trained network",
    )  # fmt: skip


def _are(names: list[str]) -> str:
    return "was" if len(names) == 1 else "were"


def copies(found: list[Part]) -> list[Remark]:
    """Layers, or directions, that hold the same weights bit for bit."""
    remarks = []
    seen: dict[bytes, str] = {}
    for part in found:
        groups = (part.inputs, part.recurrent, part.bias)
        arrays = [array for group in groups for array in group.values()]
        if not any(np.any(array) for array in arrays):
            continue
        digest = hashlib.sha256(repr([array.shape for array in arrays]).encode())
        for array in arrays:
            digest.update(array.tobytes())
        first = seen.setdefault(digest.digest(), part.name)
        if first != part.name:
            remarks.append(
                Remark(
                    "copied-weights",
                    part.name,
                    f"has exactly the weights of {first}",
                    {"of": first},
                    "training never makes two layers equal: one of them predicts with "
                    "the weights of the other",
                    "extract or load its own weights; with the two directions of a "
                    "bidirectional layer the second half of the rows was lost",
                )
            )
    return remarks


def unlearned_recurrence(net: Network, found: list[Part]) -> list[Remark]:
    """Recurrences that no gradient ever reached: training on sequences of one step."""
    remarks = []
    for part in found:
        if part.frozen(net, *(f"{gate}.recurrent_weights" for gate in part.cell.gates)):
            continue
        signs, figures = _signs(part, net)
        if signs:
            remarks.append(_unlearned(part, signs, figures))
    return remarks


def _signs(part: Part, net: Network) -> tuple[list[str], dict]:
    """What says that a recurrence was not learned; nothing if it may have been.

    Without a previous state the loss has no gradient with respect to R, to the forget
    gate of an LSTM (which multiplies `c = 0`), to the reset gate of a GRU (`R h = 0`).
    """
    largest = float(np.max(np.abs(part.stacked), initial=0))
    effect = max(np.max(np.sum(np.abs(r), axis=1)) for r in part.recurrent.values())
    untouched = not _biases_initial(part) and _orthogonal(part) is not None
    idle = None if part.frozen(net, f"{_idle_gate(part)}.bias") else _idle_bias(part)
    figures = {
        "largest_recurrent_weight": largest,
        "orthogonal_scale": _orthogonal(part) if untouched else None,
        "idle_bias": idle,
    }
    weak = effect <= ABSENT or (idle is not None and effect <= WEAK)
    if not (weak or untouched):
        return [], figures
    signs = []
    if idle is not None:
        kind = "forget" if isinstance(part.cell, LSTM) else "reset"
        signs.append(f"all {kind} biases are exactly {idle:g}")
    if weak:
        signs.append(f"recurrent weights at most {largest:.0e}")
    else:
        scale = figures["orthogonal_scale"]
        signs.append(f"recurrent weights as initialised times {scale:.3g}")
    return signs, figures


def _unlearned(part: Part, signs: list[str], figures: dict) -> Remark:
    if figures["idle_bias"] is None and figures["orthogonal_scale"] is None:
        return Remark(
            "no-recurrence", part.name, f"has no recurrence ({', '.join(signs)})",
            figures, "its output of the step before plays no part in a prediction",
            "make sure that the recurrent weights were loaded, and that it was trained "
            "on sequences of more than one step",
        )  # fmt: skip
    return Remark(
        "unlearned-recurrence",
        part.name,
        f"never learned recurrence ({', '.join(signs)}): it was trained on sequences "
        "of one step",
        figures,
        "what it carries from step to step is left over from its start, and its "
        "predictions from the second step on are not what it was trained for",
        "reset the state before every step to use it as it was trained; to learn from "
        "the past train it on whole sequences, features x time, not on single columns",
    )


def _idle_gate(part: Part) -> str:
    return "f" if isinstance(part.cell, LSTM) else "r"


def _idle_bias(part: Part) -> float | None:
    """The first value at which the biases of the idle gate stand, others having moved.

    With a recurrent bias in the candidate of a GRU its reset gate learns from the
    first step on.
    """
    if isinstance(part.cell, GRU) and part.cell.biased_recurrence:
        return None
    bias = part.bias[_idle_gate(part)]
    for value in (0.0, 1.0):
        if np.all(bias == value) and not _biases_initial(part):
            return value
    return None


def _biases_initial(part: Part) -> bool:
    """Whether all biases are 0, those of a forget gate 1 or 0."""
    extra = [getattr(part.cell, gate).recurrent_bias for gate in part.cell.gates]
    return (
        all(not np.any(b) for gate, b in part.bias.items() if gate != "f")
        and all(not np.any(np.asarray(b)) for b in extra if b is not None)
        and ("f" not in part.bias or _constant(part.bias["f"]))
    )


def _constant(bias: np.ndarray) -> bool:
    return bool(np.all(bias == 0) or np.all(bias == 1))


def _orthogonal(part: Part) -> float | None:
    """The factor by which stacked recurrent weights are orthonormal, None if not.

    One column is orthogonal to nothing, so that its length must be 1.
    """
    stacked = part.stacked
    squares = np.sum(stacked * stacked, axis=0)
    square = float(np.mean(squares))
    if square < np.finfo(np.float32).tiny:
        return None
    unit = 1.0 if len(squares) == 1 else square
    # Lengths first: of a trained layer they differ, which spares the large product.
    if np.max(np.abs(squares / unit - 1)) > ORTHOGONAL:
        return None
    products = stacked.T @ stacked / unit
    close = np.max(np.abs(products - np.eye(len(squares)))) < ORTHOGONAL
    return float(np.sqrt(square)) if close else None
