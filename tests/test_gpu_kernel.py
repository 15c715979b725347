"""The engines for GPUs: their arithmetic on the CPU, and that they compile for CUDA.

No GPU is at hand here: Pallas interprets jlstm's kernel, and in place of cuDNN stands
`jax.experimental.rnn.lstm_ref`, JAX's own reference for it. What the compiled kernels
do on a GPU is looked at by experiments/07_gpu.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import quick
import recurrent_torch as reference
from jax.experimental import rnn
from networks import small
from recurrent_torch import GRU_AFTER, Layer

from jlstm.errors import Unsupported
from jlstm.kernels import cudnn, engines, fused, gpu, persistent
from jlstm.kernels.recurrence import recurrence
from jlstm.recurrent import GRU, LSTM, Gate
from jlstm.stream import Stream

SIZES = B, T, C, H = 3, 4, 2, 5
LENGTHS = np.array([2, 0, 4], np.int32)
STATE, GATE = ("tanh", "softsign", "relu"), ("sigmoid", "hard-sigmoid")


class Interpreted(fused.Fused):
    """The kernel on the CPU."""

    platform = "cpu"


class Imitated(cudnn.Cudnn):
    """cuDNN on the CPU, where `imitation` stands in its place."""

    platform = "cpu"


# A launch a step with two units a program, or one program for a group of sequences:
# the interpreter runs programs one after another, they cannot wait for each other.
WAYS = {
    "step by step": {"persistent": False, "cores": 6, "units": 2},
    "at once": {"cores": 2},
}


def interpreted(of, way="at once", **more):
    return Interpreted.of(of, interpret=True, **WAYS[way], **more)


def layer_of(what: Layer, case):
    """The layer of a case of the reference."""
    arrays = [case.w, case.r, case.b, *([case.rb] if case.rb else [])]
    gates = [Gate(*parts) for parts in zip(*arrays, strict=True)]
    functions = {
        "state_activation": STATE[what.state], "gate_activation": GATE[what.gate],
    }  # fmt: skip
    if what.kind != GRU_AFTER:
        return LSTM(*gates, **functions)
    mode = "recurrent-bias-after-multiplication"
    return GRU(*gates, reset_mode=mode, **functions)


def equals_torch(what: Layer, engine_of, *, ragged=True, dtype=np.float64, tolerance):
    """Results and all gradients are those that torch computes from the equations."""
    rng = np.random.default_rng(3)
    case = reference.random_case(rng, what, SIZES, ragged=False)
    case = case._replace(length=LENGTHS if ragged else case.length)
    shapes = [(B, T, H), (B, H), (B, H)]
    slopes = [rng.normal(size=shape) for shape in shapes]
    if what.kind == GRU_AFTER:
        slopes[2][:] = 0
    results, gradients = reference.gradients(what, case, *slopes)
    of = jax.tree.map(lambda a: jnp.asarray(a, dtype), layer_of(what, case))
    state = type(of.init_state())(*(case.h0, case.c0)[: len(of.init_state())])
    # What lies beyond the ends is nobody's business.
    beyond = np.arange(T)[:, None] >= case.length[:, None, None]
    given = of, state, np.where(beyond, np.nan, case.x)
    given = jax.tree.map(lambda a: jnp.asarray(a, dtype), given)
    slopes = [jnp.asarray(a, dtype) for a in slopes[: 1 + len(state)]]

    def run(of, state, x, length):
        return recurrence(
            of, state, x, length, reverse=what.reverse, engine=engine_of(of)
        )

    @quick.jit
    def both(given, slopes):
        lengths = case.length if ragged else None
        every = jax.vmap(run, in_axes=(None, 0, 0, 0 if ragged else None))
        (after, ys), back = jax.vjp(lambda *a: every(*a, lengths), *given)
        of, state, x = back((type(after)(*slopes[1:]), slopes[0]))
        gates = [getattr(of, name) for name in of.gates]
        names = ("input_weights", "recurrent_weights", "bias", "recurrent_bias")
        arrays = [getattr(g, name) for name in names for g in gates]
        return [ys, *after], [x, *state, *(a for a in arrays if a is not None)]

    found, found_slopes = both(given, slopes)
    close(found, results[: len(found)], tolerance)
    close(found_slopes, gradients, tolerance)


def close(found, wanted, tolerance):
    for a, b in zip(found, wanted, strict=True):
        scale = max(1.0, np.abs(b).max())
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * scale)


# --- jlstm's own kernel ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("what", "way"),
    [
        (Layer(), "step by step"),
        (Layer(state=1, gate=1, reverse=True), "at once"),
        (Layer(GRU_AFTER, reverse=True), "step by step"),
        (Layer(GRU_AFTER, state=2), "at once"),
    ],
)
def test_the_kernel_equals_the_equations(what, way, double):
    equals_torch(what, lambda of: interpreted(of, way), tolerance=1e-12)


@pytest.mark.parametrize("kind", [0, GRU_AFTER])
def test_the_kernel_is_lowered_for_cuda_alone(kind):
    """512 units of 64 sequences, 32 programs a group that wait for each other."""
    assert persistent.spread(64, 512, 4, 132) == (16, 16, 4, 32)
    rng, what = np.random.default_rng(0), Layer(kind)
    of = layer_of(what, reference.random_case(rng, what, (1, 1, C, 512), False))
    of = jax.tree.map(lambda a: a.astype(np.float32), of)

    def loss(of, x):
        def run(x):
            return recurrence(of, of.init_state(), x, engine=fused.Fused.of(of))[1]

        return jax.vmap(run)(x).sum()

    x = jax.ShapeDtypeStruct((64, 9, C), np.float32)
    traced = jax.jit(jax.grad(loss)).trace(of, x)
    kernels = [f"jlstm_{name}_{way}" for name in [("lstm", "gru")[kind > 0]]
               for way in ("forward", "backward")]  # fmt: skip
    for platform, there in (("cuda", True), ("cpu", False)):
        text = traced.lower(lowering_platforms=(platform,)).as_text()
        assert [name in text for name in kernels] == [there, there]
        assert ("triton" in text) == there


@pytest.mark.parametrize(
    ("hidden", "item", "cores", "found"),
    [
        (1, 4, 132, (1, 1, 7, 1)),
        (128, 4, 132, (1, 64, 7, 2)),
        (1_024, 4, 132, (8, 8, 1, 128)),
        (1_024, 4, 108, None),
        (512, 8, 132, (4, 8, 2, 64)),
        (1_024, 8, 132, None),
        (16_384, 8, 132, None),
    ],
)
def test_no_more_programs_than_run_at_the_same_time(hidden, item, cores, found):
    assert persistent.spread(7, hidden, item, cores) == found
    if found is not None:
        rows, units, groups, slices = found
        assert groups * slices <= cores and units * slices == hidden
        assert rows * groups >= 7 > rows * (groups - 1)


# --- cuDNN ----------------------------------------------------------------------------


@pytest.fixture
def imitation(monkeypatch):
    """`lstm_ref` in place of cuDNN, which also spoils what it kept when it reads it."""

    def answers(x, h_0, c_0, w, lengths, *sizes):
        arrays = rnn.unpack_lstm_weights(w, *sizes[:3], sizes[4])
        found = rnn.lstm_ref(x, h_0, c_0, *arrays, lengths, *sizes[:5])
        # Nobody says that cuDNN takes a sequence of no step.
        return jax.tree.map(lambda a: jnp.where(lengths.min() < 1, jnp.nan, a), found)

    def forward(*given):
        assert rnn._lstm_cudnn_allow_tf32(given[-1]) is False
        kept = given[:5]
        found = answers(*given[:-1])
        return found, (*kept, found[0], jnp.full(7, 3, given[0].dtype))

    def backward(*given):
        *sizes, _, (x, h_0, c_0, w, lengths, y, reserve), slopes = given
        found, back = jax.vjp(lambda *a: answers(*a, lengths, *sizes), x, h_0, c_0, w)
        # What is not as cuDNN wrote it spoils the gradients; the output of the last
        # step is read by none.
        read = jnp.where(lengths[:, None, None] > 1, found[0] - y, 0)
        wrong = jnp.abs(read).max() + jnp.abs(reserve - 3).max()
        return *(a + jnp.where(wrong > 1e-5, 1e3, 0) for a in back(slopes)), lengths

    monkeypatch.setattr(rnn, "lstm_fwd", forward)
    monkeypatch.setattr(rnn, "lstm_bwd", backward)


@pytest.mark.parametrize(
    ("reverse", "ragged"), [(False, True), (True, True), (True, False)]
)
def test_cudnn_is_asked_the_right_question(imitation, reverse, ragged, double):
    what = Layer(reverse=reverse)
    equals_torch(what, lambda of: Imitated(), ragged=ragged, tolerance=1e-12)


TRANSFORMED = {
    "gradient of each sequence": lambda f: jax.vmap(jax.grad(f, (0, 1)), (None, 0)),
    "jacobian by directions": lambda f: jax.jacfwd(f, 1),
    "jacobian by gradients": lambda f: jax.jacrev(lambda of, x: jax.grad(f)(of, x), 1),
}


@pytest.mark.parametrize("name", TRANSFORMED)
def test_what_cudnn_keeps_serves_one_batch_alone(name, imitation, double):
    what = Layer()
    case = reference.random_case(np.random.default_rng(4), what, SIZES, ragged=False)
    of = jax.tree.map(jnp.asarray, layer_of(what, case))
    x = jnp.asarray(case.x if name.startswith("gradient") else case.x[0])

    def loss(run):
        return lambda of, x: jnp.sin(run(of, of.init_state(), x)[1]).sum()

    def plain(of, state, x):
        packed = of.pack()

        def step(carry, x_t):
            carry, signals = of.cell(packed, of.project(packed, x_t), carry)
            return carry, signals["h"]

        return jax.lax.scan(step, state, x)

    def mine(of, state, x):
        return recurrence(of, state, x, engine=Imitated())

    transformed = TRANSFORMED[name]
    found, wanted = (
        jax.tree.leaves(quick.jit(transformed(loss(run)))(of, x))
        for run in (mine, plain)
    )
    close(found, wanted, 1e-12)


def test_what_cudnn_cannot_count_goes_by_the_scan(monkeypatch):
    """No imitation here: `jax.experimental.rnn` must not be asked."""
    monkeypatch.setattr(cudnn, "LARGEST", T * H * B - 1)
    what = Layer(reverse=True)
    settings = {"ragged": False, "dtype": np.float32, "tolerance": 1e-5}
    equals_torch(what, lambda of: Imitated(), **settings)


@pytest.mark.parametrize("engine_of", [lambda of: Imitated(), interpreted])
def test_nothing_to_do(engine_of):
    zero = np.zeros(H, np.float32)
    gate = Gate(np.ones((H, C), np.float32), np.eye(H, dtype=np.float32), zero)
    of = LSTM(gate, gate, gate, gate)
    state = jax.tree.map(lambda a: a + 1, of.init_state())

    def total(x):
        after, ys = recurrence(of, state, x, engine=engine_of(of))
        return after.h.sum() + ys.sum(), after

    (_, after), slope = jax.value_and_grad(total, has_aux=True)(jnp.ones((0, C)))
    assert slope.shape == (0, C)
    np.testing.assert_array_equal(after.h, state.h)


# --- which of them runs a layer -------------------------------------------------------


def lstm(dtype=np.float32, hidden=H, **settings):
    a = np.zeros((hidden, hidden), dtype)
    gate = Gate(np.zeros((hidden, C), dtype), a, a[0])
    return LSTM(gate, gate, gate, gate, **settings)


def gru(mode, hidden=H):
    gate = lstm(hidden=hidden).i
    return GRU(gate, gate, gate, reset_mode=mode)


@pytest.fixture
def on_a_gpu(monkeypatch):
    """As if there were an NVIDIA GPU and cuDNN."""
    monkeypatch.setattr(gpu, "missing", lambda: None)
    monkeypatch.setattr(cudnn, "missing", lambda: None)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")


def test_what_a_gpu_runs(on_a_gpu):
    assert engines.chosen(lstm(), "auto") == cudnn.Cudnn()
    assert engines.picked(lstm()) == ("gpu", "the fastest that takes it")
    assert engines.chosen(lstm(), "gpu") == cudnn.Cudnn()
    for of, words in (
        (lstm(np.float64), "float64"),
        (lstm(state_activation="softsign"), "softsign"),
        (gru("after-multiplication"), "no LSTM"),
    ):
        name, why = engines.picked(of)
        assert name == "xla" and words in why and "not measured" in why
        assert engines.chosen(of, "auto") is None
        assert isinstance(engines.chosen(of, "gpu"), fused.Fused)


@pytest.mark.parametrize(
    ("of", "words"),
    [
        (gru("before-multiplication"), "before-multiplication"),
        (lstm(np.float64, hidden=600), "600 hidden units on 132"),
        (lstm(clip=1.0), "clip 1"),
    ],
)
def test_what_a_gpu_does_not_run_is_refused(on_a_gpu, of, words):
    assert engines.chosen(of, "auto") is None
    with pytest.raises(Unsupported, match=words):
        engines.chosen(of, "gpu")


def test_single_steps_are_not_for_a_gpu(on_a_gpu):
    with pytest.raises(Unsupported, match="runs whole sequences"):
        Stream(small(np.random.default_rng(0)), engine="gpu")


def test_without_a_gpu_the_reason_is_told():
    (row,) = (row for row in engines.available() if row.name == "gpu")
    assert not row.usable and row.reason == "computations run on cpu"
    with pytest.raises(Unsupported, match="computations run on cpu"):
        engines.chosen(lstm(), "gpu")
