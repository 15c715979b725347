"""Remedies for mistakes before the first layer: scaling, order, padding."""

from __future__ import annotations

from .remedy import ANSWERS, DOC, GITHUB, Lines, Remedy, lines

_INPUT = DOC + "nnet.cnn.layer.sequenceinputlayer.html"
_TRAINED = (
    "https://imathworks.com/matlab/matlab-different-result-of-analytical-and-"
    "trained-ann-recurrent-neural-network"
)
_RIGHT = "X = recording"
_RIGHT_MATLAB = "X = recording;"
_BY_HAND = (
    "the input was scaled by hand {statistics_words}, which the network does not expect"
)
_BY_HAND_DO = (
    "Give the network the recorded values, or scale them with the statistics "
    "of its training data; never with those of the sequence itself."
)


def _by_hand(python: str, matlab: str) -> Remedy:
    own, own_matlab = lines(python, _RIGHT), lines(matlab, _RIGHT_MATLAB)
    return Remedy(_BY_HAND, _BY_HAND_DO, own, own_matlab, _TRAINED)


_SHIFT = "the input comes {k} {steps_word} too {direction}, {filled}"
_SHIFT_DO = (
    "Give row t of the recording to step t; count whether a row was dropped or "
    "added when the file was read."
)


def _shift(python: str, matlab: str) -> Remedy:
    return Remedy(
        _SHIFT,
        _SHIFT_DO,
        Lines(python, _RIGHT),
        Lines(matlab, _RIGHT_MATLAB),
        _INPUT,
    )


_PADDED = (
    "{steps} {steps_word} of {value} {stand} {place} the sequence and the network "
    "runs over the padding too"
)
_MATES = (
    "the sequence was filled up {place} with {value}, to the length of the longest "
    "sequence, and the network runs over the filling (padding of a mini-batch)"
)
_PADDED_DO = (
    "Predict each sequence alone and without padding, MiniBatchSize=1 in "
    "MATLAB; its LSTM has no mask."
)
_MASKLESS = GITHUB + "google/flax/issues/2170"
_FILL = "n = max(len(s) for s in sequences) - len(recording)\n"
_FILL_MATLAB = "n = max(cellfun(@(s) size(s,2), sequences)) - size(recording,2);\n"


def _pad(finding: str, python: str, matlab: str, reference: str) -> Remedy:
    return Remedy(
        finding,
        _PADDED_DO,
        Lines(python, _RIGHT),
        Lines(matlab, _RIGHT_MATLAB),
        reference,
    )


def _other(
    finding: str, do: str, python: str, matlab: str, reference: str = _INPUT
) -> Remedy:
    return Remedy(
        finding, do, Lines(python, _RIGHT), Lines(matlab, _RIGHT_MATLAB), reference
    )


_ONCE = (
    "Apply the normalisation of the input layer once: predict does it for you, a "
    "loop of your own has to do it."
)

INPUTS = {
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
    "standardised": _by_hand(
        """
        m, s = recording.mean(axis=0), recording.std(axis=0, ddof=1)
        X = (recording - m) / s
        """,
        """
        m = mean(recording, 2);  s = std(recording, 0, 2);
        X = (recording - m)./s;
        """,
    ),
    "standardised:own-population": _by_hand(
        """
        m, s = recording.mean(axis=0), recording.std(axis=0)
        X = (recording - m) / s
        """,
        """
        m = mean(recording, 2);  s = std(recording, 1, 2);
        X = (recording - m)./s;
        """,
    ),
    "standardised:minmax": _by_hand(
        """
        low, high = recording.min(axis=0), recording.max(axis=0)
        X = (recording - low) / (high - low)
        """,
        """
        low = min(recording, [], 2);  high = max(recording, [], 2);
        X = (recording - low)./(high - low);
        """,
    ),
    "standardised:minmax-symmetric": _by_hand(
        """
        low, high = recording.min(axis=0), recording.max(axis=0)
        X = 2 * (recording - low) / (high - low) - 1
        """,
        """
        low = min(recording, [], 2);  high = max(recording, [], 2);
        X = 2*(recording - low)./(high - low) - 1;
        """,
    ),
    "input-affine": _other(
        "the input is {slope} times the recorded one, moved by {offset} (other units, "
        "or a scaling by hand)",
        "Give the network the values in the units of its training data.",
        "X = {slope} * recording {plus}",
        "X = {slope}*recording {plus};",
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
    "time-reversed": _other(
        "the sequence goes in from its last step to its first",
        "Sort the recording by time, oldest first.",
        "X = recording[::-1]",
        "X = fliplr(recording);",
    ),
    "features-reversed": _other(
        "the features go in from the last to the first",
        "Keep the features in the order of the training data.",
        "X = recording[:, ::-1]",
        "X = flipud(recording);",
    ),
    "features-permuted": _other(
        "the features are in another order: {order}, counted from 0",
        "Keep the features in the order of the training data.",
        "X = recording[:, {order}]",
        "X = recording({order},:);",
    ),
    "transposed": _other(
        "time and features have changed places: the recording is transposed",
        "Give predict of trainNetwork features x time, minibatchpredict and jlstm time "
        "x features; a square recording gives no error.",
        "X = recording.T",
        "X = recording';",
        GITHUB + "pytorch/pytorch/issues/6879",
    ),
    "time-shift": _shift(
        "X = np.vstack([np.zeros(({k}, C)), recording[:-{k}]])",
        "X = [zeros(C,{k}), recording(:,1:end-{k})];",
    ),
    "time-shift:late-edge": _shift(
        "X = recording[np.maximum(np.arange(T) - {k}, 0)]",
        "X = recording(:, max((1:T) - {k}, 1));",
    ),
    "time-shift:early-zero": _shift(
        "X = np.vstack([recording[{k}:], np.zeros(({k}, C))])",
        "X = [recording(:,{k}+1:end), zeros(C,{k})];",
    ),
    "time-shift:early-edge": _shift(
        "X = recording[np.minimum(np.arange(T) + {k}, T - 1)]",
        "X = recording(:, min((1:T) + {k}, T));",
    ),
    "time-shift:late-roll": _shift(
        "X = np.roll(recording, {k}, axis=0)",
        "X = circshift(recording, {k}, 2);",
    ),
    "time-shift:early-roll": _shift(
        "X = np.roll(recording, -{k}, axis=0)",
        "X = circshift(recording, -{k}, 2);",
    ),
    "padding": _pad(
        _PADDED,
        "X = np.vstack([np.full(({steps}, C), {value}), recording])",
        "X = [repmat({value}, C, {steps}), recording];",
        GITHUB + "tensorflow/tensorflow/issues/49241",
    ),
    "padding:right": _pad(
        _PADDED,
        "X = np.vstack([recording, np.full(({steps}, C), {value})])",
        "X = [recording, repmat({value}, C, {steps})];",
        _MASKLESS,
    ),
    "padding:mates-left": _pad(
        _MATES,
        _FILL + "X = np.vstack([np.full((n, C), {value}), recording])",
        _FILL_MATLAB + "X = [repmat({value}, C, n), recording];",
        _MASKLESS,
    ),
    "padding:mates-right": _pad(
        _MATES,
        _FILL + "X = np.vstack([recording, np.full((n, C), {value})])",
        _FILL_MATLAB + "X = [recording, repmat({value}, C, n)];",
        _MASKLESS,
    ),
    "steps-dropped": _other(
        "the first {dropped} missing",
        "Give the network the whole recording, from the step on which it was trained.",
        "X = recording[{k}:]",
        "X = recording(:,{k}+1:end);",
    ),
    "steps-dropped:last": _other(
        "the last {dropped} missing",
        "Give the network the whole recording, up to the step it is asked about.",
        "X = recording[:-{k}]",
        "X = recording(:,1:end-{k});",
    ),
}
