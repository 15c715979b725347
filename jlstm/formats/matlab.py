"""Networks in MAT files: finding them and choosing one.

A network is a SeriesNetwork, a DAGNetwork, a dlnetwork, a LayerGraph, a bare array of
layers, or the struct that `jlstm_export.m` writes; it may lie inside structs and cells.
The objects carry no release; what the struct versions mean is in `matlab_layers`, how
an object is taken apart in `matlab_parts`, how the parts are put together in
`matlab_graph`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import Ambiguous, DamagedFile, JlstmError, Unsupported
from ..network import Network
from . import matlab_export, matlab_layers
from .matfile import Cell, MatFile, MatObject, Undecodable, need
from .matlab_graph import Spec as Spec
from .matlab_graph import assemble as assemble
from .matlab_parts import GRAPH_CLASS, NETWORK_CLASSES, Candidate
from .matlab_parts import parse as parse

OTHER_MODELS = {
    "network": "a shallow network (fitnet, narxnet, ...)",
    "ClassificationSVM": "a support vector machine",
    "TreeBagger": "a forest",
}
MAX_DEPTH = 12


def load(path: str | Path, variable: str | None = None) -> Network:
    """Read a network from a MAT file.

    Arguments:
        path: the file.
        variable: which network, as MATLAB would write it: "net", "results.net",
            "nets{2}". Without it the only trained network is taken.

    Raises:
        DamagedFile: the file is not whole.
        Ambiguous: there are several networks; they are listed.
        Unsupported: there is none, or one that jlstm does not compute; says why.
    """
    file = MatFile(path)
    with reading(file):
        return build(choose(file, variable), file)


@contextmanager
def reading(file: MatFile) -> Iterator[None]:
    """Errors about what is in a file, with the name of the file in them."""
    try:
        yield
    except JlstmError as error:
        raise error.within(file=file.path) from None
    except (
        ArithmeticError,
        AttributeError,
        LookupError,
        TypeError,
        ValueError,
    ) as error:
        # The last net. What is known to be wrong in files is refused where it is found,
        # with its place; `__cause__` tells the two apart.
        raise DamagedFile(
            "the network in it makes no sense",
            file=file.path,
            found=f"{type(error).__name__}: {error}",
            do="save it again, or export it with jlstm_export.m, and report this file",
        ) from error


def build(candidate: Candidate, file: MatFile) -> Network:
    """Make a `Network` of a candidate."""
    if candidate.kind == matlab_export.KIND:
        parts = matlab_export.parts(candidate.value, candidate.path)
        kind = parts.pop("kind")
        return assemble(kind, candidate.path, Spec(**parts), file)
    return assemble(candidate.kind, candidate.path, parse(candidate), file)


# --- finding --------------------------------------------------------------------------


def candidates(file: MatFile, names: list[str] | None = None) -> list[Candidate]:
    """Every network in these variables of a file, or in all; in the file's order."""
    found: list[Candidate] = []
    seen: set[int] = set()
    for name in file.names if names is None else names:
        # Numbers and text are not decoded only to see that they are no network.
        if not file.is_plain(name):
            found += _search(file[name], name, seen, 0)
    return found


def _search(value: Any, path: str, seen: set[int], depth: int) -> Iterator[Candidate]:
    if isinstance(value, np.ndarray | str) or id(value) in seen or depth > MAX_DEPTH:
        return
    seen.add(id(value))
    kind = _kind(value)
    if kind is not None:
        yield Candidate(path, kind, value)
        return
    if isinstance(value, MatObject):
        # Objects may share what they hold; it is searched once.
        yield from _search(value.values, path, seen, depth)
    for step, item in _parts(value):
        yield from _search(item, path + step, seen, depth + 1)


def _kind(value: Any) -> str | None:
    if isinstance(value, MatObject):
        name = value.class_name
        known = name in NETWORK_CLASSES or name == GRAPH_CLASS
        return name if known and not value.lost else None
    if matlab_export.is_export(value):
        return matlab_export.KIND
    if isinstance(value, Cell) and value:
        # The elements may be of any class, custom layers among them.
        typed = value.class_name.startswith("nnet.cnn.layer.")
        if typed or all(map(matlab_layers.is_layer, value)):
            return "layer array"
    return None


def _parts(value: Any) -> Iterator[tuple[str, Any]]:
    """What is inside a struct or cell, and how MATLAB would index it."""
    if isinstance(value, Cell):
        left, right = "{}" if value.class_name == "cell" else "()"
        yield from ((f"{left}{k}{right}", x) for k, x in enumerate(value, 1))
    elif isinstance(value, dict):
        yield from ((f".{name}", item) for name, item in value.items())


# --- choosing -------------------------------------------------------------------------


def choose(file: MatFile, variable: str | None = None) -> Candidate:
    """Pick the network that the caller means.

    Raises:
        Ambiguous, Unsupported: see `load`.
    """
    names = file.names
    if variable is not None:
        names = re.split(r"[.({]", variable, maxsplit=1)[:1]
        need(file, names[0])
    found = candidates(file, names)
    if variable is not None:
        inside = tuple(variable + mark for mark in ".({")
        exact = [c for c in found if c.path == variable]
        wanted = exact or [c for c in found if c.path.startswith(inside)]
        if found and not wanted:
            raise Unsupported(
                f"no network at '{variable}'",
                file=file.path,
                expected=", ".join(f"{c.path} ({c.kind})" for c in found),
            )
        found = wanted
    if not found:
        raise _nothing(file, names)
    trained = [c for c in found if is_trained(c)]
    best = [c for c in trained if c.rank == min(t.rank for t in trained)]
    if len(best) > 1:
        raise Ambiguous(
            f"{len(best)} networks in one file",
            file=file.path,
            found=", ".join(f"{c.path} ({c.kind})" for c in best),
            do=f"name one: variable={best[0].path!r}, --variable {best[0].path}",
        )
    # With nothing trained, the reason why is found where the best candidate is read.
    return best[0] if best else min(found, key=lambda c: c.rank)


def is_trained(candidate: Candidate) -> bool:
    """Whether any layer of it holds weights."""
    if candidate.kind == matlab_export.KIND:
        return True
    try:
        parts = parse(candidate)
    except JlstmError:
        # Not for this question: building it says what is wrong.
        return True
    return any(_has_weights(layer.values) for layer in parts.layers)


def _has_weights(values: Any) -> bool:
    if not isinstance(values, dict):
        return False
    for name in ("InputWeights", "Weights", "QueryWeights", "Scale"):
        value = values.get(name)
        if isinstance(value, dict):
            value = value.get("Value")
        elif name == "Scale":
            continue  # of a leaky rectifier, not of a normalisation
        if isinstance(value, np.ndarray) and value.size:
            return True
        if isinstance(value, MatObject) and not value.lost:
            return True
    return False


def _nothing(file: MatFile, names: list[str]) -> JlstmError:
    """Why there is no network here, from what there is instead."""
    kinds = []
    for name in names[:12]:
        value = None if file.is_plain(name) else file[name]
        if isinstance(value, MatObject):
            what = OTHER_MODELS.get(value.class_name, value.class_name)
            kinds.append(f"{name} ({what})")
        elif isinstance(value, Undecodable):
            kinds.append(f"{name} (cannot be decoded: {value.reason})")
        else:
            kinds.append(name)
    more = f" and {len(names) - 12} more" if len(names) > 12 else ""
    return Unsupported(
        "no trained network found",
        file=file.path,
        found=(", ".join(kinds) or "no variables") + more,
        expected="a SeriesNetwork, DAGNetwork, dlnetwork, LayerGraph or layer array",
        do="for weights extracted by hand, describe the layers: "
        "jlstm inspect --help shows how",
    )
