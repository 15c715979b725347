"""Remedies for the length of the input: moved, padded, cut, steps left out."""

from __future__ import annotations

from itertools import product

from .remedy import DOC, GITHUB, Lines, Remedy

_INPUT = DOC + "nnet.cnn.layer.sequenceinputlayer.html"
_RIGHT = "X = recording"
_RIGHT_MATLAB = "X = recording;"
# Zeros are put in after this where they stand for the mean.
_BY_HAND = "X = (recording - mu) / sigma"
_BY_HAND_MATLAB = "X = (recording - mu)./sigma;"

# --- moved ----------------------------------------------------------------------------

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


def _shift_by_hand(python: str, matlab: str) -> Remedy:
    return Remedy(
        _SHIFT,
        _SHIFT_DO,
        Lines(f"{_BY_HAND}\n{python}", _BY_HAND),
        Lines(f"{_BY_HAND_MATLAB}\n{matlab}", _BY_HAND_MATLAB),
        _INPUT,
    )


_SHIFTS = {
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
    "time-shift:late-neutral": _shift_by_hand(
        "X = np.vstack([np.zeros(({k}, C)), X[:-{k}]])",
        "X = [zeros(C,{k}), X(:,1:end-{k})];",
    ),
    "time-shift:early-neutral": _shift_by_hand(
        "X = np.vstack([X[{k}:], np.zeros(({k}, C))])",
        "X = [X(:,{k}+1:end), zeros(C,{k})];",
    ),
}

# --- padded ---------------------------------------------------------------------------

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


def _pad_by_hand(finding: str, python: str, matlab: str) -> Remedy:
    return Remedy(
        finding,
        _PADDED_DO,
        Lines(f"{_BY_HAND}\n{python}", _BY_HAND),
        Lines(f"{_BY_HAND_MATLAB}\n{matlab}", _BY_HAND_MATLAB),
        _MASKLESS,
    )


_PADS = {
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
    "padding:left-neutral": _pad_by_hand(
        _PADDED,
        "X = np.vstack([np.zeros(({steps}, C)), X])",
        "X = [zeros(C, {steps}), X];",
    ),
    "padding:right-neutral": _pad_by_hand(
        _PADDED,
        "X = np.vstack([X, np.zeros(({steps}, C))])",
        "X = [X, zeros(C, {steps})];",
    ),
    "padding:mates-left-neutral": _pad_by_hand(
        _MATES,
        _FILL + "X = np.vstack([np.zeros((n, C)), X])",
        _FILL_MATLAB + "X = [zeros(C, n), X];",
    ),
    "padding:mates-right-neutral": _pad_by_hand(
        _MATES,
        _FILL + "X = np.vstack([X, np.zeros((n, C))])",
        _FILL_MATLAB + "X = [X, zeros(C, n)];",
    ),
}

# --- all of one length ----------------------------------------------------------------

_FIXED = "sequences are brought to {length} steps: "
_LOST = {
    "left": "longer ones lose their first steps",
    "right": "longer ones lose their last steps",
}
_FILLED = {
    "left": "shorter ones are filled up with {value} before their first step",
    "right": "shorter ones are filled up with {value} after their last step",
}
_FIXED_DO = (
    "Predict each sequence alone and in its full length, MiniBatchSize=1 in MATLAB; "
    "pad_sequences of Keras cuts and fills at the front unless it is told otherwise."
)
_FIXED_MET = GITHUB + "keras-team/keras/issues/287"
_CUT = {
    "left": ("X = {x}[-{{length}}:]", "X = {x}(:, max(end-{{length}}+1, 1):end);"),
    "right": ("X = {x}[:{{length}}]", "X = {x}(:, 1:min({{length}}, end));"),
}
_SIDES = {
    "left": ("X = np.vstack([{rows}, X])", "X = [{rows}, X];"),
    "right": ("X = np.vstack([X, {rows}])", "X = [X, {rows}];"),
}
_ROWS = {
    False: (
        "np.full(({length} - len(X), C), {value})",
        "repmat({value}, C, {length} - size(X,2))",
    ),
    True: (
        "np.zeros(({length} - len(X), C))",
        "zeros(C, {length} - size(X,2))",
    ),
}


def _fixed(cut: str | None, side: str | None, neutral: bool) -> Remedy:
    """Longer sequences cut at one end, shorter ones filled up at one side."""
    scaled = (_BY_HAND, _BY_HAND_MATLAB) if neutral else (_RIGHT, _RIGHT_MATLAB)

    def code(k: int) -> Lines:
        # Without a scaling by hand the first change reads the recording itself.
        wrong = [scaled[k]] if neutral or cut is None else []
        if cut is not None:
            wrong.append(_CUT[cut][k].format(x="X" if wrong else "recording"))
        if side is not None:
            wrong.append(_SIDES[side][k].format(rows=_ROWS[neutral][k]))
        return Lines("\n".join(wrong), scaled[k])

    said = [_LOST[cut]] if cut else []
    said += [_FILLED[side]] if side else []
    finding = _FIXED + " and ".join(said)
    return Remedy(finding, _FIXED_DO, code(0), code(1), _FIXED_MET)


def _fixed_forms() -> dict[str, Remedy]:
    forms = {}
    ends = (None, "left", "right")
    for cut, side, neutral in product(ends, ends, (False, True)):
        if (cut is None and side is None) or (side is None and neutral):
            continue
        said = [f"cut-{cut}"] if cut else []
        said += [f"side-{side}"] if side else []
        said += ["neutral"] if neutral else []
        forms["fixed-length:" + "-".join(said)] = _fixed(cut, side, neutral)
    # What Keras does unless it is told otherwise is the plain form.
    return {"fixed-length": forms.pop("fixed-length:cut-left-side-left"), **forms}


# --- too short ------------------------------------------------------------------------


def _short(finding: str, do: str, python: str, matlab: str) -> Remedy:
    return Remedy(
        finding, do, Lines(python, _RIGHT), Lines(matlab, _RIGHT_MATLAB), _INPUT
    )


LENGTHS = {
    **_SHIFTS,
    **_PADS,
    **_fixed_forms(),
    "steps-dropped": _short(
        "the first {dropped} missing",
        "Give the network the whole recording, from the step on which it was trained.",
        "X = recording[{k}:]",
        "X = recording(:,{k}+1:end);",
    ),
    "steps-dropped:last": _short(
        "the last {dropped} missing",
        "Give the network the whole recording, up to the step it is asked about.",
        "X = recording[:-{k}]",
        "X = recording(:,1:end-{k});",
    ),
}
