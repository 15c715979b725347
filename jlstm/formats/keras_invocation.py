"""One call of a Keras layer or of an operation: what it gets, and what it gives."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

from ..errors import DamagedFile, JlstmError, Unsupported
from . import keras_layers
from .keras_calls import TENSORFLOW_OPS, Entry, Invocation
from .keras_layers import Call, Mask, Tensor, kind
from .keras_layers.operations import TENSORFLOW
from .keras_layers.registry import inner
from .keras_layers.settings import Settings

INERT_ARGUMENTS = ("training", "mask", "initial_state", "name")
"""Arguments of calls that are read, or have no part in a prediction."""


class Unknown(NamedTuple):
    """What an operation gives that is not known; a refusal where it is needed."""

    error: JlstmError


def as_tensor(value: Any, place: str) -> Tensor:
    """A tensor; raises what an unknown operation left behind where it is none."""
    if isinstance(value, Tensor):
        return value
    if isinstance(value, Unknown):
        raise value.error
    raise Unsupported("not a tensor of the network", place=place, found=value)


def _settings(call: Call, entry: Entry) -> tuple[str, str, Settings]:
    name = f"{call.name}.{entry.name}" if call.name else entry.name
    settings = call.settings.inside(entry.config, entry.name)
    return name, settings.place, settings


def operated(call: Call, invocation: Invocation) -> Any:
    """What an operation gives."""
    entry = invocation.entry
    name, place, settings = _settings(call, entry)
    function = entry.class_name
    options = dict(invocation.named)
    if function in TENSORFLOW_OPS:
        told = entry.config.get("function")
        function = TENSORFLOW.get(str(told), str(told))
        options.pop("name", None)
    else:
        own = {k: v for k, v in entry.config.items() if k not in ("name", "dtype")}
        options = own | options
    if function not in keras_layers.OPERATIONS:
        raise Unsupported(f"jlstm does not know the operation {function}", place=place)
    for value in [*invocation.positional, *options.values()]:
        if isinstance(value, Unknown):
            raise value.error
    if invocation.number:
        name = f"{name}_{invocation.number + 1}"
    within = replace(call, name=name, place=place, settings=settings, weights={})
    try:
        return keras_layers.OPERATIONS[function](
            within, *invocation.positional, **options
        )
    except TypeError as error:
        raise Unsupported(
            "an operation with unknown arguments", place=place, found=error
        ) from error


def invoked(call: Call, invocation: Invocation, brought: int | None) -> list[Tensor]:
    """What a layer gives."""
    entry = invocation.entry
    name, place, settings = _settings(call, entry)
    known = kind(entry.class_name, place)
    inputs, arguments = _arguments(invocation, place)
    if brought is not None and brought > 1:
        raise Unsupported("several tensors in a series", place=place, found=brought)
    if invocation.number:
        if known.variables(entry.config):
            call.wiring.notices.append(
                f"{name}: called {len(entry.calls)} times; every call has the same "
                "weights, and a copy of them"
            )
        name = f"{name}_{invocation.number + 1}"
    if call.distributed and not known.per_step:
        raise Unsupported(
            f"a layer {entry.class_name} inside TimeDistributed", place=place
        )
    within = replace(
        call.owning(entry.owner),
        name=name,
        place=place,
        settings=settings,
        inputs=inputs,
        arguments=arguments,
    )
    if not known.flat:
        inputs = [within.as_vector(x) for x in inputs]
        within = replace(within, inputs=inputs)
    _policy(settings, call)
    for x in inputs:
        require_settled(x, place, _takes(entry))
    try:
        found = known.read(within)
    except JlstmError as error:
        raise error if error.place else error.within(place=place) from None
    settings.finish()
    found = found if isinstance(found, list) else [found]
    if known.mask == "stop" or (
        known.mask == "stop before 3" and settings.generation != 3
    ):
        if any(x.mask for x in inputs):
            call.wiring.notices.append(f"{name}: {entry.class_name} ends the mask")
        found = [x._replace(mask=None) for x in found]
    return found


def _arguments(
    invocation: Invocation, place: str
) -> tuple[list[Tensor], dict[str, Any]]:
    """The tensors that a layer is called with, masks attached, and what else."""
    named = dict(invocation.named)
    given = list(invocation.positional)
    first = named.pop("inputs", None) or named.pop("sequences", None)
    given = given if first is None else [first, *given]
    flat: list[Any] = []
    for x in given:
        flat += x if isinstance(x, list) else [x]
    inputs = [as_tensor(x, place) for x in flat if x is not None]
    if not inputs:
        raise DamagedFile("a layer without an input", place=place)
    if named.get("training"):
        raise Unsupported(
            "a layer that runs as in training", place=place, found="training=True"
        )
    masks = named.get("mask")
    masks = masks if isinstance(masks, list) else [masks]
    for k, mask in enumerate(masks[: len(inputs)]):
        if mask is not None:
            inputs[k] = inputs[k]._replace(mask=_mask(mask))
    states = named.get("initial_state")
    if states is not None:
        states = states if isinstance(states, list) else [states]
        named["initial_state"] = [as_tensor(x, place) for x in states]
    for name, value in named.items():
        if name not in INERT_ARGUMENTS and value not in (None, False):
            raise Unsupported(
                "a call with an unknown argument", place=place, found=f"{name}={value}"
            )
    return inputs, named


def require_settled(x: Tensor, place: str, takes: str) -> None:
    """Refuse what one layer left for the next, and the next does not take up."""
    if x.pending is not None and x.pending.kind != takes:
        follower = {"turned": "Reshape", "padded": "Conv2D"}[x.pending.kind]
        raise Unsupported(
            f"jlstm does not know the layer class {x.pending.layer} where no "
            f"{follower} follows that takes up what it does",
            place=place,
            found=f"values that are {x.pending.kind}",
        )


def _takes(entry: Entry) -> str:
    """What a layer takes up that the one before it left to be done."""
    class_name, config = entry.class_name, entry.config
    if class_name == "TimeDistributed":
        class_name, config = inner(config, "layer")
    return kind(class_name, entry.name).takes


def _mask(value: Any) -> Mask:
    """An explicit mask; what it is not is said where it is needed."""
    if isinstance(value, Unknown):
        return Mask("", problem=str(value.error.summary))
    if type(value) is Mask:
        return value
    return Mask("", problem="it is computed in another way than by Keras's own layers")


def _policy(settings: Settings, call: Call) -> None:
    """What the precision of a layer means for the answer."""
    value = settings.values.get("dtype")
    if isinstance(value, dict):
        if "Quantized" in str(value.get("class_name")):
            settings.refuse("dtype", value.get("class_name"), "no quantisation")
        config = value.get("config")
        value = config.get("name") if isinstance(config, dict) else value
    if value in (None, "float32", "float64"):
        return
    if str(value) in ("float16", "bfloat16", "mixed_float16", "mixed_bfloat16"):
        notice = f"Keras computes in {value}; jlstm in {call.dtype}"
        if notice not in call.wiring.notices:
            call.wiring.notices.append(notice)
        return
    settings.refuse("dtype", value, "a floating point precision")
