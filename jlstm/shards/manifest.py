"""The folder of an evaluation: what went in, and what is finished.

evaluation.json             networks, options, shards, versions: enough to go on
predictions/SHARD.parquet   the answers to the sequences of a file
records/SHARD.json          written last: the shard is finished; hash, counts, errors
failed/SHARD.json           the shard could not be read, and why
claims/                     who is computing what; gone when the run has ended
summary.json                all of it in a few figures, once the run has ended

A shard is known by its size and the hash of its first and last 64 KiB: the whole file
of what is smaller, and little to read of what is not.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import msgspec

from ..errors import DamagedFile, InputError
from ..formats import native
from .sources import Source

PACKAGES = ("jlstm", "jax", "jaxlib", "numpy", "pyarrow")
ENDS = 1 << 16
"""Bytes at either end of a file that its hash is of."""
FOLDERS = ("predictions", "records", "failed", "claims", "scores")
SCORES = (".parquet", ".npz")
"""Files of a shard in `scores`: a row a sequence, and the worst of them."""
RUN = "run"
"""The claim of who conducts the run."""


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All that decides which numbers come out, but for the networks and the data."""

    inputs: tuple[str, ...] = ()
    """Columns or variables that go in."""
    targets: tuple[str, ...] = ()
    """Columns or variables that the answers are compared with."""
    sequence: str | None = None
    """The column that says which sequence a row is of."""
    padding: dict[str, Any] | None = None
    """What MATLAB does with sequences of different length."""
    batch_size: int | Literal["auto"] = "auto"
    """Sequences that are computed side by side."""
    engine: str = "auto"
    """What runs recurrent layers."""
    precision: str = "auto"
    """Arithmetic to compute in."""
    quantiles: tuple[float, ...] | None = None
    """Of an ensemble; None for a single network."""
    worst: int = 10
    """Sequences that the report shows."""


class Net(msgspec.Struct, frozen=True, kw_only=True):
    """Where a network is from."""

    file: str
    sha256: str
    variable: str | None = None
    layers: str | None = None
    layers_sha256: str | None = None


class Shard(msgspec.Struct, frozen=True, kw_only=True):
    """A file of sequences."""

    name: str
    size: int
    sha256_of_ends: str


class Evaluation(msgspec.Struct, frozen=True, kw_only=True):
    """What a run was begun with."""

    networks: tuple[Net, ...]
    source: str
    shards: tuple[Shard, ...]
    passed_over: int
    options: Options
    versions: dict[str, str]

    def path(self, shard: str) -> Path:
        """Where a shard lies."""
        source = Path(self.source)
        alone = source.name == shard and not source.is_dir()
        return source if alone else source / shard


def of(
    networks: Sequence[Net], data: Path, source: Source, options: Options
) -> Evaluation:
    """What a run is begun with; every file is looked at.

    Raises:
        InputError: a file cannot be read.
    """
    return Evaluation(
        networks=tuple(networks),
        source=str(data.resolve()),
        shards=tuple(fingerprint(path) for path in source.files),
        passed_over=source.passed_over,
        options=options,
        versions={name: version(name) for name in PACKAGES},
    )


def fingerprint(path: Path) -> Shard:
    """What a file is known by.

    Raises:
        InputError: it cannot be read.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            digest = hashlib.sha256(file.read(ENDS))
            file.seek(max(ENDS, size - ENDS))
            digest.update(file.read(ENDS))
    except OSError as error:
        raise InputError("cannot be read", file=path, found=error.strerror) from None
    return Shard(name=path.name, size=size, sha256_of_ends=digest.hexdigest())


def sha256(path: Path) -> str:
    """The hash of a whole file.

    Raises:
        InputError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError("cannot be read", file=path, found=error.strerror) from None


class Folder:
    """The folder of a run.

    Arguments:
        out: where it is, or will be.
    """

    def __init__(self, out: Path) -> None:
        self.out = out

    @property
    def plan(self) -> Path:
        """What the run was begun with."""
        return self.out / "evaluation.json"

    @property
    def claims(self) -> Path:
        """Who is computing what."""
        return self.out / "claims"

    def result(self, shard: str) -> Path:
        """The answers to a shard."""
        return self.out / "predictions" / f"{shard}.parquet"

    def record(self, shard: str) -> Path:
        """What is there once a shard is finished."""
        return self.out / "records" / f"{shard}.json"

    def failure(self, shard: str) -> Path:
        """What is there once a shard is set aside."""
        return self.out / "failed" / f"{shard}.json"

    def score(self, shard: str, suffix: str) -> Path:
        """Errors of a shard, sequence by sequence."""
        return self.out / "scores" / f"{shard}{suffix}"

    def settled(self, shard: str) -> bool:
        """Whether a shard is finished or set aside."""
        return self.record(shard).exists() or self.failure(shard).exists()

    def begin(self, evaluation: Evaluation) -> None:
        """Write what the run is begun with, into a folder that is new or empty.

        Raises:
            InputError: there is a run in it, or something else.
        """
        self.require_new()
        for name in FOLDERS:
            native.make_folder(self.out / name)
        native.write_whole(self.plan, as_json(msgspec.to_builtins(evaluation)))

    def require_new(self) -> None:
        """Refuse a folder in which there is a run, or anything else.

        But for what a beginning leaves there that was killed.

        Raises:
            InputError: there is.
        """
        if self.plan.exists():
            raise InputError(
                "there is an evaluation in this folder already",
                file=self.out,
                do="go on with it: --resume, or name another --out",
            )
        if self.out.exists() and not self.out.is_dir():
            raise InputError("not a folder", file=self.out)
        for path in sorted(self.out.iterdir()) if self.out.is_dir() else ():
            bare = path.name in FOLDERS and path.is_dir()
            empty = bare and (path.name == "claims" or not any(path.iterdir()))
            if not (empty or path.match(native.PART)):
                raise InputError(
                    "the folder of an evaluation has to be new or empty",
                    file=self.out,
                    found=path.name,
                    do="name another --out",
                )

    def evaluation(self) -> Evaluation:
        """What the run was begun with.

        Raises:
            InputError: there is no run.
            DamagedFile: its record is not whole.
        """
        if not self.plan.is_file():
            raise InputError("there is no evaluation in this folder", file=self.out)
        return _decoded(self.plan, Evaluation)

    def moved(self, now: Evaluation) -> None:
        """Note where networks and data lie now; other processes look there."""
        then = self.evaluation()
        now = msgspec.structs.replace(now, versions=then.versions)
        if now != then:
            native.write_whole(self.plan, as_json(msgspec.to_builtins(now)))

    def require_same(self, now: Evaluation) -> list[str]:
        """Refuse to go on with other networks, options or data.

        Returns:
            notes on what differs and is no reason to refuse: versions.

        Raises:
            InputError: something has changed since the run began.
        """
        then = self.evaluation()
        for place, old, new in _compared(then, now):
            if old != new:
                raise InputError(
                    "this has changed since the evaluation was begun",
                    file=self.plan,
                    place=place,
                    found=new,
                    expected=old,
                    do="go on with what it was, or begin anew in another --out",
                )
        return [
            f"begun with {name} {old}, goes on with {now.versions[name]}"
            for name, old in then.versions.items()
            if now.versions.get(name) not in (old, None)
        ]

    def tidy(self, evaluation: Evaluation) -> list[str]:
        """Make a run that was killed ready to go on; only while nobody computes.

        Parts of files and claims are removed, finished results held against their
        hashes, and what had been set aside will be tried again.

        Returns:
            the shards whose results were not as their records say.
        """
        for name in FOLDERS:
            native.make_folder(self.out / name)
        self._remove((".", *FOLDERS), self.claims, self.out / "failed")
        wrong = []
        for shard in evaluation.shards:
            record = self.record(shard.name)
            if record.exists() and not self._whole(shard.name):
                record.unlink()
                wrong.append(shard.name)
        return wrong

    def _whole(self, shard: str) -> bool:
        try:
            record = json.loads(self.record(shard).read_bytes())
            kept = [self.score(shard, suffix) for suffix in SCORES]
            there = record["tally"] is None or all(path.is_file() for path in kept)
            return there and record["sha256"] == sha256(self.result(shard))
        except (OSError, ValueError, KeyError, TypeError):
            return False

    def records(self, evaluation: Evaluation) -> Iterator[dict[str, Any]]:
        """What is known of each finished shard, in their order."""
        return self._all(evaluation, self.record)

    def failures(self, evaluation: Evaluation) -> Iterator[dict[str, Any]]:
        """The shards that were set aside, and why."""
        return self._all(evaluation, self.failure)

    def _all(self, evaluation: Evaluation, where: Any) -> Iterator[dict[str, Any]]:
        for shard in evaluation.shards:
            path = where(shard.name)
            if path.exists():
                yield json.loads(path.read_bytes())

    def left(self, evaluation: Evaluation) -> list[str]:
        """The shards that are neither finished nor set aside."""
        done = {p.name for k in ("records", "failed") for p in _listed(self.out / k)}
        return [s.name for s in evaluation.shards if f"{s.name}.json" not in done]

    def end(self) -> None:
        """Remove what is only there while a run goes on; only by who conducts it."""
        self._remove((*FOLDERS,), self.claims)
        for name in ("failed", "scores"):
            with suppress(OSError):
                (self.out / name).rmdir()  # which it is not, unless it is empty

    def _remove(self, parts: tuple[str, ...], *folders: Path) -> None:
        """Remove parts of files, and what lies in folders but the claim of the run."""
        for name in parts:
            native.remove_parts(self.out / name)
        for folder in folders:
            for path in folder.iterdir():
                if path != self.claims / f"{RUN}.json":
                    with suppress(OSError):
                        path.unlink()


def as_json(value: Any, indent: int | None = 2) -> bytes:
    """JSON without NaN; indented for people to read."""
    return (json.dumps(value, indent=indent, allow_nan=False) + "\n").encode()


def _listed(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except FileNotFoundError:
        return []


def _decoded(path: Path, kind: type[Evaluation]) -> Evaluation:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DamagedFile(
            "not a record of an evaluation", file=path, found=error
        ) from None


def _compared(then: Evaluation, now: Evaluation) -> Iterator[tuple[str, Any, Any]]:
    """Places, and what stands there in the one and in the other."""
    for name in Options.__struct_fields__:
        if name != "worst":
            yield (
                f"options.{name}",
                getattr(then.options, name),
                getattr(now.options, name),
            )
    yield "networks", len(then.networks), len(now.networks)
    for k, (old, new) in enumerate(zip(then.networks, now.networks, strict=True), 1):
        for name in ("sha256", "variable", "layers_sha256"):
            yield f"network {k}, {name}", getattr(old, name), getattr(new, name)
    before, after = ({s.name: s for s in e.shards} for e in (then, now))
    for name in sorted(before.keys() | after.keys()):
        old, new = (_known(shards.get(name)) for shards in (before, after))
        yield f"data, {name}", old, new


def _known(shard: Shard | None) -> str:
    if shard is None:
        return "no such file"
    return f"{shard.size} bytes, {shard.sha256_of_ends[:16]}"
