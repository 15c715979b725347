"""Recurrent layers: how they run, with masks, states, and time reversed."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

from ... import layers as L
from ...recurrent import Bidirectional
from .cells import CELLS, Cell, variables
from .registry import Config, Variable, below, inner, owners, reader
from .wiring import Call, Tensor

LAYERS = ("LSTM", "GRU", "SimpleRNN", "CuDNNLSTM", "CuDNNGRU")
NO_PART = ("unroll", "implementation", "dropout", "recurrent_dropout", "max_wavelength")
MERGES = {"concat": L.Concatenation, "sum": L.Addition, "mul": L.Multiplication,
          "ave": L.Addition}  # fmt: skip


class Stack(NamedTuple):
    """Cells one upon the other, and how they run.

    Arguments:
        cells: the layers, the lowest first.
        backwards: whether they take the steps from the last to the first.
        sequences: whether they give all steps, or the last.
        states: whether they give their final states too.
        zeros: whether masked steps give zeros instead of what was before.
    """

    cells: list[Cell]
    backwards: bool
    sequences: bool
    states: bool
    zeros: bool


# --- what they own --------------------------------------------------------------------


def _of_layer(config: Config) -> list[Variable]:
    return below("cell", variables(config))


def _of_cells(config: Config) -> list[Variable]:
    class_name, values = inner(config, "cell")
    return below("cell", _of_cell(class_name, values))


def _of_cell(class_name: str, values: Config) -> list[Variable]:
    if class_name != "StackedRNNCells":
        return variables(values)
    found = []
    for (name, config), owner in zip(*_parts(values), strict=True):
        found += below(owner, _of_cell(name, config))
    return found


def _parts(values: Config) -> tuple[list[tuple[str, Config]], list[str]]:
    """The cells of a stack, and where each has its arrays."""
    cells = [inner({"cell": entry}, "cell") for entry in values.get("cells", [])]
    return cells, owners("cells", [name for name, _ in cells])


def _of_directions(config: Config) -> list[Variable]:
    found = []
    for part in ("forward_layer", "backward_layer"):
        class_name, values = _direction(config, part)
        own = _of_cells if class_name == "RNN" else _of_layer
        found += below(part, own(values))
    return found


def _direction(config: Config, part: str) -> tuple[str, Config]:
    """The layer of one direction; the backward one may be left to the forward one."""
    if part == "backward_layer" and config.get(part) is not None:
        return inner(config, part)
    return inner(config, "layer")


# --- reading --------------------------------------------------------------------------


def _stack(call: Call, class_name: str) -> Stack:
    s = call.settings
    if s.flag("stateful", default=False):
        s.notices.append(
            f"{call.name}: Keras keeps its state from batch to batch (stateful); here "
            "every prediction starts from zero, and a Stream goes on"
        )
    s.ignore(*NO_PART)
    s.only(time_major=False, num_constants=None)
    how = {
        name: s.flag(name, default=False)
        for name in (
            "go_backwards",
            "return_sequences",
            "return_state",
            "zero_output_for_mask",
        )
    }
    if class_name == "RNN":
        name, values = inner({"cell": s.take("cell")}, "cell")
        cells = _cells(call.inside(values, "cell", "cell"), name)
    elif class_name in LAYERS:
        cells = [CELLS[class_name](call.owning("cell"))]
    else:
        s.refuse("layer", class_name, ", ".join([*LAYERS, "RNN"]))
    return Stack(cells, *how.values())


def _cells(call: Call, class_name: str) -> list[Cell]:
    s = call.settings
    if class_name in CELLS and class_name not in LAYERS:
        s.ignore(*NO_PART)
        cells = [CELLS[class_name](call)]
    elif class_name == "StackedRNNCells":
        parts, owners = _parts({"cells": s.take("cells")})
        s.only(reverse_state_order=False)
        cells = []
        for k, ((name, values), owner) in enumerate(zip(parts, owners, strict=True)):
            cells += _cells(call.inside(values, f"cells[{k}]", owner), name)
    else:
        s.refuse("class", class_name, "LSTMCell, GRUCell, SimpleRNNCell")
    s.finish()
    return cells


def _layer(call: Call, class_name: str) -> list[Tensor]:
    return _run(call, _stack(call, class_name), _x(call), _states(call))


for _name in LAYERS:
    reader(_name, variables=_of_layer, mask="own")(
        lambda call, name=_name: _layer(call, name)
    )


@reader("RNN", variables=_of_cells, mask="own")
def _rnn(call: Call) -> list[Tensor]:
    return _layer(call, "RNN")


def _x(call: Call) -> Tensor:
    return call.inputs[0]


def _states(call: Call) -> list[Tensor]:
    """The states that a call starts from; empty where it starts from zero."""
    given = call.arguments.get("initial_state") or []
    given = [given] if isinstance(given, Tensor) else list(given)
    return [*call.inputs[1:], *given]


def _leaves_mask(call: Call) -> bool:
    """Whether a layer does not see the mask of its input, and hands it on all the same.

    Seen in Keras 3: what is called with two tensors is not given the mask of the first.
    """
    named = call.arguments
    return (
        call.settings.generation == 3
        and bool(named.get("initial_state"))
        and named.get("mask") is None
    )


def _run(
    call: Call, stack: Stack, x: Tensor, states: list[Tensor], part: str = ""
) -> list[Tensor]:
    """The output, then the final states where they are asked for."""
    mask = None if _leaves_mask(call) else x.mask
    if mask is not x.mask:
        call.settings.notices.append(
            f"{call.name}: Keras 3 does not mask a layer that is given its states"
        )
    if mask is not None and stack.zeros and not stack.sequences:
        call.settings.refuse("zero_output_for_mask", True, "false for the last step")
    ref = x.ref
    if stack.backwards:
        ref = call.add(L.Flip(), ref, part=_join(part, "flip"))
        mask = mask and mask._replace(flips=mask.flips + 1)
    masks = [] if mask is None else [call.mask_node(mask)]
    ports: list[str] = []
    left = [state.ref for state in states]
    for k, cell in enumerate(stack.cells):
        top = k == len(stack.cells) - 1
        last = top and not stack.sequences
        cell = dataclasses.replace(
            cell, output_mode="last" if last else "sequence", masked=mask is not None
        )
        count = len(cell.ports) if states else 0
        starts, left = left[:count], left[count:]
        if len(starts) < count:
            call.settings.refuse("initial_state", f"{len(states)} states", "more")
        name = part if top else _join(part, str(k))
        ref = call.add(cell, ref, *masks, *starts, part=name)
        ports += [f"{ref}/{port}" for port in cell.ports]
    if left:
        call.settings.refuse("initial_state", f"{len(states)} states", "fewer")
    if mask is not None and stack.zeros:
        ref = call.add(L.Multiplication(), ref, *masks, part=_join(part, "counted"))
    # Keras hands the mask on as it came, also where the steps are turned round.
    kept = (x.steps, x.mask) if stack.sequences else (None, None)
    shapes = call.wiring.shapes
    found = [Tensor(ref, shapes[ref], *kept)]
    return found + [Tensor(p, shapes[p]) for p in ports if stack.states]


def _join(part: str, more: str) -> str:
    return f"{part}.{more}" if part else more


# --- both directions ------------------------------------------------------------------


@reader("Bidirectional", variables=_of_directions, mask="own")
def _bidirectional(call: Call) -> list[Tensor]:
    s = call.settings
    merge = s.choice("merge_mode", (*MERGES, None), s.none_or("merge_mode", "concat"))
    forward, backward = (_half(call, p) for p in ("forward_layer", "backward_layer"))
    x, states = _x(call), _states(call)
    halves = [*forward.cells, *backward.cells]
    plain = (
        len(halves) == 2
        and not (forward.backwards or forward.states or states)
        and forward.zeros == backward.zeros
    )
    if plain and merge is not None:
        layer = Bidirectional(
            *halves,
            output_mode="sequence" if forward.sequences else "last",
            merge=merge,
            masked=x.mask is not None,
        )
        masks = [] if x.mask is None else [call.mask_node(x.mask)]
        ref = call.add(layer, x.ref, *masks)
        if masks and forward.zeros:
            ref = call.add(L.Multiplication(), ref, *masks, part="counted")
        kept = (x.steps, x.mask) if forward.sequences else (None, None)
        return [Tensor(ref, call.wiring.shapes[ref], *kept)]
    return _apart(call, forward, backward, states, merge)


def _half(call: Call, part: str) -> Stack:
    s = call.settings
    config = {"layer": s.take("layer"), part: s.take(part, default=None)}
    class_name, values = _direction(config, part)
    within = call.inside(values, part, part)
    stack = _stack(within, class_name)
    within.settings.finish()
    if _zeroes(s.generation, s.version):
        stack = stack._replace(zeros=stack.sequences)
    if part == "backward_layer" and config[part] is None:
        stack = stack._replace(backwards=not stack.backwards)
    return stack


def _zeroes(generation: int | None, version: str) -> bool:
    """Whether Bidirectional has its layers give zeros at masked steps.

    Where they give all steps, whatever their own configuration says: in tf.keras (seen
    in 2.15) and in Keras 3; not in Keras by itself, which ended with 2.3.
    """
    numbers = version.partition("-")[0].split(".")
    known = tuple(int(n) for n in numbers[:2] if n.isdigit())
    return generation == 3 or version.endswith("-tf") or known >= (2, 4)


def _apart(
    call: Call, forward: Stack, backward: Stack, states: list[Tensor], merge: str | None
) -> list[Tensor]:
    """The two directions as layers of their own, where their states are asked for."""
    if forward.backwards == backward.backwards:
        call.settings.refuse("backward_layer", "both in one direction", "opposite ones")
    half = len(states) // 2
    x = _x(call)
    ahead = _run(call, forward, x, states[:half], "forward")
    behind = _run(call, backward, x, states[half:], "backward")
    y_back = behind[0]
    if forward.sequences:
        ref = call.add(L.Flip(), y_back.ref, part="backward.turned")
        y_back = y_back._replace(ref=ref)
    if merge is None:
        return [ahead[0], y_back, *ahead[1:], *behind[1:]]
    part = "sum" if merge == "ave" else ""
    ref = call.add(MERGES[merge](), ahead[0].ref, y_back.ref, part=part)
    if merge == "ave":
        ref = call.add(L.Activation("affine", (0.5,)), ref)
    y = ahead[0]._replace(ref=ref, shape=call.wiring.shapes[ref])
    return [y, *ahead[1:], *behind[1:]]
