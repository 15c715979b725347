"""A run that can be killed: everything that it needs to go on, in one file.

The file is written beside and moved into place, so that there is a whole one at any
moment. What goes on from it ends with the same weights, bit for bit: batches and
dropout depend on the seed and on the number of the epoch and the step alone.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
import safetensors
import safetensors.numpy

from ..errors import DamagedFile, InputError
from ..formats.native import write_whole
from .loop import Progress
from .task import Task, init

FORMAT = "jlstm checkpoint 1"
NUMBERS = ("epoch", "best_epoch", "looks", "reason", "history")


def save(file: Path, progress: Progress, fingerprint: str) -> None:
    """Write a checkpoint; the one that was there is replaced by a whole new one.

    Arguments:
        file: where to.
        progress: where the run stands.
        fingerprint: of network, configuration and data, which must be the same on the
            way back.
    """
    arrays = {f"state{name}": leaf for name, leaf in _named(progress.state)}
    arrays |= {f"best{path}": a for path, a in progress.best.items()}
    notes = {name: getattr(progress, name) for name in NUMBERS}
    # A float as text loses bits and knows no infinity.
    notes["best_loss"] = float(progress.best_loss).hex()
    metadata = {
        "format": FORMAT,
        "fingerprint": fingerprint,
        "progress": json.dumps(notes),
    }
    arrays = {name: np.asarray(a) for name, a in arrays.items()}
    write_whole(file, safetensors.numpy.save(arrays, metadata))


def load(file: Path, task: Task, fingerprint: str) -> Progress:
    """Where the run stood.

    Raises:
        DamagedFile: the file is no whole checkpoint.
        InputError: it belongs to another network, configuration or other data.
    """
    try:
        with safetensors.safe_open(file, framework="np") as content:
            metadata = content.metadata() or {}
            arrays = {name: content.get_tensor(name) for name in content.keys()}  # noqa: SIM118
        notes = json.loads(metadata.get("progress", "{}"))
    except (OSError, ValueError, safetensors.SafetensorError) as error:
        raise DamagedFile("not a checkpoint", file=file, found=error) from None
    if metadata.get("format") != FORMAT:
        raise DamagedFile(
            "not a checkpoint", file=file, found=metadata.get("format"), expected=FORMAT
        )
    if metadata.get("fingerprint") != fingerprint:
        raise InputError(
            "the checkpoint belongs to another run",
            file=file,
            found=f"fingerprint {str(metadata.get('fingerprint'))[:12]}",
            expected=f"fingerprint {fingerprint[:12]}",
            do="resume with the same network, configuration and data, or begin anew in "
            "another folder",
        )
    like = init(task)
    names = [f"state{name}" for name, _ in _named(like)]
    best = {
        n.removeprefix("best"): a for n, a in arrays.items() if n.startswith("best")
    }
    wanted = {*names, *(f"best{path}" for path in like.parameters)}
    if set(arrays) != wanted:
        raise DamagedFile("arrays are missing from the checkpoint", file=file)
    leaves = [arrays[name] for name in names]
    state: Any = jax.tree.unflatten(
        jax.tree.structure(like), [jax.numpy.asarray(a) for a in leaves]
    )
    progress = Progress(state, best=best)
    for name in NUMBERS:
        setattr(progress, name, notes[name])
    progress.best_loss = float.fromhex(notes["best_loss"])
    return progress


def _named(tree: Any) -> list[tuple[str, Any]]:
    found, _ = jax.tree_util.tree_flatten_with_path(tree)
    return [(jax.tree_util.keystr(path), leaf) for path, leaf in found]
