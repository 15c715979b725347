"""How parameters change at a step: L2, gradient threshold, solver, in MATLAB's order.

    g += lambda L2Factor * p                       coupled L2
    g  = threshold(g)                              see `clipping`
    p += solver(g, rate(k) LearnRateFactor)        see `schedules` for the rate

Parameters are a flat dict from key path to array. One whose LearnRateFactor is 0 is
left out of all of this: no L2, no moments, no part in any norm.

Sources: MathWorks, `trainingOptions`, `adamupdate`, `rmspropupdate`, `sgdmupdate` and
the reference pages of the layers; Kingma & Ba 2015 (Adam); Loshchilov & Hutter 2019
(AdamW).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from ..config import FineTuneConfig, is_zero
from ..errors import InputError
from ..network import Factors, Network
from ..recurrent import Bidirectional, Recurrent
from .clipping import clip
from .parameters import Parameters
from .schedules import Schedule, learn_rate

ARRAYS = {
    "input_weights": "InputWeights",
    "recurrent_weights": "RecurrentWeights",
    "bias": "Bias",
    "recurrent_bias": "Bias",
}
"""The parts of a gate, and MATLAB's array that holds them for all gates."""


class Rules(NamedTuple):
    """What sets one trained parameter apart from another.

    Arguments:
        learn_rate: LearnRateFactor by path, for every trained parameter.
        l2: L2Factor by path, for the same.
        joined: groups of paths that are one learnable array in MATLAB; together they
            hold every path once.
    """

    learn_rate: Mapping[str, float]
    l2: Mapping[str, float]
    joined: tuple[tuple[str, ...], ...]


def rules(net: Network, paths: Iterable[str]) -> Rules:
    """The rules for the parameters at `paths`, from the factors of the network.

    MATLAB's defaults: LearnRateFactor 1; L2Factor 0 for biases, 1 for all else, also
    for the offset of a normalisation. The recurrent bias of a GRU has the factors of
    the bias: both are one array in MATLAB. A path that is no array of `net` has the
    defaults.
    """
    paths = tuple(paths)
    given = {entry.path: entry for entry in net.factors}
    found = {path: _factors(given, path) for path in paths}
    arrays = _arrays(net)
    groups: dict[Any, list[str]] = {}
    for path in paths:
        groups.setdefault(arrays.get(path, path), []).append(path)
    return Rules(
        {path: entry.learn_rate for path, entry in found.items()},
        {path: entry.l2 for path, entry in found.items()},
        tuple(tuple(group) for group in groups.values()),
    )


def _factors(given: Mapping[str, Factors], path: str) -> Factors:
    if path in given:
        return given[path]
    gate, _, name = path.rpartition(".")
    if name == "recurrent_bias" and f"{gate}.bias" in given:
        return given[f"{gate}.bias"]
    return Factors(path, 1.0, 0.0 if name.endswith("bias") else 1.0)


def _arrays(net: Network) -> dict[str, tuple[str, str]]:
    """MATLAB's array, `(layer, name)`, by the path of its part in a gate."""
    found = {}
    for name, layer in net.layers.items():
        if isinstance(layer, Bidirectional):
            parts = {".forward": layer.forward, ".backward": layer.backward}
        else:
            parts = {"": layer} if isinstance(layer, Recurrent) else {}
        for side, part in parts.items():
            for gate in part.gates:
                for field, array in ARRAYS.items():
                    path = f".layers[{name!r}]{side}.{gate}.{field}"
                    found[path] = (name, array)
    return found


def solver(
    config: FineTuneConfig,
    rules: Rules,
    steps_per_epoch: int,
    *,
    transformation: optax.GradientTransformation | None = None,
) -> optax.GradientTransformationExtraArgs:
    """The whole update: `update(gradients, state, parameters)` of the data loss.

    `g` is the gradient after L2 and threshold, `r` the rate times LearnRateFactor, `k`
    counts steps from 1, all operations are elementwise.

        m = b1 m + (1 - b1) g,  v = b2 v + (1 - b2) g^2,  c_i = 1 - bi^k

        adam, matlab     p -= r sqrt(c2) / c1 m / (sqrt(v) + epsilon)
        adam, exact      p -= r (m / c1) / (sqrt(v / c2) + epsilon)
        adamw, exact     as adam, and p -= r weight_decay L2Factor p
        rmsprop          p -= r g / (sqrt(v) + epsilon)
        sgdm, matlab     u = momentum u - r g,  p += u
        sgdm, exact      u = momentum u + g,    p -= r u
        lbfgs            optax's: ten pairs, zoom line search; not MATLAB's bit for bit

    The two forms of sgdm differ when the rate changes, those of adam where gradients
    are as small as epsilon. b1 is GradientDecayFactor, b2 SquaredGradientDecayFactor.

    Arguments:
        config: the options; `l2_regularization` None is 1e-4 with matlab semantics and
            0 with exact ones.
        rules: factors and joined arrays, from `rules`.
        steps_per_epoch: mini-batches in an epoch, for the schedules.
        transformation: any optax transformation in place of the solver and its
            schedule; its updates are multiplied by LearnRateFactor.

    Returns:
        a transformation over the dict of exactly the parameters in `rules`. With lbfgs
        (and any transformation that searches along a line) its `update` needs `value=`
        and `grad=`, loss and gradients at `parameters`, and `value_fn=`, the loss as a
        function of such a dict, all of them of the data alone: L2 is added here.

    Raises:
        InputError: options that contradict each other, or nothing to train; from
            `init` and `update`: other parameters than in `rules`.
    """
    trained = tuple(path for path, rate in rules.learn_rate.items() if rate)
    if not trained:
        raise InputError(
            "nothing is left to train",
            found=f"{len(rules.learn_rate)} parameters, none with a rate above 0",
            do="train other parameters, or clear the network's learn-rate factors",
        )
    if transformation is None:
        _check(config, rules)
        transformation = _solver(config, rules, learn_rate(config, steps_per_epoch))
    joined = [[p for p in group if p in trained] for group in rules.joined]
    inner = optax.chain(
        clip(config, [group for group in joined if group]),
        optax.with_extra_args_support(transformation),
        _scale({path: rules.learn_rate[path] for path in trained}),
    )
    return _regularised(inner, set(rules.learn_rate), _decays(config, rules, trained))


def _check(config: FineTuneConfig, rules: Rules) -> None:
    """Refuse what a solver cannot honour."""
    if config.solver == "adamw" and config.semantics == "matlab":
        raise InputError(
            "MATLAB has no adamw: its L2 is coupled",
            found="solver adamw, semantics matlab",
            do='set semantics = "exact", or solver = "adam" with l2_regularization',
        )
    if config.solver != "lbfgs":
        return
    set_in_vain = {
        "initial_learn_rate": config.initial_learn_rate is not None,
        "learn_rate_schedule": config.learn_rate_schedule != "none",
        "gradient_threshold": config.gradient_threshold is not None,
        "learn-rate factors": not set(rules.learn_rate.values()) <= {0.0, 1.0},
    }
    if any(set_in_vain.values()):
        raise InputError(
            "lbfgs finds the length of its steps by itself",
            found=", ".join(name for name, there in set_in_vain.items() if there),
            expected="no rate, no threshold, no learn-rate factor but 0 and 1",
            do="leave them out, `net.replace(factors=())` drops all factors, or "
            "choose another solver",
        )


def _solver(
    config: FineTuneConfig, rules: Rules, rate: Schedule
) -> optax.GradientTransformation:
    """The step of the configured solver, without L2, threshold and factors."""
    matlab = config.semantics == "matlab"
    b1, b2 = config.gradient_decay_factor, config.squared_gradient_decay_factor
    epsilon, momentum = config.epsilon, config.momentum
    down = optax.scale_by_learning_rate(rate)
    if config.solver == "rmsprop":
        decay = 0.9 if b2 is None else b2
        return optax.rmsprop(rate, decay, epsilon, eps_in_sqrt=False)
    if config.solver == "sgdm":
        if matlab:
            return optax.chain(down, optax.trace(momentum))
        return optax.sgd(rate, momentum)
    if config.solver == "lbfgs":
        return optax.lbfgs(memory_size=10)
    b2 = 0.999 if b2 is None else b2
    if config.solver == "adamw":
        decays = {p: config.weight_decay * factor for p, factor in rules.l2.items()}
        adam = optax.scale_by_adam(b1, b2, epsilon)
        return optax.chain(adam, _add_decayed(decays), down)
    if matlab:
        return optax.chain(_scale_by_matlab_adam(b1, b2, epsilon), down)
    return optax.adam(rate, b1, b2, epsilon)


class _Moments(NamedTuple):
    steps: jax.Array
    first: Parameters
    second: Parameters


def _scale_by_matlab_adam(
    b1: float, b2: float, epsilon: float
) -> optax.GradientTransformation:
    """Adam with epsilon beside the root of the second moment as it is."""

    def init(params: Any) -> _Moments:
        zeros = jax.tree.map(jnp.zeros_like, params)
        return _Moments(jnp.zeros((), jnp.int32), zeros, zeros)

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, _Moments]:
        k = state.steps + 1
        first = _average(b1, state.first, updates)
        second = _average(b2, state.second, jax.tree.map(jnp.square, updates))
        factor = jnp.sqrt(_one_minus_power(b2, k)) / _one_minus_power(b1, k)

        def step(m: jax.Array, v: jax.Array) -> jax.Array:
            return factor.astype(m.dtype) * m / (jnp.sqrt(v) + epsilon)

        return jax.tree.map(step, first, second), _Moments(k, first, second)

    return optax.GradientTransformation(init, update)


def _average(decay: float, old: Any, new: Any) -> Any:
    return jax.tree.map(lambda a, b: decay * a + (1 - decay) * b, old, new)


def _one_minus_power(base: float, count: jax.Array) -> jax.Array:
    """`1 - base^count`, without the digits that the difference loses near 0."""
    if base == 0:
        return jnp.ones((), float)
    return -jnp.expm1(count.astype(jnp.result_type(float)) * math.log(base))


def _decays(
    config: FineTuneConfig, rules: Rules, trained: Iterable[str]
) -> dict[str, float]:
    """Coefficients of the coupled L2: `lambda L2Factor` by trained path."""
    strength = config.l2_regularization
    if strength is None:
        strength = 1e-4 if config.semantics == "matlab" else 0.0
    if is_zero(strength):
        return dict.fromkeys(trained, 0.0)
    factors = {path: rules.l2[path] for path in trained}
    return {path: strength * f if f else 0.0 for path, f in factors.items()}


def _scale(factors: Mapping[str, float]) -> optax.GradientTransformation:
    def scale(gradients: Any, _: Any) -> Parameters:
        return {path: g * factors[path] for path, g in gradients.items()}

    return optax.stateless(scale)


def _add_decayed(decays: Mapping[str, float]) -> optax.GradientTransformation:
    return optax.stateless(lambda g, params: _add(g, params, decays))


def _add(g: Any, params: Any, decays: Mapping[str, float]) -> Parameters:
    return {p: g[p] if is_zero(decays[p]) else g[p] + decays[p] * params[p] for p in g}


def _regularised(
    inner: optax.GradientTransformationExtraArgs,
    paths: set[str],
    decays: Mapping[str, float],
) -> optax.GradientTransformationExtraArgs:
    """`inner` on the parameters in `decays` alone, with L2 in everything it is told."""

    def own(tree: Mapping[str, Any]) -> Parameters:
        if set(tree) != paths:
            odd = sorted(set(tree) ^ paths)
            raise InputError(
                "other parameters than the rules are for",
                found=f"{len(tree)} parameters",
                expected=f"{len(paths)}; the first that differs is {odd[0]}",
            )
        return {path: tree[path] for path in decays}

    def penalty(params: Mapping[str, Any]) -> Any:
        parts = [
            0.5 * decay * jnp.sum(jnp.square(params[path]))
            for path, decay in decays.items()
            if not is_zero(decay)
        ]
        return sum(parts[1:], parts[0]) if parts else 0.0

    def init(params: Any) -> Any:
        return jax.tree.map(_settled, *[inner.init(own(params))] * 2)

    def update(
        updates: Any, state: Any, params: Any = None, **extra: Any
    ) -> tuple[Any, Any]:
        if params is None:
            raise InputError("`update` needs the parameters as its third argument")
        mine = own(params)
        if "value" in extra:
            extra["value"] = extra["value"] + penalty(mine)
        if "grad" in extra:
            extra["grad"] = _add(own(extra["grad"]), mine, decays)
        if "value_fn" in extra:
            extra["value_fn"] = complete(extra["value_fn"], params)
        changes = _add(own(updates), mine, decays)
        done: Any
        # optax mixes its step counts with floats, which a strict caller forbids.
        with jax.numpy_dtype_promotion("standard"):
            done, after = inner.update(changes, state, mine, **extra)
        still = {p: jnp.zeros_like(params[p]) for p in params if p not in decays}
        return {**done, **still}, jax.tree.map(_settled, after, state)

    def complete(value_fn: Callable, params: Any) -> Callable:
        @wraps(value_fn)  # optax looks at the names of its arguments
        def value(mine: Any, *args: Any, **kwargs: Any) -> Any:
            return value_fn({**params, **mine}, *args, **kwargs) + penalty(mine)

        return value

    return optax.GradientTransformationExtraArgs(init, update)


def _settled(new: Any, old: Any) -> jax.Array:
    """`new` in the type of `old`: one that drifts has every step compiled anew."""
    new, old = jnp.asarray(new), jnp.asarray(old)
    return new.astype(old.dtype) if new.dtype != old.dtype or new.weak_type else new
