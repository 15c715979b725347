"""Packed gate matrices in the orders of other tools, to and from gate-split layers.

The only place that knows a gate order other than jlstm's own.
"""

from __future__ import annotations

import numpy as np

from ..errors import InputError
from ..recurrent import GRU, LSTM, Bidirectional, Gate, Recurrent

MATLAB_LSTM = ("i", "f", "g", "o")
MATLAB_GRU = ("r", "z", "n")


def split(
    input_weights: np.ndarray,
    recurrent_weights: np.ndarray,
    bias: np.ndarray,
    order: tuple[str, ...],
) -> dict[str, Gate]:
    """Cut `(G H, C)`, `(G H, H)` and `(G H,)` into G gates of H rows each.

    Gates are grouped, units inside: rows `[i(1..H); f(1..H); ...]`. A bias of twice the
    length holds the input biases, then the recurrent ones.

    Raises:
        InputError: the sizes do not go together.
    """
    count = len(order)
    hidden, rest = divmod(recurrent_weights.shape[0], count)
    rows = count * hidden
    if rest or input_weights.shape[0] != rows or bias.size not in (rows, 2 * rows):
        raise InputError(
            f"the weights do not form {count} gates",
            found=f"input weights {input_weights.shape}, recurrent weights "
            f"{recurrent_weights.shape}, bias {bias.shape}",
            expected=f"{count}H x C, {count}H x H and {count}H x 1 with one H",
        )
    bias = bias.reshape(-1)
    parts = [bias[:rows], bias[rows:]] if bias.size == 2 * rows else [bias]
    gates = {}
    for k, name in enumerate(order):
        block = slice(k * hidden, (k + 1) * hidden)
        gates[name] = Gate(
            input_weights[block], recurrent_weights[block], *(p[block] for p in parts)
        )
    return gates


def join(layer: LSTM | GRU, order: tuple[str, ...]) -> dict[str, np.ndarray]:
    """The packed arrays of a layer: the inverse of `split`."""
    gates = [getattr(layer, name) for name in order]
    bias = [np.asarray(gate.bias) for gate in gates]
    if gates[0].recurrent_bias is not None:
        bias += [np.asarray(gate.recurrent_bias) for gate in gates]
    return {
        "InputWeights": np.concatenate([np.asarray(g.input_weights) for g in gates]),
        "RecurrentWeights": np.concatenate(
            [np.asarray(g.recurrent_weights) for g in gates]
        ),
        "Bias": np.concatenate(bias)[:, None],
    }


def matlab_arrays(layer: Recurrent) -> dict[str, np.ndarray]:
    """The arrays of a recurrent layer as MATLAB shows them.

    Returns:
        `InputWeights (4H, C)`, `RecurrentWeights (4H, H)`, `Bias (4H, 1)`, rows in the
        order input, forget, cell candidate, output gate; 3H rows in the order reset,
        update, candidate for a GRU (Bias 6H where it has recurrent biases); forward
        above backward for two directions; `InputProjector`, `OutputProjector` where
        there are any.
    """
    if isinstance(layer, Bidirectional):
        ahead, behind = matlab_arrays(layer.forward), matlab_arrays(layer.backward)
        return {key: np.concatenate([ahead[key], behind[key]]) for key in ahead}
    if not isinstance(layer, LSTM | GRU):
        raise InputError("not a recurrent layer", found=type(layer).__name__)
    arrays = join(layer, MATLAB_LSTM if isinstance(layer, LSTM) else MATLAB_GRU)
    for key, value in (
        ("InputProjector", layer.input_projector),
        ("OutputProjector", layer.output_projector),
    ):
        if value is not None:
            arrays[key] = np.asarray(value)
    return arrays
