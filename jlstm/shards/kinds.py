"""What is read from a shard, and what is asked of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..config import Data
from ..dataset.checking import finish, finish_input
from ..dataset.kinds import Raw, Want
from ..dataset.tables import Table, find
from ..errors import InputError

SAY_WHICH = "name the columns to use: --inputs and --targets"


class Item(NamedTuple):
    """One sequence.

    Arguments:
        name: as its file calls it, or by its place there.
        x: `(time, *features)`, finite.
        y: targets, `(time, outputs)` or `(outputs,)`, NaN where one is missing; None
            where none are asked for.
    """

    name: str
    x: np.ndarray
    y: np.ndarray | None


class Ask(NamedTuple):
    """What is looked for in a file.

    Arguments:
        inputs: columns or variables that go in; all by default.
        targets: columns or variables to compare with; none by default.
        sequence: the column or variable that says which sequence a row is of.
    """

    inputs: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    sequence: str | None = None

    @property
    def data(self) -> Data:
        """The same for `dataset`."""
        return Data(inputs=self.inputs, targets=self.targets)

    def item(self, raw: Raw, want: Want) -> Item:
        """A sequence in the precision of the network, once it is known to fit.

        Raises:
            InputError: it does not.
        """
        if not self.targets:
            return Item(raw.name, finish_input(raw, want), None)
        found = finish(raw, want, self.data)
        return Item(found.name, found.x, found.y)


class Columns(NamedTuple):
    """Columns of a table by index."""

    inputs: list[int]
    targets: list[int]
    sequence: int | None

    @classmethod
    def of(cls, table: Table, ask: Ask, want: Want) -> Columns:
        """Those asked for; without names all are inputs that are nothing else.

        Raises:
            InputError: there is no such column, or they are not as many as the network
                has inputs and outputs.
        """
        inputs, targets = (
            [find(table, name) for name in names] for names in (ask.inputs, ask.targets)
        )
        sequence = None if ask.sequence is None else find(table, ask.sequence)
        chosen = [*inputs, *targets, *([] if sequence is None else [sequence])]
        if twice := [table.names[k] for k in {*chosen} if chosen.count(k) > 1]:
            raise InputError("a column twice", file=table.name, found=", ".join(twice))
        if not inputs:
            inputs = [k for k in range(len(table.names)) if k not in chosen]
        check_count(len(inputs), len(targets), table.listed(), want)
        return cls(inputs, targets, sequence)


def check_count(inputs: int, targets: int, listed: str, want: Want) -> None:
    """Refuse so many columns, if the network has others.

    Raises:
        InputError: they are not as many as its inputs and outputs.
    """
    answers: Sequence[int] = (want.y.channels, *((1,) if want.labelled else ()))
    if inputs != want.x.channels or (targets and targets not in answers):
        expected = f"{want.x.channels} inputs"
        if targets:
            expected += f" and {' or '.join(map(str, answers))} targets"
        raise InputError(
            "the columns do not fit the network",
            found=f"{inputs} inputs{f' and {targets} targets' * bool(targets)} of "
            f"{listed}",
            expected=expected,
            do=SAY_WHICH,
        )
    if want.x.space:
        raise InputError(
            "a table holds vectors, and the network takes images",
            do="write arrays: .npz or .h5",
        )
