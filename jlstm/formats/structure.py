"""A pytree of jlstm as JSON, its arrays kept apart under their key paths.

    array           {"array": ".layers['lstm_1'].f.bias"}
    dataclass,      {"class": "LSTM", "fields": {"i": ..., "output_mode": "last"}}
      NamedTuple
    dict            {"dict": {"lstm_1": ...}}
    tuple           {"tuple": [...]}
    nan, inf        {"float": "nan"}
    the rest        null, true, 1, 0.5, "text"

Classes are looked up by name among those that jlstm defines, and what stands in a field
must fit its annotation; nothing else is ever instantiated.
"""

from __future__ import annotations

import dataclasses
import importlib
import math
import pkgutil
import types
from collections.abc import Mapping
from functools import cache
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import jax
import numpy as np

from .. import gates, graph, layers, network, recurrent
from .. import golden as golden_module
from ..errors import DamagedFile, JlstmError, Unsupported
from ..network import Network
from ..recurrent import Recurrent

DTYPES = (
    *("float16", "bfloat16", "float32", "float64", "bool"),
    *("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
)


@cache
def classes() -> dict[str, type]:
    """Every dataclass and NamedTuple a file may name: the layers and their parts."""
    modules = [gates, recurrent, graph, network, golden_module]
    for module in pkgutil.iter_modules(layers.__path__, f"{layers.__name__}."):
        modules.append(importlib.import_module(module.name))
    return {
        name: value
        for module in modules
        for name, value in vars(module).items()
        if isinstance(value, type)
        and value.__module__ == module.__name__
        and not name.startswith("_")
        and (dataclasses.is_dataclass(value) or hasattr(value, "_fields"))
    }


def encode(value: Any, path: str, tensors: dict[str, np.ndarray]) -> Any:
    """The structure of `value` as JSON; its arrays go into `tensors` by key path.

    Raises:
        Unsupported: a class, a type or a dtype that the notation does not have.
    """
    if isinstance(value, np.ndarray | jax.Array):
        tensors[path] = _to_numpy(value, path)
        return {"array": path}
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": repr(float(value))}
    if value is None or type(value) in (bool, int, float, str):
        return value
    if type(value) is tuple:
        items = [encode(v, f"{path}[{k}]", tensors) for k, v in enumerate(value)]
        return {"tuple": items}
    if type(value) is dict and all(type(key) is str for key in value):
        return {
            "dict": {k: encode(v, f"{path}[{k!r}]", tensors) for k, v in value.items()}
        }
    return _encode_class(value, path, tensors)


def _encode_class(value: Any, path: str, tensors: dict[str, np.ndarray]) -> Any:
    cls = type(value)
    if classes().get(cls.__name__) is not cls:
        raise Unsupported(
            "this cannot be written to a file",
            place=path or "network",
            found=f"{cls.__module__}.{cls.__qualname__}",
            expected="an array, a number, a text, or a class that jlstm defines",
        )
    fields = {name: getattr(value, name) for name in _hints(cls)}
    _check_fields(cls, fields, path, Unsupported)
    return {
        "class": cls.__name__,
        "fields": {k: encode(v, f"{path}.{k}", tensors) for k, v in fields.items()},
    }


def decode(
    spec: Any, tensors: Mapping[str, np.ndarray], used: set[str], path: str = ""
) -> Any:
    """The inverse of `encode`; names of the tensors it took are added to `used`.

    Raises:
        DamagedFile: not in the notation, a tensor missing, a value of the wrong type.
        Unsupported: a class or a field that this jlstm does not have.
    """
    if spec is None or isinstance(spec, bool | int | float | str):
        return spec
    match spec:
        case {"array": str(name), **rest} if not rest and name in tensors:
            used.add(name)
            return tensors[name]
        case {"array": str(name), **rest} if not rest:
            raise DamagedFile("a tensor is missing", place=name)
        case {"float": ("nan" | "inf" | "-inf") as text, **rest} if not rest:
            return float(text)
        case {"tuple": list(items), **rest} if not rest:
            return tuple(
                decode(v, tensors, used, f"{path}[{k}]") for k, v in enumerate(items)
            )
        case {"dict": dict(items), **rest} if not rest:
            return {
                k: decode(v, tensors, used, f"{path}[{k!r}]") for k, v in items.items()
            }
        case {"class": str(name), "fields": dict(fields), **rest} if not rest:
            values = {
                k: decode(v, tensors, used, f"{path}.{k}") for k, v in fields.items()
            }
            return _make(name, values, path)
    raise DamagedFile("not in the notation", place=path, found=str(spec)[:80])


def _make(name: str, values: dict[str, Any], path: str) -> Any:
    cls = classes().get(name)
    if cls is None:
        raise Unsupported("an unknown class", place=path, found=name, do="update jlstm")
    if unknown := set(values) - set(_hints(cls)):
        raise Unsupported(
            f"{name} has no such field",
            place=path,
            found=min(unknown),
            expected=", ".join(_hints(cls)),
            do="update jlstm",
        )
    _check_fields(cls, values, path, DamagedFile)
    try:
        return cls(**values)
    except TypeError as error:
        raise DamagedFile("a field is missing", place=path, found=error) from None


def _check_fields(
    cls: type, values: dict[str, Any], path: str, kind: type[JlstmError]
) -> None:
    for field, hint in _hints(cls).items():
        if field in values and not _fits(values[field], hint):
            raise kind(
                f"{cls.__name__} takes something else here",
                place=f"{path}.{field}",
                found=f"{values[field]!r:.80}",
                expected=hint if get_origin(hint) else getattr(hint, "__name__", hint),
            )


@cache
def _hints(cls: type) -> dict[str, Any]:
    """The annotations of the fields of a dataclass or a NamedTuple, in their order."""
    if not dataclasses.is_dataclass(cls):
        return get_type_hints(cls)
    # Not of the whole class: what else it annotates is not stored.
    fields = {field.name: field.type for field in dataclasses.fields(cls)}
    return get_type_hints(
        types.SimpleNamespace(__annotations__=fields),
        vars(importlib.import_module(cls.__module__)),
    )


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value is what an annotation says, as far as annotations here go."""
    origin, args = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return any(_fits(value, arg) for arg in args)
    if origin is Literal:
        return value in args
    if origin is tuple:
        if not isinstance(value, tuple):
            return False
        if args[-1:] == (...,):
            return all(_fits(item, args[0]) for item in value)
        return len(value) == len(args) and all(map(_fits, value, args))
    if origin is dict:
        items = value.values() if isinstance(value, dict) else ()
        return isinstance(value, dict) and all(_fits(v, args[1]) for v in items)
    if hint is Any:
        return True
    if hint in (jax.Array, np.ndarray):
        return isinstance(value, np.ndarray | jax.Array)
    if hint in (int, float):
        kinds = int if hint is int else int | float
        return isinstance(value, kinds) and not isinstance(value, bool)
    return isinstance(value, hint)


def _to_numpy(value: np.ndarray | jax.Array, path: str) -> np.ndarray:
    array = np.asarray(value)
    if array.dtype.name not in DTYPES:
        raise Unsupported(
            "no such numbers in a safetensors file", place=path, found=array.dtype
        )
    return np.asarray(array, array.dtype.newbyteorder("<"), order="C")


def rebuilt(net: Any, place: str, *, zeros: bool = False) -> Network:
    """Put a decoded network together anew, so that it passes every check of a new one.

    Args:
        net: what was decoded.
        place: where it stands in the file.
        zeros: layers that the file gives no state start from zeros.

    Raises:
        DamagedFile: no network, or layers, wires, states that do not fit together.
    """
    if not isinstance(net, Network):
        raise DamagedFile("not a network", place=place, found=type(net).__name__)
    try:
        built = Network.build(
            net.layers,
            net.graph,
            outputs=net.outputs,
            initial=net.initial,
            saved=net.saved,
            factors=net.factors,
            origin=net.origin,
        )
        # `build` drops a saved state that equals the initial one, be it -0.0 for 0.0,
        # and puts zeros where there is no state.
        initial = (built.initial if zeros else {}) | net.initial
        built = built.replace(initial=initial, saved=net.saved)
        check_arrays(built)
    except JlstmError as error:
        raise DamagedFile(
            error.summary,
            place=error.place,
            found=error.found,
            expected=error.expected,
        ) from None
    except Exception as error:
        # Whatever else a layer raises, what stands in the file is the reason.
        raise DamagedFile("the layers do not fit together", found=error) from None
    return built


def check_arrays(net: Network) -> None:
    """See that states and gates fit each other, without computing anything.

    `Network.build` has compared every layer with its inputs; this looks inside the
    recurrent ones.

    Raises:
        DamagedFile: a layer, a state or an output that does not fit.
    """
    if unknown := [ref for ref in net.outputs if ref not in net.shapes]:
        raise DamagedFile("an output that is not there", found=unknown[0])
    recurrent = {n: lay for n, lay in net.layers.items() if isinstance(lay, Recurrent)}
    for state in (net.initial, net.initial if net.saved is None else net.saved):
        if set(state) != set(recurrent):
            raise DamagedFile("states and recurrent layers differ", found=list(state))
    for name, layer in recurrent.items():
        zero = layer.init_state()
        states = [state[name] for state in (net.initial, net.saved) if state]
        if any(_outline(state) != _outline(zero) for state in states):
            raise DamagedFile(
                "a state that does not fit its layer",
                place=f"layer '{name}'",
                expected=jax.tree.map(np.shape, zero),
            )
        x = jax.ShapeDtypeStruct((2, layer.input_size), layer.dtype)
        try:
            jax.eval_shape(lambda lay, *a: lay.run(*a)[1], layer, zero, x)
        except Exception as error:
            # Whatever a layer raises here, its arrays are the reason.
            raise DamagedFile(
                "its arrays do not fit together",
                place=f"layer '{name}'",
                found=str(error).partition("\n")[0],
            ) from None


def _outline(state: Any) -> Any:
    leaves, structure = jax.tree.flatten(state)
    return structure, [np.shape(leaf) for leaf in leaves]
