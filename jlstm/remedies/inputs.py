"""Remedies for the order of the input: features, steps, memory, sequences."""

from __future__ import annotations

from .remedy import DOC, GITHUB, Lines, Remedy, lines

_INPUT = DOC + "nnet.cnn.layer.sequenceinputlayer.html"
_RIGHT = "X = recording"
_RIGHT_MATLAB = "X = recording;"


def _other(
    finding: str, do: str, python: str, matlab: str, reference: str = _INPUT
) -> Remedy:
    return Remedy(
        finding, do, Lines(python, _RIGHT), Lines(matlab, _RIGHT_MATLAB), reference
    )


# The numbers of a recording as a list: how it is cut into steps again.
_BY_STEP = "X = numbers.reshape(T, C)", "X = reshape(numbers, C, T);"
_BY_FEATURE = 'X = numbers.reshape(T, C, order="F")', "X = reshape(numbers, T, C)';"
_MEMORY_DO = (
    "Fill the array in the order in which the numbers were written: NumPy goes row by "
    "row, MATLAB column by column."
)
_MEMORY_MET = GITHUB + "jessicayung/blog-code-snippets/issues/6"

_REORDERED = "the sequences are given in another order than the answers: {order}"
_REORDERED_DO = (
    "Give the sequences in the order of the recorded answers; names of files sorted as "
    'text come as "1", "10", "2".'
)
_PREDICT = DOC + "seriesnetwork.predict.html"
_AS_TEXT = "https://www.mathworks.com/matlabcentral/fileexchange/34464"


def _reordered(
    finding: str, python: str, matlab: str, reference: str = _PREDICT
) -> Remedy:
    return Remedy(
        _REORDERED + finding,
        _REORDERED_DO,
        lines(python, "recordings = sequences"),
        lines(matlab, "recordings = sequences;"),
        reference,
    )


_FROZEN = "every step is given the {step} step of the recording"
_FROZEN_DO = "Give row t of the recording to step t, not the same row to all."

INPUTS = {
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
    "input-memory-order": Remedy(
        "the numbers of the recording, listed step by step, are filled in feature by "
        "feature (memory order)",
        _MEMORY_DO,
        Lines(_BY_FEATURE[0], _BY_STEP[0]),
        Lines(_BY_FEATURE[1], _BY_STEP[1]),
        _MEMORY_MET,
    ),
    "input-memory-order:rows": Remedy(
        "the numbers of the recording, listed feature by feature, are filled in step "
        "by step (memory order)",
        _MEMORY_DO,
        Lines(_BY_STEP[0], _BY_FEATURE[0]),
        Lines(_BY_STEP[1], _BY_FEATURE[1]),
        _MEMORY_MET,
    ),
    "sequences-reordered": _reordered(
        ", counted from 0",
        """
        order = {order}
        recordings = [sequences[j] for j in order]
        """,
        """
        order = {order};
        recordings = sequences(order);
        """,
    ),
    "sequences-reordered:long": _reordered(
        ", counted from 0",
        "recordings = [sequences[j] for j in order]",
        "recordings = sequences(order);",
    ),
    "sequences-reordered:text": _reordered(
        ", counted from 0 (names with numbers, sorted as text)",
        """
        names = [str(k + 1) for k in range(len(sequences))]
        recordings = [sequences[j] for j in np.argsort(names)]
        """,
        """
        names = arrayfun(@num2str, 1:numel(sequences), 'UniformOutput', false);
        [~, order] = sort(names);
        recordings = sequences(order);
        """,
        _AS_TEXT,
    ),
    "sequences-reordered:reversed": _reordered(
        ", counted from 0 (from the last to the first)",
        "recordings = sequences[::-1]",
        "recordings = sequences(end:-1:1);",
    ),
    "sequences-reordered:rotated": _reordered(
        ", counted from 0 (each comes {turned})",
        "recordings = sequences[{turn}:] + sequences[:{turn}]",
        "recordings = circshift(sequences, {turn});",
    ),
    "input-frozen": Remedy(
        _FROZEN,
        _FROZEN_DO,
        Lines("x = X[0]", "x = X[t]"),
        Lines("x = X(:,1);", "x = X(:,t);"),
        _INPUT,
    ),
    "input-frozen:last": Remedy(
        _FROZEN,
        _FROZEN_DO,
        Lines("x = X[-1]", "x = X[t]"),
        Lines("x = X(:,end);", "x = X(:,t);"),
        _INPUT,
    ),
}
