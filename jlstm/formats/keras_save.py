"""Networks as `.keras` archives of Keras 3, written without Keras.

    metadata.json       which version of the format this is
    config.json         a Sequential model for a plain series, a Functional one else
    model.weights.h5    every array under its layer, bit for bit
    jlstm.json          golden vectors; Keras does not look at it

`keras.saving.load_model` opens it without custom objects. An input layer with
normalisation becomes a Normalization layer, whose variance is the square of the
standard deviation: its root is the same number again, bit for bit. Ranges become
Normalization and Rescaling, which compute the same numbers. What Keras has no layer for
is refused.

Sources: Keras reference pages guides/serialization_and_saving, api/layers;
keras-team/keras `saving/saving_lib.py` for the names inside the weights.
"""

from __future__ import annotations

import io
import json
import re
import tempfile
import zipfile
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import JlstmError, Unsupported
from ..golden import Golden
from ..layers import Mask
from ..network import Network
from . import golden_json, keras, keras_writers, lengths, outgoing
from .keras_weights import BESIDE
from .keras_writers import Entry, Model, Place
from .keras_writers.registry import LAYERS, Tensor
from .native import write_whole

GOLDEN = "jlstm.json"
KERAS = "3.8.0"
"""The version that the file says it is of; its words mean the same in all Keras 3."""
EPOCH = (1980, 1, 1, 0, 0, 0)
"""The time in the archive: equal networks give equal bytes."""
NAME = "jlstm"


def save(
    net: Network, path: str | Path, golden: Sequence[Golden] = ()
) -> tuple[Path, ...]:
    """Write a network as a Keras model.

    Arguments:
        net: the network, in single or double precision.
        path: where to; Keras wants the extension `.keras`.
        golden: what the original network computed; without any, jlstm computes some.

    Returns:
        the file.

    Raises:
        Unsupported: Keras has no layer for one of the network's, or not with one of its
            settings.
        InputError: the file cannot be written, or the golden vectors are not of this
            network.
    """
    path = Path(path)
    try:
        data = encoded(net, outgoing.records(net, golden))
        write_whole(path, data)
    except JlstmError as error:
        raise error.within(file=path) from None
    return (path,)


def encoded(net: Network, records: Sequence[Golden]) -> bytes:
    """The archive as bytes, with golden vectors.

    Raises:
        Unsupported: as `save`.
    """
    target = "a Keras file"
    outgoing.require_precision(net, target, ("float32", "float64"))
    outgoing.require_one_state(net, target)
    outgoing.require_outputs_once(net, target)
    model = written(net)
    outputs = [model.tensors[ref] for ref in net.outputs]
    entries = in_keras_order(model.entries, outputs)
    metadata = {"keras_version": KERAS, "jlstm": version("jlstm")}
    members = {
        "metadata.json": json.dumps(metadata).encode(),
        "config.json": json.dumps(_config(model, net, entries, outputs)).encode(),
        "model.weights.h5": _weights(entries),
        GOLDEN: golden_json.dumps(records).encode(),
    }
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name, EPOCH), data)
    _require_readable(file.getvalue())
    return file.getvalue()


def _require_readable(data: bytes) -> None:
    """Refuse what jlstm would not read back."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "net.keras")
        path.write_bytes(data)
        try:
            keras.load(path)
        except JlstmError as error:
            raise Unsupported(
                "a Keras file of it could not be read back",
                place=error.place,
                found=error.summary,
                do="write another format, native or ONNX",
            ) from None


def written(net: Network) -> Model:
    """The Keras layers of all layers, in topological order.

    Raises:
        Unsupported: Keras has none, or not with one of the settings.
    """
    model = Model(str(net.dtype), lengths.fixed_steps(net))
    for node in net.graph:
        # A slash separates scopes in Keras, a dot modules where it runs on torch.
        legal = re.sub(r"[/.]", "_", node.name) or "layer"
        model.names[node.name] = model.unique(legal)
    shapes = net.shapes
    for node in net.graph:
        keras_writers.write(net.layers[node.name], Place(model, net, node, shapes))
    for ref in net.outputs:
        if ref not in model.tensors:
            raise Unsupported(
                "a Keras file cannot put out a mask",
                place=f"output '{ref}'",
                found=Mask.__name__,
            )
    return model


def in_keras_order(entries: Sequence[Entry], outputs: Sequence[Tensor]) -> list[Entry]:
    """The layers in the order in which a Functional model lists them.

    By their distance from the outputs, the farthest first; those of one distance as
    they are met, from the outputs backwards. The weights in the file are numbered in
    this order. Source: keras-team/keras `ops/function.py`, `map_graph`.

    Raises:
        Unsupported: a layer from which no output can be reached; Keras would drop it.
    """
    named = {entry.name: entry for entry in entries}
    met: dict[str, int] = {}
    finished: list[str] = []
    for tensor in outputs:
        _visit(tensor.layer, named, met, finished)
    if lost := [name for name in named if name not in met]:
        raise Unsupported(
            "a Keras file cannot hold a layer that no output depends on",
            place=f"layer '{lost[0]}'",
            do="leave it out, or make it an output",
        )
    distance = dict.fromkeys(named, 0)
    for name in reversed(finished):
        for before in _sources(named[name]):
            distance[before] = max(distance[before], distance[name] + 1)
    return sorted(entries, key=lambda e: (-distance[e.name], met[e.name]))


def _visit(
    name: str, named: dict[str, Entry], met: dict[str, int], finished: list[str]
) -> None:
    """Depth first, without recursion: a network may be deeper than Python's stack."""
    stack: list[tuple[str, Iterable[str]]] = []

    def enter(layer: str) -> None:
        if layer not in met:
            met[layer] = len(met)
            stack.append((layer, iter(_sources(named[layer]))))

    enter(name)
    while stack:
        layer, sources = stack[-1]
        before = next(iter(sources), None)
        if before is None:
            stack.pop()
            finished.append(layer)
        else:
            enter(before)


def _sources(entry: Entry) -> list[str]:
    return [tensor.layer for tensor in (*entry.inputs, *entry.state)]


# --- the configuration ----------------------------------------------------------------


def _config(
    model: Model, net: Network, entries: list[Entry], outputs: list[Tensor]
) -> Any:
    """The model as Keras serialises it."""
    if _is_series(entries, outputs):
        layers = [_layer(entry) for entry in entries]
        return {
            "module": "keras",
            "class_name": "Sequential",
            "config": {"name": NAME, "trainable": True, "layers": layers},
            "registered_name": None,
            "compile_config": None,
        }
    layers = [
        _layer(entry)
        | {"name": entry.name, "inbound_nodes": _calls(entry, model.dtype)}
        for entry in entries
    ]
    inputs = [model.names[name] for name in net.inputs]
    config = {
        "name": NAME,
        "trainable": True,
        "layers": layers,
        "input_layers": _one_or_more([[name, 0, 0] for name in inputs]),
        "output_layers": _one_or_more([[t.layer, 0, t.output] for t in outputs]),
    }
    return {
        "module": "keras.src.models.functional",
        "class_name": "Functional",
        "config": config,
        "registered_name": "Functional",
        "compile_config": None,
    }


def _is_series(entries: list[Entry], outputs: list[Tensor]) -> bool:
    """Whether every layer takes what the one before it gives, and nothing else."""
    return len(outputs) == 1 < len(entries) and all(
        entry.module == LAYERS
        and not entry.listed
        and _sources(entry) == ([entries[k - 1].name] if k else [])
        and all(tensor.output == 0 for tensor in entry.inputs)
        and not entry.config.get("return_state")
        for k, entry in enumerate(entries)
    )


def _one_or_more(found: list[Any]) -> Any:
    return found[0] if len(found) == 1 else found


def _layer(entry: Entry) -> dict[str, Any]:
    return {
        "module": entry.module,
        "class_name": entry.class_name,
        "config": dict(entry.config),
        "registered_name": None if entry.module == LAYERS else entry.class_name,
    }


def _calls(entry: Entry, dtype: str) -> list[Any]:
    """How a layer is called; an input layer is not."""
    if not entry.inputs:
        return []
    given: list[Any] = [_tensor(tensor, dtype) for tensor in entry.inputs]
    args: list[Any] = [given] if entry.listed else given
    if entry.key:
        args.append([_index(part) for part in entry.key])
    if entry.operand is not None:
        args.append(entry.operand)
    kwargs = {}
    if entry.state:
        kwargs["initial_state"] = [_tensor(tensor, dtype) for tensor in entry.state]
    return [{"args": args, "kwargs": kwargs}]


def _tensor(tensor: Tensor, dtype: str) -> dict[str, Any]:
    return {
        "class_name": "__keras_tensor__",
        "config": {
            "shape": [None, *tensor.sizes],
            "dtype": dtype,
            "keras_history": [tensor.layer, 0, tensor.output],
        },
    }


def _index(part: Any) -> Any:
    if not isinstance(part, slice):
        return part
    config = {"start": part.start, "stop": part.stop, "step": part.step}
    return {"class_name": "__slice__", "config": config}


# --- the weights ----------------------------------------------------------------------


def _weights(entries: list[Entry]) -> bytes:
    """An HDF5 file: `layers/<class>_<number>/<part>/vars/<k>`."""
    import h5py

    file = io.BytesIO()
    numbers: dict[str, int] = {}
    with h5py.File(file, "w") as store:
        store.create_group("vars")
        for entry in entries:
            if entry.module != LAYERS:
                continue  # a function owns nothing and is not numbered
            word = snake_case(entry.class_name)
            number = numbers[word] = numbers.get(word, -1) + 1
            group = f"layers/{word}_{number}" if number else f"layers/{word}"
            store.create_group(f"{group}/vars").attrs["name"] = entry.name
            for part, arrays in entry.weights.items():
                for k, array in enumerate(arrays):
                    place = "/".join(filter(None, (group, part, "vars", str(k))))
                    store.create_dataset(place, data=np.asarray(array))
            for name, array in entry.beside.items():
                store.create_dataset(f"{group}/{BESIDE}/{name}", data=array)
    return file.getvalue()


def snake_case(name: str) -> str:
    """A class name as Keras names the group of its weights: `max_pooling1d`.

    Source: keras-team/keras `utils/naming.py`.
    """
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()
