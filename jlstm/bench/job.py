"""What a contestant is given: a folder with the network in every form, and the data.

The process that measures writes it, those of the contestants read it, with NumPy alone.
"""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import JlstmError, Unsupported
from . import series
from .accuracy import error

if TYPE_CHECKING:
    from .workloads import Workload

FORMATS = (".safetensors", ".onnx", ".keras", ".pt")
LEARN_RATE = 1e-3
"""Of Adam, for all."""


class Job:
    """A row as contestants see it.

    Arguments:
        folder: what `write` has written.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        given = json.loads((self.folder / "job.json").read_text("utf-8"))
        self.kind: str = given["kind"]
        self.dtype: str = given["dtype"]
        self.threads: list[int] = given["threads"]
        self.refused: dict[str, str] = given["refused"]
        self.x: np.ndarray = np.load(self.folder / "x.npy")
        self.target: np.ndarray = np.load(self.folder / "target.npy")

    @property
    def steps(self) -> int:
        """T."""
        return self.x.shape[1]

    def file(self, suffix: str) -> Path:
        """The network in one of the formats.

        Raises:
            Unsupported: the format does not hold it, or the precision is another one.
        """
        if suffix in self.refused:
            raise Unsupported(self.refused[suffix])
        return self.folder / f"net{suffix}"

    @cached_property
    def series(self) -> series.Series:
        """The layers with packed arrays.

        Raises:
            Unsupported: the network is no series of layers that every library has.
        """
        path = self.folder / "series.npz"
        if not path.is_file():
            raise Unsupported("built here only from LSTM, GRU, BiLSTM and dense layers")
        return series.load(path)

    def require_single(self) -> None:
        """Refuse double precision.

        Raises:
            Unsupported: the row is in double precision.
        """
        if self.dtype != "float32":
            raise Unsupported("measured in single precision only")

    def error(self, answers: dict[str, Any]) -> float:
        """How far answers are from the exact ones."""
        with np.load(self.folder / "exact.npz") as exact:
            return error(self.kind, answers, dict(exact))


def write(row: Workload, folder: Path, threads: list[int]) -> None:
    """Write a row for the contestants."""
    from .. import formats
    from .truth import exact

    net = row.network()
    x, target = row.data()
    refused = {}
    for suffix in FORMATS:
        try:
            formats.save(net, folder / f"net{suffix}")
        except JlstmError as problem:
            refused[suffix] = problem.summary
    parts = series.weights(net)
    if parts is not None:
        series.save(folder / "series.npz", parts)
    np.save(folder / "x.npy", x)
    np.save(folder / "target.npy", target)
    answers: Any = exact(net, row.kind, x, target)
    np.savez(folder / "exact.npz", **answers)
    told = {
        "kind": row.kind, "dtype": row.dtype, "threads": threads, "refused": refused,
    }  # fmt: skip
    (folder / "job.json").write_text(json.dumps(told), "utf-8")
