"""Remedies for the scale of the input: normalised by half, twice, by other numbers."""

from __future__ import annotations

from .remedy import ANSWERS, DOC, Lines, Remedy, lines

_INPUT = DOC + "nnet.cnn.layer.sequenceinputlayer.html"
_TRAINED = (
    "https://imathworks.com/matlab/matlab-different-result-of-analytical-and-"
    "trained-ann-recurrent-neural-network"
)
_ONCE = (
    "Apply the normalisation of the input layer once: predict does it for you, a "
    "loop of your own has to do it."
)
_STORED = (
    "Normalise as the input layer does, with the statistics that are stored there."
)

# --- statistics of what is given, not of the training data ----------------------------

_BY_HAND = (
    "the input was scaled by hand {statistics_words}, which the network does not expect"
)
_BY_HAND_DO = (
    "Give the network the recorded values, or scale them with the statistics "
    "of its training data; never with those of the recording itself."
)
_INSTEAD = (
    "the input was scaled by hand {statistics_words}, and not with the statistics that "
    "the input layer has from the training data"
)
_INSTEAD_DO = (
    "Scale with the statistics that the input layer stores, or let predict do it; "
    "never with those of the recording itself."
)
_INSTEAD_MET = "https://datascience.stackexchange.com/questions/55273"
_EVERY, _EVERY_MATLAB = (
    "every = np.concatenate(sequences)\n",
    "every = cell2mat(sequences);\n",
)
_SPREAD = "X = (recording - m) / s", "X = (recording - m)./s;"
_RANGE = (
    "X = (recording - low) / (high - low)",
    "X = (recording - low)./(high - low);",
)
# How the scaling is written by hand, in Python and MATLAB.
_WAYS = {
    "own-sample": (
        "m, s = recording.mean(axis=0), recording.std(axis=0, ddof=1)\n" + _SPREAD[0],
        "m = mean(recording, 2);  s = std(recording, 0, 2);\n" + _SPREAD[1],
    ),
    "own-population": (
        "m, s = recording.mean(axis=0), recording.std(axis=0)\n" + _SPREAD[0],
        "m = mean(recording, 2);  s = std(recording, 1, 2);\n" + _SPREAD[1],
    ),
    "minmax": (
        "low, high = recording.min(axis=0), recording.max(axis=0)\n" + _RANGE[0],
        "low = min(recording, [], 2);  high = max(recording, [], 2);\n" + _RANGE[1],
    ),
    "minmax-symmetric": (
        "low, high = recording.min(axis=0), recording.max(axis=0)\n"
        "X = 2 * (recording - low) / (high - low) - 1",
        "low = min(recording, [], 2);  high = max(recording, [], 2);\n"
        "X = 2*(recording - low)./(high - low) - 1;",
    ),
    "all-sample": (
        _EVERY + "m, s = every.mean(axis=0), every.std(axis=0, ddof=1)\n" + _SPREAD[0],
        _EVERY_MATLAB + "m = mean(every, 2);  s = std(every, 0, 2);\n" + _SPREAD[1],
    ),
    "all-population": (
        _EVERY + "m, s = every.mean(axis=0), every.std(axis=0)\n" + _SPREAD[0],
        _EVERY_MATLAB + "m = mean(every, 2);  s = std(every, 1, 2);\n" + _SPREAD[1],
    ),
    "all-minmax": (
        _EVERY + "low, high = every.min(axis=0), every.max(axis=0)\n" + _RANGE[0],
        _EVERY_MATLAB
        + "low = min(every, [], 2);  high = max(every, [], 2);\n"
        + _RANGE[1],
    ),
}


def _by_hand(python: str, matlab: str) -> Remedy:
    """Scaled by hand, and normalised by the input layer after that."""
    return Remedy(
        _BY_HAND,
        _BY_HAND_DO,
        Lines(python, "X = recording"),
        Lines(matlab, "X = recording;"),
        _TRAINED,
    )


def _instead(python: str, matlab: str) -> Remedy:
    """Scaled by hand in place of the normalisation of the input layer."""
    return Remedy(
        _INSTEAD,
        _INSTEAD_DO,
        Lines(
            python + "\n# ...\nx = X[t]",
            "X = recording\n# ...\nx = X[t]\nx = (x - mu) / sigma",
        ),
        Lines(
            matlab + "\n% ...\nx = X(:,t);",
            "X = recording;\n% ...\nx = X(:,t);\nx = (x - mu)./sigma;",
        ),
        _INSTEAD_MET,
    )


_STANDARDISED = {
    "standardised": _by_hand(*_WAYS["own-sample"]),
    **{
        f"standardised:{way}": _by_hand(*code)
        for way, code in _WAYS.items()
        if way != "own-sample"
    },
    **{f"standardised:instead-{way}": _instead(*code) for way, code in _WAYS.items()},
}

# --- half of what the input layer does ------------------------------------------------


def _partial(finding: str, python: str, matlab: str) -> Remedy:
    return Remedy(
        finding,
        _STORED,
        Lines(python, "x = (x - mu) / sigma"),
        Lines(matlab, "x = (x - mu)./sigma;"),
        _INPUT,
    )


_UNIT = "x = (x - low) / (high - low)", "x = (x - low)./(high - low);"
_SYMMETRIC = (
    "x = 2 * (x - low) / (high - low) - 1",
    "x = 2*(x - low)./(high - low) - 1;",
)
_PARTIAL = {
    "normalisation-partial": _partial(
        "the mean of the input layer is subtracted from the input, but nothing is "
        "divided by the standard deviation",
        "x = x - mu",
        "x = x - mu;",
    ),
    "normalisation-partial:std-only": _partial(
        "the input is divided by the standard deviation of the input layer without "
        "subtracting the mean before",
        "x = x / sigma",
        "x = x./sigma;",
    ),
    "normalisation-partial:variance": _partial(
        "the input, less its mean, is divided by the variance where the input layer "
        "divides by its root, the standard deviation",
        "x = (x - mu) / sigma**2",
        "x = (x - mu)./sigma.^2;",
    ),
    "normalisation-partial:multiplied": _partial(
        "the input, less its mean, is multiplied by the standard deviation where the "
        "input layer divides by it",
        "x = (x - mu) * sigma",
        "x = (x - mu).*sigma;",
    ),
    "normalisation-partial:symmetric": Remedy(
        "the input is rescaled to -1 ... 1 where the input layer rescales to 0 ... 1",
        _STORED,
        Lines(_SYMMETRIC[0], _UNIT[0]),
        Lines(_SYMMETRIC[1], _UNIT[1]),
        _INPUT,
    ),
    "normalisation-partial:zero-one": Remedy(
        "the input is rescaled to 0 ... 1 where the input layer rescales to -1 ... 1",
        _STORED,
        Lines(_UNIT[0], _SYMMETRIC[0]),
        Lines(_UNIT[1], _SYMMETRIC[1]),
        _INPUT,
    ),
}

SCALING = {
    "normalisation-omitted": Remedy(
        "the input goes in as it was recorded, without the normalisation of the input "
        "layer",
        _ONCE,
        lines(
            "x = X[t]",
            """
            x = X[t]
            x = (x - mu) / sigma
            """,
        ),
        lines(
            "x = X(:,t);",
            """
            x = X(:,t);
            x = (x - mu)./sigma;
            """,
        ),
        _TRAINED,
    ),
    "normalisation-twice": Remedy(
        "the input is normalised by hand and once more by the input layer",
        _ONCE,
        lines(
            """
            x = (x - mu) / sigma
            x = (x - mu) / sigma
            """,
            "x = (x - mu) / sigma",
        ),
        lines(
            """
            x = (x - mu)./sigma;
            x = (x - mu)./sigma;
            """,
            "x = (x - mu)./sigma;",
        ),
        ANSWERS + "2068661",
    ),
    **_PARTIAL,
    **_STANDARDISED,
    "input-affine": Remedy(
        "the input is {slope} times the recorded one, moved by {offset} (other units, "
        "or a scaling by hand)",
        "Give the network the values in the units of its training data.",
        lines("X = {slope} * recording {plus}", "X = recording"),
        lines("X = {slope}*recording {plus};", "X = recording;"),
        _TRAINED,
    ),
    "std-ddof": Remedy(
        "the standard deviation of the input was computed with n in place of n - 1",
        "Use std of MATLAB as it is, or np.std with ddof=1; or read mean and standard "
        "deviation from the network.",
        lines("sigma = train.std(axis=0)", "sigma = train.std(axis=0, ddof=1)"),
        lines("sigma = std(train, 1, 2);", "sigma = std(train, 0, 2);"),
        "https://www.mathworks.com/help/matlab/ref/std.html",
    ),
    "std-ddof:inverse": Remedy(
        "the standard deviation of the input was computed with n - 1 in place of n",
        "Use np.std as it is, or std(train,1,2) in MATLAB; or read mean and standard "
        "deviation from the network.",
        lines("sigma = train.std(axis=0, ddof=1)", "sigma = train.std(axis=0)"),
        lines("sigma = std(train, 0, 2);", "sigma = std(train, 1, 2);"),
        "https://www.mathworks.com/help/matlab/ref/std.html",
    ),
}
