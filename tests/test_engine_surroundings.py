"""Engines inside what JAX puts around functions: devices, exports, no compilation.

The scan they are compared with is that of `test_engines`, from the equations.
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec
from test_engines import (
    ENGINES,
    C,
    T,
    agree,
    layer,
    many,
    needs_kernel,
    runner,
    scalar,
    sequences,
    start,
)

from jlstm.errors import Unsupported
from jlstm.kernels import scan

LENGTHS = np.array([7, 3, 1, 5])


@pytest.mark.parametrize("engine", ENGINES)
def test_weights_shared_by_devices_get_the_gradient_of_all(engine):
    """`jax.shard_map` sums it where it knows that the sequences differ."""
    mesh = jax.make_mesh((2,), ("d",), (jax.sharding.AxisType.Auto,))
    split, shared = PartitionSpec("d"), PartitionSpec()
    with jax.enable_x64(True):
        of, x = layer("gru biased"), sequences()
        state = start(of)

        def slopes(engine):
            loss = scalar(many(runner(engine)))
            return lambda of, x, n: jax.grad(loss, (0, 2))(of, state, x, n)

        everywhere = jax.shard_map(
            slopes(engine),
            mesh=mesh,
            in_specs=(shared, split, split),
            out_specs=(shared, split),
        )
        found = jax.jit(everywhere)(of, x, LENGTHS)
        agree(found, slopes("plain")(of, x, LENGTHS))


@pytest.mark.parametrize("engine", ["auto", *ENGINES])
def test_a_program_for_other_machines_and_any_batch(engine):
    of, x = layer(dtype=np.float32), sequences(np.float32)
    state = start(of, np.float32)

    def slopes(engine):
        return jax.grad(lambda x, n: scalar(many(runner(engine)))(of, state, x, n))

    batch, steps = jax.export.symbolic_shape("b, t")
    program = jax.export.export(jax.jit(slopes(engine)), platforms=("cpu", "cuda"))(
        jax.ShapeDtypeStruct((batch, steps, C), np.float32),
        jax.ShapeDtypeStruct((batch,), np.int32),
    )
    lengths = LENGTHS.astype(np.int32)
    loaded = jax.export.deserialize(program.serialize())
    agree(loaded.call(x, lengths), slopes("plain")(x, lengths), 1e-5)


@pytest.mark.parametrize("engine", ENGINES)
def test_without_compilation(engine):
    of, x = layer(dtype=np.float32), sequences(np.float32)[0]
    state = start(of, np.float32)
    wanted = jax.grad(scalar(runner("plain")))(of, state, x)
    with jax.disable_jit():
        agree(jax.grad(scalar(runner(engine)))(of, state, x), wanted, 1e-5)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("engine", ENGINES)
def test_what_lies_beyond_the_end_may_be_no_number(engine, reverse):
    with jax.enable_x64(True):
        of, x = layer(), sequences()
        beyond = np.arange(T)[:, None] >= LENGTHS[:, None, None]
        slopes = jax.grad(scalar(many(runner(engine, reverse))), (0, 1, 2))
        wanted = jax.grad(scalar(many(runner("plain", reverse))), (0, 1, 2))
        found = slopes(of, start(of), np.where(beyond, np.nan, x), LENGTHS)
        agree(found, wanted(of, start(of), np.where(beyond, 0, x), LENGTHS))


@needs_kernel
def test_numbers_of_two_precisions_are_left_to_xla():
    of, x = layer(dtype=np.float32), sequences(np.float32)[0]
    state = start(of, np.float32)
    narrow = dataclasses.replace(of.f, bias=of.f.bias.astype(jnp.float16))
    mixed = dataclasses.replace(of, f=narrow)
    with jax.numpy_dtype_promotion("standard"):
        found, wanted = (runner(name)(mixed, state, x) for name in ("auto", "plain"))
    agree(found, wanted, 1e-5)
    with pytest.raises(Unsupported, match="float16 and float32"):
        scan(mixed, state, x, engine="cpu")
