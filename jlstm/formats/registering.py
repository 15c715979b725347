"""Tables that are filled where their entries are defined."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

Entry = TypeVar("Entry", bound=Callable)


def entering(table: dict[type, Entry]) -> Callable[..., Callable[[Entry], Entry]]:
    """What enters functions into a table, each under the classes it is for."""

    def under(*classes: type) -> Callable[[Entry], Entry]:
        def register(function: Entry) -> Entry:
            table.update(dict.fromkeys(classes, function))
            return function

        return register

    return under
