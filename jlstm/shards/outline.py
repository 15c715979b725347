"""What a run will read, compute and write."""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

from ..dataset.blocks import READERS as TABLES
from ..dataset.blocks import Use, read_blocks
from ..dataset.kinds import Want
from ..dataset.reading import wanted
from ..dataset.tables import Table
from ..errors import JlstmError
from ..inspection import engine_table
from ..network import Network
from . import sources
from .conducting import summary
from .job import asked, layout, require_engine
from .kinds import Ask, Columns, Item
from .manifest import Evaluation, Folder


def fitting(evaluation: Evaluation, net: Network) -> tuple[Path, Item | None]:
    """The first file that the network takes, and its first sequence.

    Raises:
        JlstmError: it takes none of them; what is wrong with the first.
    """
    want, ask = wanted(net), asked(evaluation.options)
    refused: JlstmError | None = None
    for shard in evaluation.shards:
        path = evaluation.path(shard.name)
        try:
            with closing(sources.read(path, want, ask)) as items:
                return path, next(items, None)
        except JlstmError as error:
            refused = refused or error
    assert refused is not None  # no evaluation is without a shard
    raise refused


def outline(folder: Folder | None, evaluation: Evaluation, net: Network) -> Any:
    """What `--dry-run` tells; a sequence is read, nothing is written.

    Arguments:
        folder: where to, if that is known.
        evaluation: what is to be done.
        net: one of the networks.

    Raises:
        JlstmError: no file fits the networks, or the engine does not.
    """
    options = evaluation.options
    require_engine(net, options)
    first, item = fitting(evaluation, net)
    inputs, targets = _columns(first, wanted(net), asked(options))
    rows = engine_table(net)["layers"]
    left, done = len(evaluation.shards), {"finished": 0, "sequences": 0}
    if folder is not None:
        left, done = len(folder.left(evaluation)), summary(folder, evaluation)
    return {
        "read": {
            "from": evaluation.source,
            "files": dict(Counter(_suffix(shard.name) for shard in evaluation.shards)),
            "bytes": sum(shard.size for shard in evaluation.shards),
            "passed_over": evaluation.passed_over,
            "inputs": inputs,
            "targets": targets,
            "first_sequence": None
            if item is None
            else {"name": item.name, "steps": len(item.x)},
        },
        "compute": {
            "networks": len(evaluation.networks),
            "precision": options.precision,
            "batch_size": options.batch_size,
            "padding": options.padding,
            "engines": {
                row["name"]: row["engine"]
                if options.engine == "auto"
                else options.engine
                for row in rows
            },
        },
        "write": {
            "to": str(folder.out) if folder else None,
            "columns": list(layout(net, options).names),
        },
        "done": {
            "shards": done["finished"],
            "left": left,
            "sequences": done["sequences"],
        },
    }


def words(found: dict[str, Any]) -> str:
    """The outline as text."""
    read, compute, write, done = (
        found[k] for k in ("read", "compute", "write", "done")
    )
    kinds = ", ".join(f"{count} {kind}" for kind, count in read["files"].items())
    first = read["first_sequence"]
    layers = [f"{name} by {engine}" for name, engine in compute["engines"].items()]
    lines = {
        "read": f"{kinds} ({size(read['bytes'])}) from {read['from']}"
        + (f"; {read['passed_over']} files passed over" if read["passed_over"] else ""),
        "inputs": ", ".join(read["inputs"]),
        "targets": ", ".join(read["targets"]) or "none",
        "first": f"{first['name']}, {first['steps']} steps" if first else "nothing",
        "compute": f"{compute['networks']} network(s) in {compute['precision']} "
        f"precision, batch size {compute['batch_size']}",
        "engines": ", ".join(layers) or "no recurrent layer",
        "padding": ", ".join(f"{k} {v}" for k, v in (compute["padding"] or {}).items())
        or "none: an answer does not depend on its batch mates",
        "write": f"one Parquet file a shard to {write['to'] or '--out FOLDER'}",
        "columns": ", ".join(write["columns"]),
        "done": f"{done['shards']} shards, {done['sequences']:,} sequences; "
        f"{done['left']} shards are left",
    }
    return "\n".join(f"{name + ':':<10}{text}" for name, text in lines.items())


def size(count: float) -> str:
    """Bytes for people."""
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.4g} {unit}"
        count /= 1024
    return f"{count:.4g} TiB"


def _columns(path: Any, want: Want, ask: Ask) -> tuple[list[str], list[str]]:
    """What the inputs and the targets of a file are called."""
    found: list[tuple[list[str], list[str]]] = []

    def use(table: Table) -> Use:
        columns = Columns.of(table, ask, want)
        found.append(
            tuple([table.names[k] for k in group] for group in columns[:2])  # pyright: ignore[reportArgumentType]
        )
        return Use(tuple(columns.inputs))

    if path.suffix.lower() in TABLES and path.suffix.lower() != ".nc":
        next(iter(read_blocks(path, use, 1)), None)
    return found[0] if found else (list(ask.inputs or ("x",)), list(ask.targets))


def _suffix(name: str) -> str:
    return "." + name.rpartition(".")[2].lower()
