"""Many sequences of any length through one network, or through an ensemble."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import jax
import numpy as np

from .errors import InputError
from .evaluating import slots, whole
from .evaluating.intake import Intake, Item
from .evaluating.members import QUANTILES, Spread, as_members, spread
from .evaluating.padding import MatlabPadding
from .evaluating.programs import Programs, as_mesh
from .kernels.engines import ENGINES
from .network import Network

__all__ = ["QUANTILES", "Evaluator", "MatlabPadding", "Spread", "evaluate", "spread"]

BATCH = {"cpu": 256}
"""Sequences of a batch on each device, by its platform."""
LARGE_BATCH = 1024
"""On platforms that are not listed."""
WINDOW = 2**24
"""Numbers of the inputs that are made ready at once."""


def evaluate(
    net: Network | Sequence[Network],
    sequences: Any,
    *,
    padding: MatlabPadding | None = None,
    batch_size: int | Literal["auto"] = "auto",
    mesh: Any = None,
    engine: str = "auto",
    quantiles: Sequence[float] = QUANTILES,
    callback: Callable[[int, int], Any] | None = None,
) -> Any:
    """Run a network over many sequences, of any lengths, in batches.

    What it answers to a sequence does not depend on which others there are: nothing
    that is filled in is looked at. To have MATLAB's numbers instead, for which that
    matters, give a `MatlabPadding`.

        ys = evaluate(net, [x1, x2, x3])                       # each (time, outputs)
        ys = evaluate(net, xs, padding=MatlabPadding(27))      # as predict(net, X,
                                                               # MiniBatchSize=27)
        [one.mean for one in evaluate([net1, net2], xs)]       # an ensemble

    Networks that go on from step to step take one compiled program, whatever the
    lengths; those that look ahead take one for each rung of a ladder of lengths; those
    with layers that look at the whole array, one for each length.

    Arguments:
        net: a network, or several of one architecture.
        sequences: a list of arrays `(time, features)`; of tuples or dicts, as for
            `predict`, for several inputs; of recordings, as `jlstm.dataset` reads them;
            or an array `(sequences, time, features)`.
        padding: what MATLAB does with sequences of different length.
        batch_size: sequences that are computed side by side, on all devices together.
        mesh: the devices, a `jax.sharding.Mesh` of one axis; all of this process by
            default.
        engine: what runs recurrent layers, as for `predict`.
        quantiles: of an ensemble.
        callback: called as `(done, all)`, in sequences, from time to time.

    Returns:
        the answers in the order of the sequences: a list of NumPy arrays as `predict`
        returns them, tuples for several outputs; an array where `sequences` is one. Of
        several networks every answer is a `Spread`.

    Raises:
        InputError: a sequence that does not fit, by its number; networks that differ.
        Unsupported: an engine was named that does not run the network.
    """
    evaluator = Evaluator(
        net, padding=padding, batch_size=batch_size, mesh=mesh, engine=engine
    )
    spread(np.zeros((1, 1)), quantiles)  # what it refuses is refused now
    answers = evaluator(sequences, callback=callback)
    if not isinstance(net, Network):
        answers = [
            tuple(spread(a, quantiles) for a in one)
            if isinstance(one, tuple)
            else spread(one, quantiles)
            for one in answers
        ]
    elif isinstance(sequences, np.ndarray | jax.Array) and sequences.dtype != object:
        return _as_one(answers, evaluator, len(sequences))
    return answers


class Evaluator:
    """`evaluate` for many calls: the network stays on its devices, programs are kept.

    Arguments: as of `evaluate`.

    Calling it with sequences returns the list of answers; of a list of networks, even
    of one, each array has a leading axis of members.
    """

    def __init__(
        self,
        net: Network | Sequence[Network],
        *,
        padding: MatlabPadding | None = None,
        batch_size: int | Literal["auto"] = "auto",
        mesh: Any = None,
        engine: str = "auto",
    ) -> None:
        self._nets = as_members(net)
        self._net = self._nets[0]
        self._alone = isinstance(net, Network)
        self._padding, self._mesh = padding, mesh
        self._given_size, self._engine = batch_size, engine
        self._intake = Intake(self._net)
        if engine not in ENGINES:
            raise InputError(
                "no such engine", found=repr(engine), expected=", ".join(ENGINES)
            )
        if padding is not None:
            _require_paddable(self._net)
        self._programs = Programs(self._nets, as_mesh(mesh), engine)
        self._size = _batch_size(batch_size, self._programs.devices)
        self._before = self._programs.compilations
        self._cuts = slots.goes_on(self._net)

    def __reduce__(self) -> Any:
        """Another process has devices of its own, and compiles for them."""
        if self._mesh is not None:
            raise InputError(
                "an evaluator with a mesh stays in its process",
                found="devices of this one",
                do="leave the mesh out, or make the evaluator where it is used",
            )
        net = self._net if self._alone else self._nets
        return _remade, (net, self._padding, self._given_size, self._engine)

    @property
    def compilations(self) -> int:
        """Programs that were compiled since this evaluator was made."""
        return self._programs.compilations - self._before

    def __call__(
        self, sequences: Any, *, callback: Callable[[int, int], Any] | None = None
    ) -> list[Any]:
        """The answers to the sequences, in their order."""
        items = self._intake(sequences)
        found: list[Any] = []
        for some in self._windows(items):
            for answer in self._answers(items[some]):
                parts = tuple(a[0] for a in answer) if self._alone else answer
                found.append(parts if len(self._net.outputs) > 1 else parts[0])
            if callback is not None:
                callback(len(found), len(items))
        return found

    def _answers(self, items: list[Item]) -> list[tuple[np.ndarray, ...]]:
        if self._padding is None or not items:
            return self._run(items, None)
        steps = [_steps(item) for item in items]
        rooms = self._padding.lengths(steps)
        padded = [
            self._padding.made(item, room)
            for item, room in zip(items, rooms, strict=True)
        ]
        timed = [self._net.shapes[ref].time for ref in self._net.outputs]
        return [
            tuple(
                self._padding.cut(a, count, room) if over_time else a
                for a, over_time in zip(answer, timed, strict=True)
            )
            for answer, count, room in zip(
                self._run(padded, self._padding.piece), steps, rooms, strict=True
            )
        ]

    def _run(
        self, items: list[Item], piece: int | None
    ) -> list[tuple[np.ndarray, ...]]:
        if not items:
            return []
        if self._cuts:
            return slots.run(self._programs, self._net, items, self._size)
        if piece is not None:
            return whole.run_in_pieces(
                self._programs, self._net, items, self._size, piece
            )
        return whole.run(self._programs, self._net, items, self._size)

    def _windows(self, items: list[Item]) -> Iterator[slice]:
        """Runs of sequences that are made ready at once: whole mini-batches of them."""
        unit = 1 if self._padding is None else self._padding.mini_batch_size
        start, numbers = 0, 0
        for k in range(0, len(items), unit):
            some = items[k : k + unit]
            if unit > 1:  # they are made as long as the longest of them
                more = len(some) * max(_numbers(item) for item in some)
            else:
                more = _numbers(some[0])
            if numbers and numbers + more > WINDOW:
                yield slice(start, k)
                start, numbers = k, 0
            numbers += more
        if items:
            yield slice(start, len(items))


def _remade(net: Any, padding: Any, batch_size: Any, engine: str) -> Evaluator:
    return Evaluator(net, padding=padding, batch_size=batch_size, engine=engine)


def _numbers(item: Item) -> int:
    return sum(a.size for a in item.values())


def _steps(item: Item) -> int:
    return len(next(iter(item.values())))


def _require_paddable(net: Network) -> None:
    for name in net.inputs:
        if not net.layers[name].shape().time:
            raise InputError(
                "there is no time to fill up",
                place=f"input '{name}'",
                found=str(net.layers[name].shape()),
                expected="sequences in every input",
            )


def _batch_size(given: Any, devices: int) -> int:
    if given == "auto":
        platform = jax.default_backend()
        return BATCH.get(platform, LARGE_BATCH) * devices
    if not isinstance(given, int | np.integer) or isinstance(given, bool) or given < 1:
        raise InputError(
            "not a batch size", found=repr(given), expected='a number from 1, or "auto"'
        )
    return -(-int(given) // devices) * devices


def _as_one(answers: list[Any], evaluator: Evaluator, count: int) -> Any:
    """The answers to one array of sequences as one array."""
    if not count:
        return answers
    if isinstance(answers[0], tuple):
        return tuple(np.stack(parts) for parts in zip(*answers, strict=True))
    return np.stack(answers)
