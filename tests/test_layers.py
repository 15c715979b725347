"""Every layer against its oracle: {eager, jit, vmap, grad} x {float32, float64}."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from layer_cases import CASES, Case

from jlstm import layers as L
from jlstm.pytree import Shape

TOLERANCE = {"float32": 1e-6, "float64": 1e-12}


def cast(tree: Any, dtype: str) -> Any:
    return jax.tree.map(lambda leaf: np.asarray(leaf, dtype), tree)


def call(layer: Any, *xs: Any) -> Any:
    return layer(*xs)


def assert_close(found: Any, expected: np.ndarray, tolerance: float) -> None:
    """Largest difference, relative to the scale of the answer; NaN where expected."""
    found = np.asarray(found, np.float64)
    assert found.shape == expected.shape
    assert np.array_equal(np.isnan(found), np.isnan(expected))
    error = np.max(np.abs(np.nan_to_num(found) - np.nan_to_num(expected)), initial=0.0)
    assert error <= tolerance * max(np.max(np.abs(np.nan_to_num(expected))), 1e-3)


def each(cases: list[Case]) -> Any:
    return pytest.mark.parametrize("case", cases, ids=[case.name for case in cases])


def inputs_of(case: Case) -> tuple[Shape, ...]:
    """What `shape` is asked with: an input layer takes nothing from other layers."""
    return () if isinstance(case.layer(), L.Input) else case.shapes


@each(CASES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_agrees_with_the_oracle(case: Case, dtype: str) -> None:
    with jax.enable_x64(dtype == "float64"):
        layer, xs = cast(case.layer(), dtype), cast(case.inputs(), dtype)
        expected = case.oracle(cast(layer, "float64"), *cast(xs, "float64"))
        eager, compiled = layer(*xs), jax.jit(call)(layer, *xs)
        from_jax = layer(*map(jnp.asarray, xs))
        for found in (eager, compiled, from_jax):
            assert found.dtype == dtype
            assert_close(found, expected, TOLERANCE[dtype])


@each(CASES)
def test_no_wider_constant_slips_into_single_precision(case: Case) -> None:
    layer, xs = cast(case.layer(), "float32"), cast(case.inputs(), "float32")
    with jax.enable_x64(True), jax.numpy_dtype_promotion("strict"):
        assert jax.eval_shape(call, layer, *xs).dtype == "float32"
        wide = cast(case.layer(), "float64"), *cast(case.inputs(), "float64")
        assert jax.eval_shape(call, *wide).dtype == "float64"


@each(CASES)
def test_vmap_over_examples_and_over_layers(case: Case) -> None:
    with jax.enable_x64(True):
        layer = case.layer()
        examples = [case.inputs(seed) for seed in range(3)]
        stacked = [np.stack(column) for column in zip(*examples, strict=True)]
        expected = np.stack([case.oracle(layer, *xs) for xs in examples])
        assert_close(jax.vmap(layer)(*stacked), expected, 1e-12)

        ensemble = [layer, jax.tree.map(lambda leaf: leaf * 1.25, layer)]
        together = jax.tree.map(lambda *leaves: np.stack(leaves), *ensemble)
        xs = examples[0]
        expected = np.stack([case.oracle(member, *xs) for member in ensemble])
        axes = (0, *[None] * len(xs))
        if jax.tree.leaves(layer):
            assert_close(jax.vmap(call, axes)(together, *xs), expected, 1e-12)


@each(CASES)
def test_gradient_equals_finite_differences_of_the_oracle(case: Case) -> None:
    """Directional derivative in the parameters and in the inputs at once."""
    with jax.enable_x64(True):
        layer, xs = case.layer(), case.inputs()
        rng = np.random.default_rng(5)
        weight = rng.normal(size=case.oracle(layer, *xs).shape)
        direction = jax.tree.map(
            lambda leaf: rng.normal(size=np.shape(leaf)), (layer, xs)
        )
        if case.data is not None:
            direction = direction[0], jax.tree.map(np.zeros_like, xs)

        def slope(h: float) -> float:
            moved = jax.tree.map(lambda p, d: p + h * d, (layer, xs), direction)
            return float(np.sum(weight * case.oracle(moved[0], *moved[1])))

        h = 1e-4
        measured = (8 * (slope(h) - slope(-h)) - slope(2 * h) + slope(-2 * h)) / (12 * h)
        gradient = jax.grad(lambda p: jnp.sum(weight * p[0](*p[1])))((layer, xs))
        products = jax.tree.map(lambda g, d: np.sum(g * d), gradient, direction)
        computed = sum(map(float, jax.tree.leaves(products)))
        assert abs(computed - measured) <= 1e-8 * max(1.0, abs(measured))


@each(CASES)
def test_shape_tells_the_shape_of_the_output(case: Case) -> None:
    layer = case.layer()
    shape = layer.shape(*inputs_of(case))
    y = case.oracle(layer, *case.inputs())
    assert y.shape[int(shape.time) :] == (*shape.space, shape.channels)
    assert y.ndim == shape.time + len(shape.space) + 1


@each(CASES)
def test_one_step_is_a_row_of_the_whole_sequence(case: Case) -> None:
    """Where a layer says that it does not mix time steps, it does not."""
    layer, xs = case.layer(), case.inputs()
    if not any(x.time for x in case.shapes):
        return
    timeless = tuple(x._replace(time=False) for x in case.shapes)
    with jax.enable_x64(True):
        whole = np.asarray(layer(*xs))
        if layer.needs_whole_sequence:
            earlier = [x[:-1] if s.time else x for x, s in zip(xs, case.shapes, strict=True)]
            if isinstance(layer, L.PositionEmbedding):
                return
            past = np.asarray(layer(*earlier))
            causal = getattr(layer, "causal", False) or (
                getattr(layer, "padding", None) in ("causal", (0, 0))
            )
            first = getattr(layer, "position", None) == "first"
            same = past.shape == whole[: len(past)].shape and np.allclose(
                past, whole[: len(past)]
            )
            assert same or not (causal or first)
            return
        t = 4 if case.data is None else 1
        step = [x[t] if s.time else x for x, s in zip(xs, case.shapes, strict=True)]
        if isinstance(layer, L.Indexing1D) and layer.axis == "time":
            np.testing.assert_array_equal(layer(*step), xs[0][t])
            return
        np.testing.assert_allclose(layer(*step), whole[t], rtol=1e-12, atol=1e-12)
        if not isinstance(layer, L.Input):
            assert layer.shape(*timeless).time is False


@each(CASES)
def test_describes_itself_in_one_line(case: Case) -> None:
    layer = case.layer()
    assert "\n" not in repr(layer)
    assert repr(layer) == f"{type(layer).__name__}({layer.describe()})"
    fields = {f.name: f for f in dataclasses.fields(layer)}
    for name in layer.statistics:
        assert not fields[name].metadata.get("static")


def test_every_layer_has_a_case() -> None:
    covered = {type(case.layer()) for case in CASES}
    public = {value for value in vars(L).values() if isinstance(value, type)}
    assert public - {L.Layer} == covered
