"""The recurrence of one layer as a primitive of JAX, with engines behind it.

    ys, state' = recurrence(layer, x, state)          x (B, T, C), ys (B, T, P)

Every operand has its batch in front, and `jax.vmap` makes that batch larger: whatever
the caller maps over, an engine sees one batch of sequences and picks its own layout.
The derivative is split where JAX splits it, so that both directions of differentiation
stay, to any order:

    run                ys, state' and what the engine keeps for the way back
    tangent            the derivative of (ys, state') along a direction, linear in it
    backward           the transpose of `tangent`: cotangents to gradients

An engine lowers `run` and `backward`; the rest follows from `reference.batch`, by which
all three are defined.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.core import ShapedArray
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jax.sharding import NamedSharding, PartitionSpec

from ..pytree import Array
from . import reference


@dataclasses.dataclass(frozen=True)
class Recurrence:
    """What does not change from call to call: all that is compiled in."""

    layer: Any
    """The tree of the layer's arrays, settings inside."""
    state: Any
    """The tree of the state's arrays."""
    ragged: bool
    """Whether the lengths of the sequences are an operand."""
    reverse: bool
    engine: Any

    @property
    def rows(self) -> int:
        """How many operands have a batch axis: x, the lengths, the state."""
        return 1 + self.ragged + self.state.num_leaves

    def apply(self, *operands: Any) -> list[Any]:
        """`[ys, *state']` by `lax.scan`."""
        x, length, state, layer = self.parts(operands)
        after, ys = reference.batch(layer, state, x, length, reverse=self.reverse)
        return [ys, *jax.tree.leaves(after)]

    def back(
        self, primals: Sequence[Any], slopes: Sequence[Any], which: Sequence[bool]
    ) -> list[Any]:
        """The gradients of those operands that are asked for, by `lax.scan`."""
        _, transposed = jax.vjp(
            lambda *chosen: self.apply(*_merged(primals, chosen, which)),
            *(p for p, w in zip(primals, which, strict=True) if w),
        )
        return list(transposed(list(slopes)))

    def parts(self, operands: Sequence[Any]) -> tuple[Any, Any, Any, Any]:
        """`x, length or None, state, layer` of the operands."""
        x, *rest = operands[: self.rows]
        length = rest.pop(0) if self.ragged else None
        state = jax.tree.unflatten(self.state, rest)
        layer = jax.tree.unflatten(self.layer, operands[self.rows : self.count])
        return x, length, state, layer

    @property
    def count(self) -> int:
        """How many operands there are."""
        return self.rows + self.layer.num_leaves

    @property
    def answers(self) -> int:
        """How many results there are: ys and the state."""
        return 1 + self.state.num_leaves


def recurrence(
    layer: Any,
    state: Any,
    x: Array,
    length: Array | None = None,
    *,
    reverse: bool = False,
    engine: Any,
) -> tuple[Any, Array]:
    """Run `layer` over one sequence `x (T, C)` by an engine.

    Arguments:
        layer: a recurrent layer that the engine takes.
        state: where it starts.
        x: the sequence.
        length: the steps after which the state stands still, as in `unroll`.
        reverse: from the last step to the first.
        engine: what lowers it, hashable: `run` and `backward` on its `platform`, and
            the shape of what is `kept` between them, `kept_axis` its batch; None where
            it has none, and what maps over the two goes by `lax.scan`.

    Returns:
        the state after the sequence, and the outputs `(T, P)`.
    """
    arrays, tree = jax.tree.flatten(layer)
    parts, states = jax.tree.flatten(state)
    lengths = [] if length is None else [length.astype("int32")]
    spec = Recurrence(tree, states, length is not None, reverse, engine)
    rows = [jnp.asarray(a)[None] for a in (x, *lengths, *parts)]
    operands = _varying([*rows, *map(jnp.asarray, arrays)])
    ys, *after = _run.bind(*operands, spec=spec, keep=False)
    return jax.tree.unflatten(states, [a[0] for a in after]), ys[0]


def _varying(operands: Sequence[Any]) -> list[Any]:
    """Operands that all differ from device to device where one of them does.

    Inside `jax.shard_map` this is told of every array, and is what makes the gradient
    of weights that the devices share the sum over all of them.
    """
    axes = [_axes_of(a) for a in operands]
    every = frozenset[str]().union(*axes)
    return [
        a if own == every else _told_to_vary(a, tuple(every - own))
        for a, own in zip(operands, axes, strict=True)
    ]


def _told_to_vary(a: Any, axes: tuple[str, ...]) -> Any:
    if hasattr(jax.lax, "pcast"):
        return jax.lax.pcast(a, axes, to="varying")
    # Its name in jax 0.8.
    return getattr(jax.lax, "pvary")(a, axes)  # noqa: B009


def _axes_of(a: Any) -> frozenset[str]:
    kind: Any = jax.typeof(a)
    # The name that it had until jax 0.9.
    return kind.vma if hasattr(kind, "vma") else kind.manual_axis_type.varying


def _define(
    name: str, reference: Callable[..., list[Any]], outline: Callable[..., list[Any]]
) -> Primitive:
    """A primitive that is what `reference(*operands, **settings)` computes.

    `outline` of the same arguments is the shapes of the results. Derivatives of it,
    where nothing else is said, are those of the reference.
    """
    primitive = Primitive(f"jlstm_{name}")
    primitive.multiple_results = True

    @functools.partial(jax.jit, static_argnames="settings")
    def alone(*operands: Any, settings: tuple[tuple[str, Any], ...]) -> Any:
        return primitive.bind(*operands, **dict(settings))

    def shaped(*operands: Any, **settings: Any) -> Any:
        first: Any = operands[0]
        # Shards of them are nobody's business, but which devices they differ on is.
        whole = NamedSharding(first.sharding.mesh, PartitionSpec())
        return [
            first.update(shape=a.shape, dtype=a.dtype, weak_type=False, sharding=whole)
            for a in outline(*operands, **settings)
        ]

    def differentiate(
        primals: Sequence[Any], tangents: Sequence[Any], **settings: Any
    ) -> tuple[Any, Any]:
        return jax.jvp(
            functools.partial(reference, **settings),
            tuple(primals),
            tuple(map(ad.instantiate_zeros, tangents)),
        )

    def evaluate(*operands: Any, **settings: Any) -> Any:
        # A primitive is compiled even where functions are not: otherwise it would
        # evaluate itself without end.
        with jax.disable_jit(False):
            return alone(*operands, settings=tuple(settings.items()))

    primitive.def_impl(evaluate)
    primitive.def_abstract_eval(shaped)
    ad.primitive_jvps[primitive] = differentiate
    mlir.register_lowering(primitive, mlir.lower_fun(reference, multiple_results=True))
    return primitive


def _run_reference(*operands: Any, spec: Recurrence, keep: bool) -> list[Any]:
    kept = spec.engine.kept(*operands, spec=spec) if keep else []
    # The way back that belongs to this reference needs nothing kept.
    return [*spec.apply(*operands), *(jnp.zeros(a.shape, a.dtype) for a in kept)]


def _tangent_reference(
    *operands: Any, spec: Recurrence, which: tuple[bool, ...]
) -> list[Any]:
    primals = operands[: spec.count]
    moved = iter(operands[len(operands) - sum(which) :])
    return jax.jvp(
        lambda *chosen: spec.apply(*_merged(primals, chosen, which)),
        tuple(p for p, w in zip(primals, which, strict=True) if w),
        tuple(moved),
    )[1]


def _backward_reference(
    *operands: Any, spec: Recurrence, which: tuple[bool, ...]
) -> list[Any]:
    cotangents = operands[len(operands) - spec.answers :]
    return spec.back(operands[: spec.count], cotangents, which)


def _merged(
    primals: Sequence[Any], chosen: Sequence[Any], which: Sequence[bool]
) -> list[Any]:
    some = iter(chosen)
    return [next(some) if w else p for p, w in zip(primals, which, strict=True)]


def _run_outline(*operands: Any, spec: Recurrence, keep: bool) -> list[Any]:
    x, _, state, _ = spec.parts(operands)
    ys = ShapedArray((*x.shape[:2], state.h.shape[-1]), x.dtype)
    kept = spec.engine.kept(*operands, spec=spec) if keep else []
    return [ys, *jax.tree.leaves(state), *kept]


def _tangent_outline(*operands: Any, spec: Recurrence, **_: Any) -> list[Any]:
    return _run_outline(*operands[: spec.count], spec=spec, keep=False)


def _backward_outline(
    *operands: Any, spec: Recurrence, which: tuple[bool, ...]
) -> list[Any]:
    return [a for a, wanted in zip(operands, which, strict=False) if wanted]


_run = _define("run", _run_reference, _run_outline)
_tangent = _define("tangent", _tangent_reference, _tangent_outline)
_backward = _define("backward", _backward_reference, _backward_outline)


def _differentiate_run(
    primals: Sequence[Any], tangents: Sequence[Any], *, spec: Recurrence, keep: bool
) -> tuple[Any, Any]:
    results = _run.bind(*primals, spec=spec, keep=True)
    which = tuple(type(t) is not ad.Zero for t in tangents)
    # Lengths are whole numbers: nothing moves them.
    which = tuple(w and not (spec.ragged and k == 1) for k, w in enumerate(which))
    moved = [t for t, w in zip(tangents, which, strict=True) if w]
    kept = results[spec.answers :]
    # The transpose wants the outputs and what was kept, and is linear in the tangents.
    slopes = _tangent.bind(*primals, results[0], *kept, *moved, spec=spec, which=which)
    if not keep:
        return results[: spec.answers], slopes
    # The way back is differentiated by its reference, which needs nothing kept.
    return results, [*slopes, *map(jnp.zeros_like, kept)]


def _transpose_tangent(
    cotangents: Sequence[Any],
    *operands: Any,
    spec: Recurrence,
    which: tuple[bool, ...],
) -> list[Any]:
    known = operands[: len(operands) - sum(which)]
    gradients = _backward.bind(
        *known, *map(ad.instantiate_zeros, cotangents), spec=spec, which=which
    )
    return [*([None] * len(known)), *gradients]


ad.primitive_jvps[_run] = _differentiate_run
ad.primitive_transposes[_tangent] = _transpose_tangent


Axes = list[int | None]
"""Where operands or results have their batch; None where they are shared."""


def _batched(
    primitive: Primitive,
    given: Callable[..., Axes | None],
    made: Callable[..., Axes],
    otherwise: Callable[..., Any],
) -> None:
    """Define what `jax.vmap` does: a larger batch, unless what is shared is mapped.

    `given` are the axes of the operands, None where results are sums over the batch;
    `made` those of the results; `otherwise` serves what cannot be one batch.
    """

    def rule(operands: Sequence[Any], mapped: Sequence[Any], **settings: Any) -> Any:
        fronted = [
            a if axis is None else jnp.moveaxis(a, axis, 0)
            for a, axis in zip(operands, mapped, strict=True)
        ]
        moving = [axis is not None for axis in mapped]
        axes = given(len(operands), **settings)
        if axes is None or any(
            m and axis is None for m, axis in zip(moving, axes, strict=True)
        ):
            results = otherwise(fronted, moving, **settings)
            return results, [0] * len(results)
        count = next(a.shape[0] for a, m in zip(fronted, moving, strict=True) if m)
        size = operands[0].shape[0] if mapped[0] is None else fronted[0].shape[1]
        merged = []
        for a, m, axis in zip(fronted, moving, axes, strict=True):
            if axis is not None:
                many = a if m else jnp.broadcast_to(a, (count, *a.shape))
                many = jnp.moveaxis(many, 0, axis)
                head, tail = many.shape[:axis], many.shape[axis + 2 :]
                a = many.reshape(*head, count * size, *tail)
            merged.append(a)
        results = primitive.bind(*merged, **settings)
        where = [axis or 0 for axis in made(len(results), **settings)]
        split = []
        for r, axis in zip(results, where, strict=True):
            head, tail = r.shape[:axis], r.shape[axis + 1 :]
            split.append(r.reshape(*head, count, size, *tail))
        return split, where

    batching.primitive_batchers[primitive] = rule


def _several(primitive: Primitive, method: str) -> Callable[..., Any]:
    """Several networks: at once where the engine is made of operations of JAX."""

    def run(operands: Sequence[Any], mapped: Sequence[bool], **settings: Any) -> Any:
        engine = settings["spec"].engine
        if engine.platform is None:
            return jax.vmap(
                functools.partial(getattr(engine, method), **settings),
                in_axes=tuple(0 if m else None for m in mapped),
            )(*operands)
        some = [a for a, m in zip(operands, mapped, strict=True) if m]
        return jax.lax.map(
            lambda now: primitive.bind(*_merged(operands, now, mapped), **settings),
            some,
        )

    return run


def _by_reference(reference: Callable[..., Any]) -> Callable[..., Any]:
    def run(operands: Sequence[Any], mapped: Sequence[bool], **settings: Any) -> Any:
        return jax.vmap(
            functools.partial(reference, **settings),
            in_axes=tuple(0 if m else None for m in mapped),
        )(*operands)

    return run


def _backwards(operands: Sequence[Any], mapped: Sequence[bool], **settings: Any) -> Any:
    how = _several(_backward, "backward")
    if settings["spec"].engine.kept_axis is None:
        # What was kept of one batch cannot serve another, nor be used twice.
        how = _by_reference(_backward_reference)
    return how(operands, mapped, **settings)


def _shared(spec: Recurrence, keeps: int | None = None) -> Axes:
    """The axes of the primals, of which the arrays of the layer are shared.

    Then, where `keeps` says how many arrays are kept, those of ys and of these.
    """
    axes: Axes = [0] * spec.rows + [None] * spec.layer.num_leaves
    return axes if keeps is None else [*axes, 0, *[spec.engine.kept_axis] * keeps]


def _answers(count: int, *, spec: Recurrence, **_: Any) -> Axes:
    """The axes of ys, the state, and what is kept."""
    axes: Axes = [0] * spec.answers
    return axes + [spec.engine.kept_axis] * (count - spec.answers)


def _given_to_run(count: int, *, spec: Recurrence, keep: bool) -> Axes | None:
    opaque = keep and spec.engine.kept_axis is None
    return None if opaque else _shared(spec)


def _given_to_tangent(
    count: int, *, spec: Recurrence, which: tuple[bool, ...]
) -> Axes | None:
    if spec.engine.kept_axis is None:
        return None
    moved: Axes = [0 if k < spec.rows else None for k, w in enumerate(which) if w]
    return _shared(spec, count - spec.count - 1 - len(moved)) + moved


def _given_to_backward(
    count: int, *, spec: Recurrence, which: tuple[bool, ...]
) -> Axes | None:
    summed = any(which[spec.rows :]) or spec.engine.kept_axis is None
    if summed:
        return None
    return _shared(spec, count - spec.count - 1 - spec.answers) + [0] * spec.answers


_batched(_run, _given_to_run, _answers, _several(_run, "run"))
_batched(_tangent, _given_to_tangent, _answers, _by_reference(_tangent_reference))
_batched(_backward, _given_to_backward, lambda n, **_: [0] * n, _backwards)


def _lowered(primitive: Primitive, method: str, otherwise: Callable[..., Any]) -> None:
    """Where the program is compiled for the engine's platform, the engine runs it.

    An engine whose platform is None runs on all of them, and it alone in a program that
    `jax.export` makes for other machines.
    """
    portable = mlir.lower_fun(otherwise, multiple_results=True)

    def compute(*operands: Any, **settings: Any) -> Any:
        return getattr(settings["spec"].engine, method)(*operands, **settings)

    here = mlir.lower_fun(compute, multiple_results=True)
    for platform in (None, "cpu", "cuda"):

        def rule(
            ctx: Any, *operands: Any, _on: str | None = platform, **settings: Any
        ) -> Any:
            exports = ctx.module_context.lowering_parameters.for_export
            fits = (None,) if exports else (None, _on)
            fit = settings["spec"].engine.platform in fits
            return (here if fit else portable)(ctx, *operands, **settings)

        mlir.register_lowering(primitive, rule, platform=platform)


_lowered(_run, "run", _run_reference)
_lowered(_backward, "backward", _backward_reference)
