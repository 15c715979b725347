"""Errors that say what was found, what was expected, and what to do."""

from __future__ import annotations

from pathlib import Path


class JlstmError(Exception):
    """Anything jlstm refuses, with the reason in words a user can act on.

    Arguments:
        summary: one sentence, what is wrong.
        file: the file it is wrong in.
        place: the path inside that file or network, `net.Layers{3}.Bias`.
        found: what stands there.
        expected: what should stand there.
        do: what the user can do about it.
    """

    def __init__(
        self,
        summary: str,
        *,
        file: str | Path | None = None,
        place: str | None = None,
        found: object = None,
        expected: object = None,
        do: str | None = None,
    ) -> None:
        self.summary = summary
        self.file = None if file is None else str(file)
        self.place = place
        self.found = None if found is None else str(found)
        self.expected = None if expected is None else str(expected)
        self.do = do
        super().__init__(summary)

    def __str__(self) -> str:
        where = ": ".join(part for part in (self.file, self.place) if part)
        lines = [f"{where}: {self.summary}" if where else self.summary]
        for word in ("found", "expected", "do"):
            value = getattr(self, word)
            if value is not None:
                lines.append(f"  {word + ':':<10}{value}")
        return "\n".join(lines)

    def within(
        self, *, file: str | Path | None = None, place: str | None = None
    ) -> JlstmError:
        """The same error, with the file or the outer place added where missing."""
        if self.file is None and file is not None:
            self.file = str(file)
        if place is not None:
            self.place = place if self.place is None else f"{place}.{self.place}"
        return self


class DamagedFile(JlstmError):
    """The bytes are not what the format promises: truncated, altered, renamed."""


class Unsupported(JlstmError):
    """The file is sound and says something that jlstm does not compute."""


class Ambiguous(JlstmError):
    """Several readings are possible and jlstm does not guess."""


class InputError(JlstmError, ValueError):
    """What the caller passed does not fit the network or the function."""
