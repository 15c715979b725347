"""The folder of a run, seen from outside: is every file whole, where does it stand?"""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from safetensors import safe_open

import jlstm as jl

PART = re.compile(r"\.[0-9a-f]{16}\.tmp")
# Pictures and pages are drawn from the rest, and may say when: not compared.
SHOWN = (".png", ".html")
RESULTS = ("net.safetensors", "last.safetensors", "result.json")
WRITERS = {
    "checkpoint.safetensors": b"jlstm checkpoint",
    "net.safetensors or last.safetensors": b'"structure"',
    "log.jsonl": b'{"epoch"',
    "run.json": b'"sha256"',
    "result.json": b'"history"',
    "config.toml": b"semantics =",
}


class Look(NamedTuple):
    """What was seen.

    files: time of the last change, by name.
    parts: what is being written, by the name of the part that was left over.
    damaged: names under which something stands that is not whole, and why.
    log, checkpoint: the last epoch in each; -1 where there is none.
    """

    files: dict[str, int]
    parts: dict[str, str]
    damaged: dict[str, str]
    log: int
    checkpoint: int


def look(out: Path) -> Look:
    """Read every file of the folder to its end."""
    if not out.is_dir():
        return Look({}, {}, {}, -1, -1)
    files, parts, damaged, epochs = {}, {}, {}, {}
    for file in _files(out):
        if PART.fullmatch(file.name):
            parts[file.name] = written(file)
            continue
        files[file.name] = file.stat().st_mtime_ns
        try:
            epochs[file.name] = READERS[file.suffix](file)
        except Exception as error:
            damaged[file.name] = f"{type(error).__name__}: {error}"
    log = epochs.get("log.jsonl", -1)
    return Look(files, parts, damaged, log, epochs.get("checkpoint.safetensors", -1))


def _files(out: Path) -> list[Path]:
    """Of the folder itself: what lies below is appended to, and whole at no moment."""
    return sorted(file for file in out.iterdir() if file.is_file())


def written(part: Path) -> str:
    """Which file a part was to become."""
    head = part.read_bytes()[:20_000]
    for name, sign in WRITERS.items():
        if sign in head:
            return name
    return "not told by its bytes" if head else "still empty"


def last_epoch(log: Path) -> int:
    """The epoch in the last line of a log; -1 where there is none."""
    try:
        return json.loads(log.read_bytes().splitlines()[-1])["epoch"]
    except FileNotFoundError:
        return -1


def _log(file: Path) -> int:
    text = file.read_text("utf-8")
    rows = [json.loads(line) for line in text.splitlines()]
    if not text.endswith("\n") or [r["epoch"] for r in rows] != list(range(len(rows))):
        raise ValueError("lines are missing")
    return len(rows) - 1


def _json(file: Path) -> None:
    json.loads(file.read_text("utf-8"))


def _toml(file: Path) -> None:
    tomllib.loads(file.read_text("utf-8"))


def _picture(file: Path) -> None:
    data = file.read_bytes()
    if not (data.startswith(b"\x89PNG\r\n\x1a\n") and data[-8:-4] == b"IEND"):
        raise ValueError("no whole picture")


def _page(file: Path) -> None:
    if not file.read_text("utf-8").rstrip().endswith("</html>"):
        raise ValueError("no whole page")


def _safetensors(file: Path) -> int:
    if file.name != "checkpoint.safetensors":
        jl.load(file)  # verifies the checksum
        return -1
    _, notes = checkpoint(file)
    if notes["history"][-1]["epoch"] != notes["epoch"]:
        raise ValueError("the history does not end with the epoch")
    return notes["epoch"]


READERS: dict[str, Any] = {
    ".jsonl": _log,
    ".json": _json,
    ".toml": _toml,
    ".safetensors": _safetensors,
    ".png": _picture,
    ".html": _page,
}


def checkpoint(file: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Arrays and notes of a checkpoint, without the times that epochs took."""
    with safe_open(file, framework="np") as content:
        arrays = {name: content.get_tensor(name) for name in content.keys()}  # noqa: SIM118
        metadata = content.metadata()
    notes = json.loads(metadata["progress"])
    return arrays, _timeless(notes) | {"fingerprint": metadata["fingerprint"]}


def differences(one: Path, other: Path) -> list[str]:
    """Names of files in which two folders differ; times do not count, all bits do."""
    files = [file for folder in (one, other) for file in _files(folder)]
    names = {file.name for file in files if file.suffix not in SHOWN}
    return sorted(name for name in names if not _same(one / name, other / name))


def _same(one: Path, other: Path) -> bool:
    if not (one.exists() and other.exists()):
        return False
    if one.name == "checkpoint.safetensors":
        (a, notes), (b, others) = checkpoint(one), checkpoint(other)
        return notes == others and {k: _bits(v) for k, v in a.items()} == {
            k: _bits(v) for k, v in b.items()
        }
    if one.suffix == ".jsonl":
        a, b = (file.read_text("utf-8").splitlines() for file in (one, other))
        return [_timeless(json.loads(r)) for r in a] == [
            _timeless(json.loads(r)) for r in b
        ]
    if one.suffix == ".json":
        a, b = (json.loads(file.read_text("utf-8")) for file in (one, other))
        return _timeless(a) == _timeless(b)
    return one.read_bytes() == other.read_bytes()


def _bits(array: np.ndarray) -> tuple[str, tuple[int, ...], bytes]:
    return array.dtype.name, array.shape, array.tobytes()


def _timeless(value: Any) -> Any:
    """The same without the seconds that epochs took."""
    if isinstance(value, dict):
        return {k: _timeless(v) for k, v in value.items() if k != "seconds"}
    if isinstance(value, list):
        return [_timeless(one) for one in value]
    return value
