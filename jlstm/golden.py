"""Golden vectors: what the original network computed, kept beside its weights."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Golden(NamedTuple):
    """One recorded run of the original network, in the layout of jlstm.

    Arguments:
        inputs: one array for each input of the network, `(time, features)`, in the
            order of `net.inputs`.
        outputs: one array for each output, `(time, outputs)` or `(outputs,)`, in the
            order of `net.outputs`.
        layers: recorded activations by layer name, `(time, hidden)`.
        note: who computed this: program, release, function, precision.
        start: where the run started, from the "initial" or the "saved" state.
    """

    inputs: tuple[np.ndarray, ...]
    outputs: tuple[np.ndarray, ...]
    layers: dict[str, np.ndarray] = {}  # noqa: RUF012 - read, never written
    note: str = ""
    start: str = "initial"
