"""Which tensors of a torch file are the weights: one state dict, or a saved module.

A checkpoint holds the weights beside the state of the optimiser, counters, settings.
What has the names of weights (`fc.weight`, `lstm.weight_ih_l0`) is a state dict; a
module that was saved whole is taken apart by the attributes that every
`torch.nn.Module` has.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from typing import Any, NamedTuple

from ..errors import Ambiguous, InputError, Unsupported
from .pytorch_norms import with_norms
from .pytorch_pickle import Record
from .pytorch_tensors import Tensor

WEIGHT = re.compile(
    r"(.*\.)?(weight(_(ih|hh)(_l\d+(_reverse)?)?|_[vg])?"
    r"|parametrizations\.weight\w*\.original[01]?)"
)
TRAINING = re.compile(r"optim|sched|scaler|amp\b|(^|_)grad|momentum|loops|callbacks")
"""Keys of a checkpoint under which there is something about training only."""
PREFIXES = {
    "module.": "DataParallel",
    "_orig_mod.": "torch.compile",
}
"""What wrappers put before every name."""
COUNTERS = "num_batches_tracked"
DEEPEST = 6
DEEPEST_MODULE = 30
MOST_MODULES = 10_000
FROZEN = (
    "if it was frozen (torch.jit.freeze), its weights became constants in its code: "
    "save the module before that, or its state dict"
)
LOSSES = "torch.nn.modules.loss"
"""Where the classes of losses are, whose weights no prediction needs."""
MOST_ITEMS = 20
"""Of a list or tuple that state dicts are looked for in."""
LONGEST = 200
"""Characters of a name."""
SHOWN = 20
"""How many names an error lists."""


class State(NamedTuple):
    """The weights of a torch file.

    Attributes:
        tensors: by name.
        modules: the objects of a module that was saved whole, by name; the module
            itself under "". Empty for a state dict.
        place: where in the file they are.
        notices: what was changed or left out, for the user.
        ignored: names that were left out on purpose.
    """

    tensors: dict[str, Any]
    modules: dict[str, Record]
    place: str
    notices: tuple[str, ...]
    ignored: tuple[str, ...]


def find(tree: Any, variable: str | None = None) -> State:
    """The weights in the object that a file holds.

    Arguments:
        tree: the object.
        variable: which of several state dicts, "model" or "nets.generator".

    Raises:
        Ambiguous: several state dicts.
        Unsupported: none.
        InputError: no state dict of that name.
    """
    found = dict(_candidates(tree))
    if _is_script(tree) and not taken_apart(tree)[0]:
        found = {}
    shown = ", ".join(repr(place)[:80] for place in [*found][:SHOWN])
    if not found:
        raise Unsupported(
            "no weights in this file",
            found=_outline(tree),
            expected="a state dict, or a checkpoint that contains one: names such as "
            "lstm.weight_ih_l0 or fc.weight, and their tensors",
            do=FROZEN if _is_script(tree) else None,
        )
    if variable is not None and variable not in found:
        raise InputError(
            "no weights of this name", found=repr(variable), expected=shown
        )
    if variable is None and len(found) > 1:
        raise Ambiguous(
            "several networks in this file",
            found=shown,
            do="name one of them: variable=..., or --variable",
        )
    place = variable if variable is not None else next(iter(found))
    state = _taken(found[place], place)
    return _whole(_without_prefix(state, _beside(tree, place)))


def from_tensors(tensors: dict[str, Any]) -> State:
    """The weights of a file that holds nothing but named arrays."""
    return _whole(_without_prefix(State(dict(tensors), {}, "", (), ()), ()))


def _whole(state: State) -> State:
    """With weights that are stored in two parts put together."""
    tensors, notices = with_norms(state.tensors)
    return state._replace(tensors=tensors, notices=(*state.notices, *notices))


def _candidates(tree: Any) -> Iterator[tuple[str, Any]]:
    """Every state dict and every saved module, by where it is."""
    waiting = deque([("", tree)])
    seen: set[int] = set()
    while waiting:
        place, value = waiting.popleft()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if is_module(value):
            # The module that a file is may have no weights; others are beside them.
            if not place or (value.kind.module != LOSSES and taken_apart(value)[0]):
                yield place, value
        elif _is_state_dict(value):
            yield place, value
        elif place.count(".") < DEEPEST:
            waiting += [
                (f"{place}.{key}" if place else key, item)
                for key, item in _items(value)
                if isinstance(item, dict | list | tuple | Record)
                and isinstance(key, str)
                and len(key) < LONGEST
                and not TRAINING.search(key.lower())
            ]


def _items(value: Any) -> list[tuple[Any, Any]]:
    """What a container holds, that of a short list by number."""
    if isinstance(value, dict):
        return [*value.items()]
    short = isinstance(value, list | tuple) and len(value) <= MOST_ITEMS
    return [(str(k), item) for k, item in enumerate(value)] if short else []


def is_module(value: Any) -> bool:
    """Whether a record is a `torch.nn.Module`, pickled or scripted."""
    if not isinstance(value, Record) or not isinstance(value.state, dict):
        return False
    scripted = value.kind.module.startswith("__torch__")
    return scripted or {"_parameters", "_modules"} <= set(value.state)


def _is_script(value: Any) -> bool:
    """Whether a module was scripted or traced."""
    return is_module(value) and value.kind.module.startswith("__torch__")


def _is_state_dict(value: Any) -> bool:
    return isinstance(value, dict) and any(
        isinstance(key, str) and isinstance(item, Tensor) and WEIGHT.fullmatch(key)
        for key, item in value.items()
    )


def _beside(tree: Any, place: str) -> tuple[str, ...]:
    """What else a checkpoint holds, next to the weights."""
    if not place or not isinstance(tree, dict):
        return ()
    first = place.partition(".")[0]
    others = [f"{key!s:.80}" for key in tree if key not in (first, place)]
    return tuple(others[:SHOWN])


def _taken(value: Any, place: str) -> State:
    if isinstance(value, Record):
        tensors, modules = taken_apart(value)
        return State(tensors, modules, place, (), ())
    tensors = {k: v for k, v in value.items() if isinstance(v, Tensor)}
    others = tuple(f"{k!s:.80}" for k, v in value.items() if not isinstance(v, Tensor))
    unnamed = [key for key in tensors if not _is_name(key)]
    if unnamed:
        raise Unsupported("a tensor without a name", found=f"{unnamed[0]!s:.80}")
    return State(tensors, {}, place, (), others)


def taken_apart(module: Record) -> tuple[dict[str, Tensor], dict[str, Record]]:
    """The tensors and the modules inside a saved module, by name.

    What `state_dict()` would give: parameters, and buffers that are kept. A parameter
    that two modules share appears under both names.
    """
    tensors: dict[str, Tensor] = {}
    modules: dict[str, Record] = {}
    waiting = deque([("", module)])
    while waiting:
        prefix, record = waiting.popleft()
        if len(modules) == MOST_MODULES:
            raise Unsupported(
                "too many modules, or modules within themselves",
                expected=f"at most {MOST_MODULES}",
            )
        if prefix.count(".") > DEEPEST_MODULE:
            raise Unsupported("modules nested too deeply", found=prefix[:80])
        modules[prefix.removesuffix(".")] = record
        own, inner = _parts(record)
        tensors |= {prefix + name: value for name, value in own.items()}
        waiting += [(f"{prefix}{name}.", value) for name, value in inner.items()]
    return tensors, modules


def _parts(record: Record) -> tuple[dict[str, Tensor], dict[str, Record]]:
    """The tensors and the modules of one module."""
    state = record.state
    if "_parameters" in state:
        passing = state.get("_non_persistent_buffers_set") or ()
        groups = [_dict(state, key) for key in ("_parameters", "_buffers")]
        held = {k: v for group in groups for k, v in group.items() if k not in passing}
        inner = _dict(state, "_modules")
    else:
        held = inner = state
    if long := [k for k in (*held, *inner) if not _is_name(k)]:
        raise Unsupported("the name of a parameter or module", found=f"{long[0]!s:.80}")
    return (
        {k: v for k, v in held.items() if isinstance(v, Tensor)},
        {k: v for k, v in inner.items() if is_module(v)},
    )


def _is_name(key: Any) -> bool:
    return isinstance(key, str) and len(key) < LONGEST


def _dict(state: dict[str, Any], key: str) -> dict[Any, Any]:
    value = state.get(key)
    return value if isinstance(value, dict) else {}


def _without_prefix(state: State, beside: tuple[str, ...]) -> State:
    tensors, modules, notices = state.tensors, state.modules, list(state.notices)
    again = True
    while again and tensors:
        again = False
        for prefix, wrapper in PREFIXES.items():
            if all(name.startswith(prefix) for name in tensors):
                tensors = {k[len(prefix) :]: v for k, v in tensors.items()}
                modules = {
                    f"{name}.".removeprefix(prefix).removesuffix("."): record
                    for name, record in modules.items()
                    if f"{name}.".startswith(prefix)
                }
                notices.append(f"'{prefix}' ({wrapper}) taken off every name")
                again = True
    counters = [n for n in tensors if n.rpartition(".")[2] == COUNTERS]
    tensors = {n: t for n, t in tensors.items() if n not in counters}
    ignored = (*state.ignored, *beside, *counters)
    return state._replace(
        tensors=tensors, modules=modules, notices=tuple(notices), ignored=ignored
    )


def _outline(tree: Any) -> str:
    """One line about an object, whatever it is."""
    if isinstance(tree, dict):
        keys = [f"{key!s:.40}" for key in list(tree)[:8]]
        return f"a dict of {', '.join(keys) or 'nothing'}"
    return f"{tree!r:.80}" if isinstance(tree, Record | Tensor) else type(tree).__name__
