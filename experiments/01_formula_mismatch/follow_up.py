"""Does an LSTM layer of MATLAB start every step from zero, as its user concluded?

Numbers that MATLAB recorded are the judge: predictions of four regression networks, and
the labels that `classify` gave to 176 sequences. Both readings are computed in NumPy.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from thread_loop import sigmoid

import jlstm as jl
from jlstm.formats.fields import strings
from jlstm.formats.matfile import MatFile


class Record(NamedTuple):
    """A network, what went in, what MATLAB recorded; `x (time, features)`."""

    name: str
    net: Any
    x: np.ndarray
    recorded: np.ndarray


REGRESSION = {
    "fenn/LSTM.mat": ("inputdataStandardized", "YPred"),
    "fenn/Hepatitis_B.mat": ("dataTrainStandardized", "Ytrainres"),
    "fenn/Varicella-Region.mat": ("dataTrainStandardized", "Ytrainres"),
    "story/net_story.mat": ("X", "YPred"),
}


def regression(nets: Path, name: str) -> Record:
    """A network with predictions that MATLAB recorded, in the network's own units."""
    file = MatFile(nets / name)
    given, expected = REGRESSION[name]
    recorded = np.asarray(file[expected], float)
    if name == "fenn/LSTM.mat":  # recorded in the units of the data
        recorded = (recorded - np.asarray(file["mu"])) / np.asarray(file["sig"])
    recorded = recorded.T if name != "fenn/Hepatitis_B.mat" else recorded
    x = np.asarray(file[given]).T
    return Record(name, jl.load(nets / name), x, recorded.reshape(len(x), -1))


def run(net: Any, x: np.ndarray, carried: bool, dtype: Any = np.float64) -> np.ndarray:
    """Networks of LSTM layers and one fully connected layer; `x (sequences, time, C)`.

    `carried`: h and c go on from step to step; otherwise every step starts from zero.
    """
    signal = np.asarray(x, dtype)
    for name in net.recurrent:
        arrays = jl.matlab_arrays(net.layers[name])
        w, r = (arrays[k].astype(dtype) for k in ("InputWeights", "RecurrentWeights"))
        b = arrays["Bias"].astype(dtype).ravel()
        h = c = zero = np.zeros((len(signal), r.shape[1]), dtype)
        outputs = []
        for t in range(signal.shape[1]):
            if not carried:
                h = c = zero
            i, f, g, o = np.split(signal[:, t] @ w.T + h @ r.T + b, 4, axis=1)
            c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
            h = sigmoid(o) * np.tanh(c)
            outputs.append(h)
        signal = np.stack(outputs, axis=1)
    if net.layers[net.recurrent[-1]].output_mode == "last":
        signal = signal[:, -1]
    fc = net.layers["fc"]
    return signal @ np.asarray(fc.weights, dtype).T + np.asarray(fc.bias, dtype)


class Classified(NamedTuple):
    """The compressor network, 176 sequences of 97 steps, and MATLAB's labels."""

    net: Any
    x: np.ndarray  # (176, 97, 10)
    labels: tuple[str, ...]

    def agreement(self, scores: np.ndarray) -> int:
        said = [self.net.classes[k] for k in np.argmax(scores, axis=1)]
        return sum(a == b for a, b in zip(said, self.labels, strict=True))


def compressor(nets: Path) -> Classified:
    """MathWorks' fault detection network, its validation data, `classify`'s labels."""
    folder = nets / "compressor"
    features = MatFile(folder / "ValidationFeatures.mat")["validationFeatures"]
    results = strings(MatFile(folder / "ValidationResults.mat")["validationResults"])
    x = np.stack([np.asarray(sequence).T for sequence in features])
    return Classified(jl.load(folder / "TrainedModel.mat"), x, results or ())


def by_column(net: Any, x: np.ndarray) -> np.ndarray:
    """`predict(net, X(:,t))` for t = 1..T: every call starts from the initial state."""
    return np.concatenate([np.asarray(jl.predict(net, x_t[None])) for x_t in x])
