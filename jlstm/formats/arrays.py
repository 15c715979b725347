"""Weights that somebody extracted by hand, and a short description of the layers.

The description says, layer by layer, which array is what, in the words of MATLAB:

    [[layers]]
    type = "lstm"
    input_weights = "LSTM_W1"          # a variable of the file: 4H x C, rows i, f, g, o
    recurrent_weights = "LSTM_R1"
    bias = "LSTM_b1"

    [[layers]]
    type = "lstm"                      # or one array a gate
    input_weights = { i = "Wi{2}", f = "Wf{2}", g = "Wc{2}", o = "Wo{2}" }

It becomes the saved form of the same layers and is read by the same readers.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError, JlstmError
from ..golden import Golden
from ..network import Network
from . import _gates, matlab_export
from .fields import numeric
from .lookup import lookup
from .matfile import Cell, MatFile, MatObject
from .matlab_layers import READERS

LEARNABLE = (
    "input_weights", "recurrent_weights", "bias", "weights", "scale", "offset", "alpha",
    "input_projector", "output_projector",
)  # fmt: skip
VECTORS = ("bias", "scale", "offset", "alpha")
STATISTICS = ("mean", "std", "min", "max", "trained_mean", "trained_variance")
STATES = ("hidden_state", "cell_state", "initial_hidden_state", "initial_cell_state")
NUMBERS = (
    "size", "min_length", "num_hidden_units", "probability", "epsilon", "ceiling",
    "stride", "dilation_factor", "padding_size", "pool_size", "num_heads", "dim",
    "output_size", "num_words", "target_min", "target_max",
)  # fmt: skip
WORDS = (
    "name", "output_mode", "state_activation_function", "gate_activation_function",
    "reset_gate_mode", "normalization", "padding_mode", "approximation", "classes",
    "operation_dimension", "attention_mask",
)  # fmt: skip
RENAMED = {
    "size": "InputSize",
    "std": "StandardDeviation",
    "state_activation": "StateActivationFunction",
    "gate_activation": "GateActivationFunction",
    "reset_mode": "ResetGateMode",
}
GATES = {"lstm": _gates.MATLAB_LSTM, "gru": _gates.MATLAB_GRU}
SYNONYMS = {"c": "g", "h": "n"}
"""Other letters in use for the cell candidate of an LSTM and a GRU."""

LAYOUTS = ("features x time", "time x features")
RECORDED = ("input", "output", "layout", "layers", "note", "measured", "sample_time")

Description = Mapping[str, Any]


def read_description(source: str | Path | Description | Sequence[Description]) -> Any:
    """A description from a TOML file, a dict of it, or a list of layers.

    Raises:
        InputError: it is no TOML, or has no layers.
    """
    place = None
    if isinstance(source, str | Path):
        place = Path(source)
        try:
            source = tomllib.loads(place.read_text("utf-8"))
        except OSError as error:
            raise InputError(
                "the description cannot be read", file=place, found=error.strerror
            ) from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise InputError("not a TOML file", file=place, found=error) from None
    elif not isinstance(source, Mapping):
        source = {"layers": list(source)}
    extra = set(source) - {"layers", "golden"}
    if not source.get("layers") or extra:
        raise InputError(
            "a description is a list of layers",
            file=place,
            found=", ".join(source) or "nothing",
            expected="[[layers]] tables, and [golden] if anything was recorded",
        )
    return source


def load(path: str | Path, description: Any) -> tuple[Network, Golden | None]:
    """Put a network together from arrays in a MAT file.

    Arguments:
        path: the MAT file.
        description: see `read_description`.

    Raises:
        InputError: the description names what is not there.
        Unsupported, DamagedFile: as in `matlab.load`.
    """
    from .matlab import Spec, assemble

    file = MatFile(path)
    description = read_description(description)
    try:
        layers = [
            _layer(file, entry, f"layers[{k}]")
            for k, entry in enumerate(description["layers"])
        ]
        net = assemble("arrays extracted by hand", "", Spec(layers, None, None), file)
        table = description.get("golden")
        golden = None if table is None else _golden(file, table, net)
        return _with_unused(net, file, description), golden
    except JlstmError as error:
        raise error.within(file=file.path) from None


def _with_unused(net: Network, file: MatFile, description: Description) -> Network:
    """Say which variables the description leaves out: one may be a forgotten weight."""
    text = repr(description)
    unused = [n for n in file.names if not re.search(rf"\b{re.escape(n)}\b", text)]
    if not unused:
        return net
    notice = f"variables that the description does not use: {', '.join(unused)}"
    origin = net.origin
    return net.replace(
        origin=origin._replace(
            notices=(*origin.notices, notice), ignored=(*origin.ignored, *unused)
        )
    )


def _layer(file: MatFile, entry: Description, place: str) -> MatObject:
    """One described layer in the form in which MATLAB saves it."""
    if not isinstance(entry, Mapping) or not isinstance(entry.get("type"), str):
        raise InputError("a layer needs a type", place=place, expected='type = "lstm"')
    class_name, kind = _class(entry["type"], place)
    values: dict[str, Any] = {}
    for key, value in entry.items():
        if key == "type":
            continue
        name = RENAMED.get(key) or "".join(p.capitalize() for p in key.split("_"))
        where = f"{place}.{key}"
        if key in LEARNABLE:
            values[name] = _array(file, value, kind, key, where)
        elif key in STATISTICS or key in STATES:
            values[name] = np.asarray(_numbers(file, value, where), float)
        elif key in NUMBERS:
            values[name] = np.atleast_1d(_numbers(file, value, where))
        elif key in WORDS or key in RENAMED:
            values[name] = _words(value, where)
        else:
            raise InputError(
                "an unknown key in a layer's description",
                place=where,
                expected=", ".join(
                    (*LEARNABLE, *STATISTICS, *STATES, *NUMBERS, *WORDS)
                ),
            )
    _infer_sizes(values, class_name)
    return MatObject(class_name, values)


def _infer_sizes(values: dict[str, Any], class_name: str) -> None:
    """Sizes that MATLAB saves and that the arrays say as well."""
    sizes = {}
    if "OutputProjector" in values:
        sizes["NumHiddenUnits"] = values["OutputProjector"].shape[0]
    elif "RecurrentWeights" in values:
        # (gates x H) x H, for two directions as well.
        sizes["NumHiddenUnits"] = values["RecurrentWeights"].shape[1]
    if "Weights" in values and class_name.endswith("FullyConnectedLayer"):
        sizes["OutputSize"] = values["Weights"].shape[0]
    for name, size in sizes.items():
        values.setdefault(name, np.atleast_1d(float(size)))


def _class(words: str, place: str) -> tuple[str, str]:
    """The MATLAB class that a type like "fully connected" means."""
    plain = re.sub(r"[\s_-]|layer$", "", words.lower())
    known = {}
    for name in READERS:
        if name.startswith("nnet.cnn.layer."):
            known[name.rpartition(".")[2].removesuffix("Layer").lower()] = name
    if plain not in known:
        raise InputError(
            "an unknown type of layer",
            place=f"{place}.type",
            found=repr(words),
            expected=", ".join(sorted(known)),
        )
    return known[plain], plain.removesuffix("projected")


def _array(file: MatFile, value: Any, kind: str, key: str, place: str) -> np.ndarray:
    """A learnable array: one variable, or one for each gate."""
    if not isinstance(value, Mapping):
        return _upright(_numbers(file, value, place), key)
    order = GATES.get(kind)
    given = {SYNONYMS.get(gate, gate): item for gate, item in value.items()}
    if order is None or set(given) != set(order) or len(given) != len(value):
        raise InputError(
            "gates that do not belong to this layer",
            place=place,
            found=", ".join(value),
            expected=", ".join(order) if order else "one array",
        )
    parts = [_upright(_numbers(file, given[g], f"{place}.{g}"), key) for g in order]
    if len({part.shape for part in parts}) > 1:
        raise InputError(
            "the gates differ in size",
            place=place,
            found=", ".join(
                f"{g} {p.shape}" for g, p in zip(order, parts, strict=True)
            ),
        )
    return np.concatenate(parts)


def _upright(array: np.ndarray, key: str) -> np.ndarray:
    """A vector as a column, however it was written down; a matrix as it is."""
    if array.ndim < 2 or (key in VECTORS and min(array.shape) == 1):
        return array.reshape(-1, 1)
    return array


def _numbers(file: MatFile, value: Any, place: str) -> np.ndarray:
    """Numbers, or a variable as MATLAB would write it: "W", "Wi_all{2}", "net.W"."""
    if isinstance(value, str):
        try:
            return numeric(lookup(file, value), place)
        except JlstmError as error:
            raise error.within(place=place) from None
    try:
        return np.asarray(value, float)
    except (TypeError, ValueError):
        raise InputError(
            "neither a variable nor numbers", place=place, found=repr(value)
        ) from None


def _words(value: Any, place: str) -> Any:
    words = value if _is_list(value) else [value]
    if not all(isinstance(word, str) for word in words):
        raise InputError("not text", place=place, found=repr(value))
    return Cell(words, (len(words), 1)) if _is_list(value) else value


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple)


# --- recorded numbers -----------------------------------------------------------------


def _golden(file: MatFile, table: Description, net: Network) -> Golden:
    """The recorded input, output and activations that a description names."""
    layout = table.get("layout")
    if layout not in LAYOUTS:
        raise InputError(
            "the layout of the recorded arrays is not given",
            place="golden.layout",
            found=repr(layout),
            expected='"features x time" (as MATLAB has it) or "time x features"',
        )
    unknown = set(table) - set(RECORDED)
    if unknown:
        raise InputError(
            "an unknown key in [golden]",
            place=f"golden.{min(unknown)}",
            expected=", ".join(RECORDED),
        )

    def array(place: str, value: Any, ref: str) -> np.ndarray:
        found = _numbers(file, value, place)
        if layout == "time x features":
            found = found.T
        try:
            return matlab_export.from_matlab(found, net.shapes[ref])
        except JlstmError as error:
            raise error.within(place=place) from None

    def listed(key: str, refs: tuple[str, ...]) -> tuple[np.ndarray, ...]:
        value = table.get(key)
        values: list[Any] = [*value] if isinstance(value, list | tuple) else [value]
        if value is None or len(values) != len(refs):
            raise InputError(
                "other recordings than the network has",
                place=f"golden.{key}",
                found="none" if value is None else len(values),
                expected=", ".join(refs),
            )
        place = f"golden.{key}"
        return tuple(array(place, v, ref) for v, ref in zip(values, refs, strict=True))

    layers = table.get("layers", {})
    for name in layers:
        if name not in net.layers:
            raise InputError(
                "no such layer",
                place=f"golden.layers.{name}",
                expected=", ".join(net.layers),
            )
    return Golden(
        listed("input", net.inputs),
        listed("output", net.outputs),
        {k: array(f"golden.layers.{k}", value, k) for k, value in layers.items()},
        str(table.get("note", "")),
    )
