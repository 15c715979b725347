"""Weights that somebody extracted by hand, and a short description of the layers.

The description says, layer by layer, which array is what, in the words of MATLAB:

    [[layers]]
    type = "lstm"
    input_weights = "LSTM_W1"          # a variable of the file: 4H x C, rows i, f, g, o
    recurrent_weights = "LSTM_R1"
    bias = "LSTM_b1"

    [[layers]]
    type = "lstm"                      # or one array a gate
    input_weights = { i = "Wi_all{2}", f = "Wf_all{2}", g = "Wc_all{2}", o = "Wo_all{2}" }

It becomes the saved form of the same layers and is read by the same readers.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError, JlstmError, Unsupported
from ..golden import Golden
from ..network import Network
from . import _gates, matlab_export
from .matfile import Cell, MatFile, MatObject, Undecodable, need
from .matlab_layers import READERS

LEARNABLE = (
    "input_weights", "recurrent_weights", "bias", "weights", "scale", "offset", "alpha",
    "input_projector", "output_projector",
)  # fmt: skip
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
            values[name] = _array(file, value, kind, where)
        elif key in STATISTICS or key in STATES:
            values[name] = _expression(file, value, where)
        elif key in NUMBERS or isinstance(value, bool | int | float):
            values[name] = np.atleast_1d(np.asarray(value, float))
        elif key in WORDS or key in RENAMED:
            values[name] = Cell(value, (len(value), 1)) if _is_list(value) else value
        else:
            raise InputError(
                "an unknown key in a layer's description",
                place=where,
                expected=", ".join(
                    (*LEARNABLE, *STATISTICS, *STATES, *NUMBERS, *WORDS)
                ),
            )
    if "RecurrentWeights" in values and "NumHiddenUnits" not in values:
        values["NumHiddenUnits"] = _hidden(values["RecurrentWeights"])
    if class_name.endswith("FullyConnectedLayer") and "OutputSize" not in values:
        values["OutputSize"] = np.atleast_1d(float(np.shape(values.get("Weights"))[0]))
    return MatObject(class_name, values)


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
    kind = "gru" if "gru" in plain else "lstm" if "lstm" in plain else plain
    return known[plain], kind


def _hidden(recurrent_weights: np.ndarray) -> np.ndarray:
    # R is (gates x H) x H, for two directions as well.
    return np.atleast_1d(float(recurrent_weights.shape[1]))


def _array(file: MatFile, value: Any, kind: str, place: str) -> np.ndarray:
    """A learnable array: one variable, or one for each gate."""
    if isinstance(value, Mapping):
        order = GATES.get(kind)
        given = {SYNONYMS.get(gate, gate): item for gate, item in value.items()}
        if order is None or set(given) != set(order):
            raise InputError(
                "gates that do not belong to this layer",
                place=place,
                found=", ".join(value),
                expected=", ".join(order) if order else "one array",
            )
        parts = [_expression(file, given[g], f"{place}.{g}") for g in order]
        return np.concatenate([_columns(part) for part in parts])
    return _columns(_expression(file, value, place))


def _columns(array: np.ndarray) -> np.ndarray:
    """A bias given as a row, stood upright; a matrix as it is."""
    return array.reshape(-1, 1) if array.ndim == 2 and array.shape[0] == 1 else array


def _expression(file: MatFile, value: Any, place: str) -> np.ndarray:
    """Numbers, or a variable as MATLAB would write it: "W", "Wi_all{2}", "net.W"."""
    if not isinstance(value, str):
        try:
            return np.asarray(value, float)
        except (TypeError, ValueError):
            raise InputError(
                "neither a variable nor numbers", place=place, found=repr(value)
            ) from None
    steps = re.findall(r"[A-Za-z]\w*|\{\d+\}|\(\d+\)", value)
    if not steps or re.sub(r"[.\s]", "", value) != "".join(steps):
        raise InputError(
            "not a variable", place=place, found=repr(value), expected='"W", "W{2}"'
        )
    try:
        found: Any = need(file, steps[0])
    except Unsupported as error:
        raise error.within(place=place) from None
    for part in steps[1:]:
        found = _descend(found, part, value, place)
    if isinstance(found, Undecodable) or not isinstance(found, np.ndarray):
        raise InputError("not an array of numbers", place=place, found=repr(value))
    return found


def _descend(value: Any, part: str, whole: str, place: str) -> Any:
    if part[0] in "{(" and isinstance(value, Cell):
        index = int(part[1:-1])
        if 1 <= index <= len(value):
            return value[index - 1]
        raise InputError(
            "an index outside the cell",
            place=place,
            found=whole,
            expected=f"1 to {len(value)}",
        )
    fields = value.values if isinstance(value, MatObject) else value
    if isinstance(fields, dict) and part in fields:
        return fields[part]
    raise InputError(f"there is no {part!r} in it", place=place, found=whole)


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple)


# --- recorded numbers -----------------------------------------------------------------


def _golden(file: MatFile, table: Description, net: Network) -> Golden:
    """The recorded input, output and activations that a description names."""
    layout = table.get("layout")
    if layout not in ("features x time", "time x features"):
        raise InputError(
            "the layout of the recorded arrays is not given",
            place="golden.layout",
            found=repr(layout),
            expected='"features x time" (as MATLAB has it) or "time x features"',
        )

    def array(key: str, value: Any, shape: Any) -> np.ndarray:
        found = _expression(file, value, f"golden.{key}")
        if layout == "time x features":
            found = found.T
        return matlab_export.from_matlab(found, shape)

    def listed(key: str) -> list[Any]:
        value = table.get(key)
        if value is None:
            raise InputError("nothing recorded", place="golden", expected=key)
        return list(value) if _is_list(value) else [value]

    shapes = net.shapes
    return Golden(
        tuple(
            array("input", v, shapes[n])
            for n, v in zip(net.inputs, listed("input"), strict=True)
        ),
        tuple(
            array("output", v, shapes[n])
            for n, v in zip(net.outputs, listed("output"), strict=True)
        ),
        {
            name: array(f"layers.{name}", value, shapes[name])
            for name, value in table.get("layers", {}).items()
        },
        str(table.get("note", "")),
    )
