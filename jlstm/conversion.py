"""From one file to another, and the proof that the same network is in both: convert."""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np

from . import formats, runtimes
from .errors import InputError, JlstmError
from .formats import proof
from .formats.native import writing
from .golden import Golden
from .layers import Identity
from .network import Network, predict

READER = "jlstm's reader"
DTYPES = {"single": np.float32, "double": np.float64}
LISTED = 6
"""Arrays that are named before the rest is counted."""


@dataclass(frozen=True)
class Conversion:
    """What `convert` wrote, and how it is known that it holds the same network.

    Arguments:
        files: what was written.
        arrays: how many arrays of parameters and states the network has.
        changed: those of them, by key path, that do not come back from the file bit for
            bit; None where jlstm does not read the format.
        golden: how many golden vectors the source had.
        kept: how many are in the file now: those of the source, or, where it had none,
            some that jlstm computed.
        runtime: what ran the golden vectors of the file: the target's own program with
            its version, else "jlstm's reader"; "" where nothing could.
        off: the largest difference, as a share of the largest value of that output.
        accepted: how large it may be: what rounding does to this network.
        missing: the program that would have run it and is not installed.
        notices: what there is to know about the source, and what was left out.
    """

    files: tuple[Path, ...]
    arrays: int
    changed: tuple[str, ...] | None
    golden: int
    kept: int
    runtime: str
    off: float
    accepted: float
    missing: str = ""
    notices: tuple[str, ...] = ()

    def __str__(self) -> str:
        name = self.files[0]
        lines = []
        if self.changed is not None:
            lines.append(f"{name}: read back, {self._bits()}")
        lines.append(f"{name}: {self._proof()}")
        if self.kept < self.golden:
            lines.append(f"{name}: holds {self.kept} of {self.golden} golden vectors")
        lines += [f"{other}: {_purpose(other)}" for other in self.files[1:]]
        lines += [f"note: {notice}" for notice in self.notices]
        return "\n".join(lines)

    def _bits(self) -> str:
        changed = self.changed or ()
        if not changed:
            return "every array equal bit for bit"
        named = ", ".join(changed[:LISTED])
        more = f" and {len(changed) - LISTED} more" if len(changed) > LISTED else ""
        return (
            f"{self.arrays - len(changed)} of {self.arrays} arrays equal bit for bit; "
            f"written in another form: {named}{more}"
        )

    def _proof(self) -> str:
        vectors = "the golden vector" if self.kept == 1 else "the golden vectors"
        missing = f"; {self.missing} is not installed" if self.missing else ""
        if not self.runtime:
            return f"not run{missing}"
        return (
            f"{self.runtime} gives {vectors}, off by {self.off:.1e} of the largest "
            f"value (rounding may make {self.accepted:.1e}){missing}"
        )


def convert(
    source: str | Path,
    target: str | Path,
    *,
    variable: str | None = None,
    layers: Any = None,
    state: Literal["initial", "saved"] | None = None,
    precision: Literal["auto", "single", "double"] = "auto",
) -> Conversion:
    """Read a network and write it in another format, proven before it is in place.

    The file is read back and its arrays are compared bit for bit; then the program that
    it is for (onnxruntime, Keras, torch, a C compiler) computes the golden vectors in
    it, where that program is installed, else jlstm's reader. A file that fails is not
    put in place.

    Arguments:
        source: as `load` takes it.
        target: as `save` takes it: the extension says in which format.
        variable, layers: as `load` takes them.
        state: of a network that was saved in another state than it starts from, the one
            that the written one starts from; without it the file has to hold both.
        precision: of the written network; "auto" is that of the source. In another
            precision the golden vectors of the source do not go along.

    Raises:
        JlstmError: the written file does not hold the same network.
        DamagedFile, Unsupported, Ambiguous, InputError: as `load` and `save`.
    """
    net, golden = formats.read(source, variable=variable, layers=layers)
    target = Path(target)
    net, golden = _in_state(*_in_precision(net, golden, precision), state)
    formats.require_free(target)
    with _beside(target) as folder:
        try:
            written = formats.save(net, Path(folder, target.name), golden)
            found = _examine(net, written, golden)
        except JlstmError as error:
            error.file = str(target)  # not where it was tried
            raise
        with writing(target):
            # The main file last: it stands for the whole.
            for file in reversed(written):
                os.replace(file, target.parent / file.name)
    files = tuple(target.parent / file.name for file in written)
    return Conversion(files, **found)


def _in_precision(
    net: Network, golden: list[Golden], precision: str
) -> tuple[Network, list[Golden]]:
    """The network in another precision; what it computed in its own is rounded."""
    if precision not in (choices := {"auto": net.dtype, **DTYPES}):
        raise InputError(
            "no such precision", found=precision, expected=", ".join(choices)
        )
    dtype = np.dtype(choices[precision])
    given = {np.asarray(leaf).dtype for leaf in jax.tree.leaves(net)}
    if precision == "auto" or given == {dtype}:
        return net, golden
    return jax.tree.map(np.asarray, net).astype(dtype), []


def _in_state(
    net: Network, golden: list[Golden], state: str | None
) -> tuple[Network, list[Golden]]:
    """The network with one state to start from, and what was recorded from it."""
    if state not in (None, "initial", "saved"):
        raise InputError("no such state", found=state, expected="initial or saved")
    if state is None or net.saved is None:
        return net, golden
    kept = [r._replace(start="initial") for r in golden if r.start == state]
    start = net.saved if state == "saved" else net.initial
    return net.replace(initial=start, saved=None), kept


def _beside(target: Path) -> Any:
    """A folder next to the target, from which files are moved into place."""
    if not target.parent.is_dir():
        raise InputError(
            "the folder is not there",
            file=target,
            do="make the folder, or name another one",
        )
    with writing(target):
        return tempfile.TemporaryDirectory(prefix=".jlstm-", dir=target.parent)


def _examine(
    net: Network, written: Sequence[Path], golden: list[Golden]
) -> dict[str, Any]:
    """All that `Conversion` says beside the files."""
    file = written[0]
    target = formats.target(file)
    told: dict[str, Any] = {
        "arrays": len(jax.tree.leaves(net)),
        "changed": None,
        "golden": len(golden),
        "notices": net.origin.notices,
    }
    again = None
    if target.readable:
        again, records = formats.read(file)
        told["changed"] = _changed(net, again)
        told["notices"] += _left_out(net, again)
    elif file.suffix in runtimes.RUNTIMES:
        records = formats.carried(file)
    else:
        name, off, accepted, kept = formats.rerun(file) or ("", 0.0, 0.0, 0)
        missing = "" if name else target.runtime
        return told | _proven(kept, name, off, accepted, missing)
    kept = len(records)
    if not records:  # a format without room for them
        records = [r for r in golden if r.start == "initial"] or proof.computed(net)
    name, off, missing = _rerun(net, file, again, records)
    accepted = proof.accepted(net, records)
    if not off <= accepted:
        raise JlstmError(
            f"{name} computes something else from the written file",
            found=f"off by {off:.1e} of the largest value",
            expected=f"at most {accepted:.1e}",
            do="please report this network; nothing was put in place",
        )
    return told | _proven(kept, name, off, accepted, missing)


def _proven(
    kept: int, runtime: str, off: float, accepted: float, missing: str
) -> dict[str, Any]:
    words = ("kept", "runtime", "off", "accepted", "missing")
    return dict(zip(words, (kept, runtime, off, accepted, missing), strict=True))


def _left_out(net: Network, again: Network) -> tuple[str, ...]:
    """Layers that compute nothing and are not in the file."""
    return tuple(
        f"layer '{name}' computes nothing and is left out"
        for name, layer in net.layers.items()
        if isinstance(layer, Identity) and name not in again.layers
    )


def _rerun(
    net: Network, file: Path, again: Network | None, records: Sequence[Golden]
) -> tuple[str, float, str]:
    """What ran the golden vectors, how far off it was, and what could not run them."""
    answers, missing = None, ""
    if file.suffix in runtimes.RUNTIMES:
        answers = runtimes.rerun(file, net, records)
        missing = "" if answers else runtimes.RUNTIMES[file.suffix].name
    if answers is None and again is None:
        return "", 0.0, missing
    name, outputs = answers or (READER, [_predicted(again, r) for r in records])
    off = max(
        proof.distance(found, wanted)
        for record, given in zip(records, outputs, strict=True)
        for found, wanted in zip(given, record.outputs, strict=True)
    )
    return name, off, missing


def _predicted(net: Any, record: Golden) -> tuple[np.ndarray, ...]:
    inputs = record.inputs[0] if len(record.inputs) == 1 else record.inputs
    state = net.saved if record.start == "saved" and net.saved else net.initial
    with jax.enable_x64(net.dtype == np.float64):
        found = predict(net, inputs, state=state)
        many = found if isinstance(found, tuple) else (found,)
        return tuple(np.asarray(y) for y in many)


def _changed(net: Network, again: Network) -> tuple[str, ...]:
    """Key paths of the arrays whose bits are nowhere in the other network."""
    there = Counter(_bits(leaf) for leaf in jax.tree.leaves(again))
    changed = []
    for path, leaf in jax.tree_util.tree_leaves_with_path(net):
        bits = _bits(leaf)
        if there[bits] == 0:
            changed.append(jax.tree_util.keystr(path))
        there[bits] -= 1
    return tuple(changed)


def _bits(leaf: Any) -> tuple:
    array = np.asarray(leaf)
    return array.dtype.str, array.shape, array.tobytes()


def _purpose(file: Path) -> str:
    return {
        ".m": "run it in MATLAB, it makes the network and proves it",
        ".py": "the module that loads it; run as a script it proves itself",
        ".h": "what a C program includes",
    }.get(file.suffix, "belongs to it")
