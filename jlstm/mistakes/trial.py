"""A run of a network that may be wrong, and the mistakes that make it so.

A `Mistake` is data: its name, the layers and the parameters it has, and a small pure
function that turns a right `Trial` into a wrong one. Mistakes compose: parameters are
changed first, then the way they are run, then what goes in.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from ..network import Network, State
from .cells import SWITCH, SWITCHES, Both, Cell
from .engine import Wired, wire

PARAMETERS, RUNNING, VALUES, TIME, LENGTH, OUTPUT = range(6)
"""What a mistake changes, in the order in which mistakes take effect."""


class Run(NamedTuple):
    """One sequence on its way in.

    `x` is `(time, features)` by input; of its steps `begin` to `end` are run, and the
    `rows` steps from `at` on are those that were observed. `state` is where it starts,
    if not where the trial does.
    """

    x: dict[str, np.ndarray]
    begin: int
    end: int
    at: int
    rows: int
    state: dict[str, Any] | None = None

    @property
    def steps(self) -> int:
        """How many steps are run."""
        return self.end - self.begin


class Trial(NamedTuple):
    """Everything that a prediction depends on.

    `after` is what happens to the outputs `(time, columns)` once they are computed.
    """

    wired: Wired
    switches: np.ndarray
    runs: tuple[Run, ...]
    state: dict[str, Any]
    after: tuple[Callable[[np.ndarray], np.ndarray], ...] = ()

    @property
    def place(self) -> dict[str, int]:
        """The row of a layer in the table of switches."""
        return {node.name: k for k, node in enumerate(self.wired.graph)}


@dataclasses.dataclass(frozen=True, eq=False)
class Mistake:
    """One way to go wrong.

    Arguments:
        name: of the catalogue, "gate-order".
        layers: the layers it concerns; none for one of input or output.
        parameters: what else there is to know, {"order": "iofg"}.
        stage: what it changes, PARAMETERS to OUTPUT.
        change: the right trial to the wrong one.
        touches: two mistakes that touch the same thing are not combined.
        common: whether it is frequent.
        paired: whether it is looked for together with another one.
        fitted: how many numbers were fitted to the observation.
    """

    name: str
    layers: tuple[str, ...] = ()
    parameters: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    stage: int = RUNNING
    change: Callable[[Trial], Trial] = dataclasses.field(
        default=lambda trial: trial, repr=False
    )
    touches: frozenset[str] = frozenset()
    common: bool = True
    paired: bool = True
    fitted: int = 0

    def __str__(self) -> str:
        where = f" in {', '.join(self.layers)}" if self.layers else ""
        values = ", ".join(f"{k} {_short(v)}" for k, v in self.parameters.items())
        return self.name + where + (f" ({values})" if values else "")

    def goes_with(self, other: Mistake) -> bool:
        """Whether the two are about different things."""
        return not self.touches & other.touches


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list | tuple | np.ndarray):
        return " ".join(_short(item) for item in np.ravel(np.asarray(value, object)))
    return str(value)


def right(net: Network, xs: Iterable[Any]) -> Trial:
    """The trial without a mistake, from the initial state."""
    wired = wire(net)
    start = in_double(net.initial)
    runs = []
    for x in xs:
        given = _by_name(net, x)
        timed: Any = net.layers[net.inputs[0]]
        steps = len(given[net.inputs[0]]) if timed.time else 1
        runs.append(Run(given, 0, steps, 0, steps))
    switches = np.zeros((len(net.graph), len(SWITCHES)), np.int32)
    return Trial(wired, switches, tuple(runs), start)


def in_double(state: State) -> dict[str, Any]:
    """The state in double precision."""
    return jax.tree.map(lambda a: np.asarray(a, np.float64), state)


def _by_name(net: Network, x: Any) -> dict[str, np.ndarray]:
    if isinstance(x, Mapping):
        return {name: np.asarray(a, np.float64) for name, a in x.items()}
    xs = x if isinstance(x, tuple) else (x,)
    return {
        name: np.asarray(a, np.float64) for name, a in zip(net.inputs, xs, strict=True)
    }


def in_single(trial: Trial) -> Trial:
    """The trial with its parameters in single precision."""
    cast = jax.tree.map(lambda a: a.astype(np.float32), trial.wired)
    return trial._replace(wired=cast)


def compose(trial: Trial, mistakes: Iterable[Mistake]) -> Trial:
    """The trial with all of the mistakes, each at its stage."""
    for mistake in sorted(mistakes, key=lambda m: m.stage):
        trial = mistake.change(trial)
    return trial


# --- the building blocks of the catalogue ---------------------------------------------


def with_cells(names: Iterable[str], change: Callable[[Cell], Cell]) -> Any:
    """A change of the parameters of some recurrent layers, in both directions."""
    names = tuple(names)

    def both(layer: Cell | Both) -> Any:
        if isinstance(layer, Both):
            return dataclasses.replace(
                layer, forward=change(layer.forward), backward=change(layer.backward)
            )
        return change(layer)

    def apply(trial: Trial) -> Trial:
        changed = {name: both(trial.wired.layers[name]) for name in names}
        return with_layers(trial, changed)

    return apply


def scopes(names: Iterable[str]) -> list[tuple[str, ...]]:
    """All layers together, where there are several, then each by itself."""
    names = tuple(names)
    return [names] * (len(names) > 1) + [(name,) for name in names]


def with_layers(trial: Trial, changed: dict[str, Any]) -> Trial:
    """The trial with some layers changed."""
    layers = trial.wired.layers | changed
    return trial._replace(wired=dataclasses.replace(trial.wired, layers=layers))


def with_switch(names: Iterable[str], **values: int) -> Any:
    """A change of how some layers are run."""
    names = tuple(names)

    def apply(trial: Trial) -> Trial:
        switches = trial.switches.copy()
        place = trial.place
        for name in names:
            for key, value in values.items():
                switches[place[name], SWITCH[key]] = value
        return trial._replace(switches=switches)

    return apply


def with_input(change: Callable[[np.ndarray], np.ndarray], name: str | None = None):
    """A change of one input or of all, `(time, features)` to the same shape."""

    def apply(trial: Trial) -> Trial:
        runs = []
        for run in trial.runs:
            x = {
                key: change(value) if name in (None, key) else value
                for key, value in run.x.items()
            }
            runs.append(run._replace(x=x))
        return trial._replace(runs=tuple(runs))

    return apply


def of_input(
    name: str,
    parameters: Mapping[str, Any],
    stage: int,
    change: Callable[[np.ndarray], np.ndarray],
    aspect: str,
    *,
    common: bool = True,
    paired: bool = True,
    layer: str | None = None,
) -> Mistake:
    """A mistake in what goes in, into one input layer or into all."""
    return Mistake(
        name,
        (layer,) if layer else (),
        parameters,
        stage,
        with_input(change, layer),
        frozenset(f"x {part}" for part in aspect.split()),
        common,
        paired,
    )


def switched(
    name: str,
    layers: tuple[str, ...],
    aspect: str,
    parameters: dict[str, Any] | None = None,
    *,
    common: bool = True,
    paired: bool = True,
    **switches: int,
) -> Mistake:
    """A mistake in how layers are run, which a switch makes."""
    touches = frozenset(f"{a}:{layer}" for a in aspect.split() for layer in layers)
    return Mistake(
        name, layers, parameters or {}, RUNNING, with_switch(layers, **switches),
        touches, common, paired,
    )  # fmt: skip
