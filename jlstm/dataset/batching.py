"""Mini-batches of windows: of one length each, or padded as MATLAB pads them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np

from ..config import FineTuneConfig
from .kinds import Batch, Recording


def batches(
    windows: Sequence[Recording],
    config: FineTuneConfig,
    epoch: int,
    *,
    drop_last: bool,
    classes: bool = False,
) -> Iterator[Batch]:
    """The mini-batches of one epoch, which follow from the seed and the epoch alone.

    The order is that of the windows, or drawn by `default_rng([seed, epoch])`; with
    `shuffle="once"` every epoch has that of epoch 0.

    With exact semantics all sequences of a batch have the same length and nothing is
    padded in time. Windows of one length, N of them, make `ceil(N / mini_batch_size)`
    batches of `ceil` of the Nth part each, all of one shape: where the division
    leaves a rest, batches are filled up by one sequence of weight 0. With `drop_last`
    they are of `min(mini_batch_size, N)` and what does not fill one is left out. The
    batches of all lengths are then shuffled among each other. So there is one shape
    for every length, the same in every epoch.

    With MATLAB's semantics batches are of `min(mini_batch_size, len(windows))`, in the
    order drawn, and padded to the longest of the batch with
    `config.sequence_padding_value` on `config.sequence_padding_direction`, inputs and
    targets. The last incomplete one is discarded with `drop_last`, as MATLAB does in
    training, and is smaller otherwise. Padded steps weigh 1 with
    `config.score_padding`, else 0. Shapes follow from which lengths meet.

    Arguments:
        windows: what `windows` returns.
        config: batch size, order, padding.
        epoch: which one, from 0.
        drop_last: leave incomplete batches out.
        classes: targets are one-hot, and padded with 0 whatever the padding value.

    Source: `trainNetwork` and `trainingOptions` of MATLAB, SequencePaddingValue.
    """
    rng = _rng(config, epoch)
    order = np.arange(len(windows)) if rng is None else rng.permutation(len(windows))
    chosen = [windows[k] for k in order.tolist()]
    size = config.mini_batch_size
    if config.semantics == "matlab":
        for group in _chunks(chosen, size, drop_last):
            yield _padded_batch(group, config, 0.0 if classes else None)
        return
    buckets: dict[int, list[Recording]] = {}
    for window in chosen:
        buckets.setdefault(len(window.x), []).append(window)
    groups: list[tuple[list[Recording], int]] = []
    for bucket in buckets.values():
        if drop_last:
            groups += [(g, len(g)) for g in _chunks(bucket, size, True)]
            continue
        count = -(-len(bucket) // size)
        width = -(-len(bucket) // count)
        ends = [len(bucket) * k // count for k in range(count + 1)]
        groups += [(bucket[a:b], width) for a, b in pairwise(ends)]
    turn = np.arange(len(groups)) if rng is None else rng.permutation(len(groups))
    for k in turn.tolist():
        yield _filled_batch(*groups[k])


def _rng(config: FineTuneConfig, epoch: int) -> np.random.Generator | None:
    if config.shuffle == "never":
        return None
    return np.random.default_rng(
        [config.seed, 0 if config.shuffle == "once" else epoch]
    )


def _chunks(
    items: list[Recording], size: int, drop_last: bool
) -> Iterator[list[Recording]]:
    size = min(size, len(items)) or 1
    for start in range(0, len(items), size):
        if start + size <= len(items) or not drop_last:
            yield items[start : start + size]


def _filled_batch(group: list[Recording], size: int) -> Batch:
    """Sequences of one length, and copies of the first, of weight 0, up to a size."""
    group = group + [group[0]._replace(weights=np.zeros_like(group[0].weights))] * (
        size - len(group)
    )
    return _batch(*(np.stack(arrays) for arrays in list(zip(*group, strict=True))[1:]))


def _padded_batch(
    group: list[Recording], config: FineTuneConfig, target: float | None
) -> Batch:
    length = max(len(one.x) for one in group)
    value = config.sequence_padding_value
    left = config.sequence_padding_direction == "left"

    def padded(array: np.ndarray, filler: float) -> np.ndarray:
        room = length - len(array)
        ends = ((room, 0) if left else (0, room), *[(0, 0)] * (array.ndim - 1))
        return np.pad(array, ends, constant_values=filler)

    x = np.stack([padded(one.x, value) for one in group])
    if group[0].answers_once:
        y, weights = (np.stack([one[k] for one in group]) for k in (2, 3))
    else:
        filler = value if target is None else target
        y = np.stack([padded(one.y, filler) for one in group])
        scored = float(config.score_padding)
        weights = np.stack([padded(one.weights, scored) for one in group])
    return _batch(x, y, weights)


def _batch(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> Batch:
    missing = np.isnan(y)
    zero = y.dtype.type(0)
    return Batch(
        x,
        np.where(missing, zero, y),
        np.where(missing, zero, weights),
        np.full(len(x), x.shape[1], np.int32),
    )
