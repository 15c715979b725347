"""Mistakes of others are found, right numbers left alone, bad input is refused."""

from __future__ import annotations

import json

import jax
import numpy as np
import pytest
from networks import gru, lstm, normal
from recordings import MISTAKES, draw, signal
from wrong import Wrong, forward, forward_many

import jlstm as jl
from jlstm import layers as L
from jlstm.demo import load_demo, shared_state_formula
from jlstm.errors import InputError
from jlstm.network import Network
from jlstm.recurrent import Bidirectional

STEPS = 40


@pytest.fixture(scope="module")
def net() -> Network:
    return load_demo()[0]


@pytest.fixture(scope="module")
def x(net) -> np.ndarray:
    rng = np.random.default_rng(5)
    entry = net.layers["input"]
    walk = np.cumsum(rng.normal(size=(STEPS, 3)), 0) / 3
    return np.asarray(entry.mean + entry.std * (walk + rng.normal(size=walk.shape)))


@pytest.fixture(scope="module")
def classifier() -> Network:
    """Equal widths, dropout, one answer for the whole sequence, class names."""
    rng = np.random.default_rng(9)
    return Network.build(
        {
            "in": L.Input((5,)),
            "one": lstm(rng, 8, 5),
            "drop": L.Dropout(0.2),
            "two": lstm(rng, 8, 8, output_mode="last"),
            "fc": L.FullyConnected(normal(rng, 4, 8), normal(rng, 4)),
            "softmax": L.Softmax(),
            "out": L.Classification(("a", "b", "c", "d")),
        }
    )


def found(d: jl.Diagnosis) -> list[tuple]:
    """What is tied for the first place."""
    return [
        tuple(sorted((m.name, m.layers) for m in finding.mistakes))
        for finding in d.findings[: d.tied]
    ]


def parameters(d: jl.Diagnosis) -> dict:
    return dict(d.findings[0].mistakes[0].parameters)


# --- the question that started it -----------------------------------------------------


def test_the_formula_of_the_question_is_explained(net, x):
    observed = shared_state_formula(net, x)["fc"]
    d = jl.diagnose(net, x, observed)
    assert d.verdict == "explained"
    assert found(d) == [(("shared-state", ("lstm_1", "lstm_2")),)]
    assert d.findings[0].max_abs < 1e-9 < 0.1 < d.max_abs
    screen = " ".join(str(d).split())
    assert "one h, c pair is shared by lstm_1 and lstm_2" in screen
    assert "keep h1, c1 and h2, c2" in screen
    assert max(map(len, str(d).splitlines())) < 120
    ((_, next_best),) = d.nearest
    assert next_best > 1e3 * d.findings[0].max_abs


def test_right_numbers_are_not_explained_away(net, x):
    right = forward(net, x)
    d = jl.diagnose(net, x, right)
    assert d.verdict == "agree" and not d.findings and d.tried == 0
    single = np.asarray(jl.predict(net, x))
    assert jl.diagnose(net, x, single).verdict == "agree"


@pytest.mark.parametrize("seed", range(2))
def test_noise_is_not_a_mistake(net, x, seed):
    rng = np.random.default_rng(seed)
    right = forward(net, x)
    d = jl.diagnose(net, x, right * (1 + 1e-4 * rng.normal(size=right.shape)))
    assert d.verdict == "precision" and not d.findings


@pytest.mark.parametrize(
    "wrong",
    [
        Wrong("shared-state", ("lstm_1", "lstm_2"), {}),
        Wrong("time-reversed", (), {}),
    ],
    ids=str,
)
def test_a_smooth_rest_is_not_explained_by_what_comes_near(net, x, wrong):
    """Noise may be left beside a mistake; a curve is another mistake, not noise."""
    y = forward(net, x, [wrong])
    curve = np.sin(np.arange(len(y)) / 7)[:, None] * y.std(0)
    noise = np.random.default_rng(4).normal(size=y.shape) * y.std(0)
    near = jl.diagnose(net, x, y + 3e-3 * curve, max_mistakes=1)
    assert near.verdict == "unexplained" and not near.findings
    assert near.nearest[0][1] < 0.02 * near.max_abs
    beside = jl.diagnose(net, x, y + 2e-3 * noise, max_mistakes=1)
    assert beside.verdict == "explained"
    assert found(beside) == [((wrong.name, wrong.layers),)]


@pytest.mark.parametrize("kind", ["float16", "bfloat16"])
def test_rounded_weights_are_named(net, x, kind):
    layers = tuple(n for n in net.layers if n.startswith(("lstm", "fc")))
    y = forward(net, x, [Wrong("weights-rounded", layers, {"to": kind})])
    d = jl.diagnose(net, x, y)
    assert d.verdict == "precision"
    if d.findings:
        assert parameters(d) == {"to": kind}


def test_numbers_written_to_few_decimals_agree(net, x):
    d = jl.diagnose(net, x, np.round(forward(net, x), 2))
    assert d.verdict == "precision" and "2 decimals" in d.summary


# --- single mistakes ------------------------------------------------------------------

ALL = ("lstm_1", "lstm_2")
SINGLE = [
    Wrong("gate-order", ("lstm_1",), {"order": "iofg"}),
    Wrong("gate-order", ALL, {"order": "igfo"}),
    Wrong("gate-order", ("lstm_2",), {"order": "gofi", "recurrent_transposed": True}),
    Wrong("interleaved", ALL, {}),
    Wrong("recurrent-transposed", ("lstm_1",), {}),
    Wrong("memory-order", ("lstm_2",), {"which": "recurrent"}),
    Wrong("bias-doubled", ALL, {}),
    Wrong("bias-omitted", ("lstm_2",), {}),
    Wrong("forget-bias", ALL, {"added": 1.0}),
    Wrong("state-reset", ALL, {"every": 1, "what": "both"}),
    Wrong("state-reset", ALL, {"every": 7, "what": "both"}),
    Wrong("start-state", ALL, {"from": "previous-run"}),
    Wrong("gate-activation", ALL, {"function": "hard-sigmoid"}),
    Wrong("gate-activation", ALL, {"function": "hard-sigmoid-keras3"}),
    Wrong("cell-activation", ALL, {"function": "identity"}),
    Wrong("activation-omitted", ("relu_1",), {}),
    Wrong("layer-delayed", ("lstm_2",), {}),
    Wrong("normalisation-omitted", (), {}),
    Wrong("normalisation-twice", (), {}),
    Wrong("standardised", (), {"statistics": "own-population"}),
    Wrong("std-ddof", (), {"factor": np.sqrt(39 / 40), "n": 40}),
    Wrong("input-affine", (), {"slope": 0.7, "offset": 0.2}),
    Wrong("features-reversed", (), {}),
    Wrong("time-shift", (), {"steps": 2, "fill": "zero"}),
    Wrong("padding", (), {"side": "left", "steps": 9, "value": 0.0}),
    Wrong("output-affine", (), {"slope": 12.5, "offset": -3.0}),
    Wrong("output-shift", (), {"steps": 1, "fill": "edge"}),
    Wrong("output-reversed", (), {}),
    Wrong("columns-permuted", (), {"order": (1, 0)}),
]


def agrees(wrong: Wrong, mistake: jl.diagnosis.Mistake) -> bool:
    theirs = dict(mistake.parameters)
    for key, value in wrong.parameters.items():
        if key == "fill":
            continue
        if isinstance(value, float | tuple):
            if not np.allclose(value, theirs[key], rtol=1e-4):
                return False
        elif theirs[key] != value:
            return False
    return wrong.name == mistake.name and set(wrong.layers) == set(mistake.layers)


@pytest.mark.parametrize("wrong", SINGLE, ids=lambda w: f"{w.name}-{w.parameters}")
def test_a_single_mistake_is_found_with_its_parameters(net, x, wrong):
    d = jl.diagnose(net, x, forward(net, x, [wrong]))
    assert d.verdict in ("explained", "tied"), str(d)
    assert any(agrees(wrong, f.mistakes[0]) for f in d.findings[: d.tied]), str(d)
    assert all(len(f.mistakes) == 1 for f in d.findings[: d.tied])


@pytest.mark.parametrize("mistake", MISTAKES, ids=str)
def test_mistakes_of_another_hand_are_explained(mistake):
    """The table that `validate` is judged by, from tests/recordings.py."""
    sizes = (4, 20, 20, 3)
    stack = draw(sizes=sizes)
    x = signal(STEPS)
    d = jl.diagnose(stack.net, x, mistake.run(stack, x)["fc"], max_mistakes=1)
    if mistake.name == "stale state":  # from a signal that nobody else knows
        assert d.verdict in ("explained", "unexplained")
        return
    assert d.verdict in ("explained", "tied"), str(d)
    assert d.findings[0].max_abs < 1e-5


# --- pairs ----------------------------------------------------------------------------

PAIRS = [
    (SINGLE[0], Wrong("bias-omitted", ("lstm_2",), {})),
    (Wrong("shared-state", ALL, {}), Wrong("output-affine", (), SINGLE[25].parameters)),
    (Wrong("state-reset", ALL, {"every": 1, "what": "both"}), SINGLE[17]),
]


@pytest.mark.parametrize("pair", PAIRS, ids=lambda p: f"{p[0].name}+{p[1].name}")
def test_two_mistakes_are_found_together(net, x, pair):
    d = jl.diagnose(net, x, forward(net, x, pair))
    names = sorted(w.name for w in pair)
    assert any(
        sorted(m.name for m in f.mistakes) == names for f in d.findings[: d.tied]
    ), str(d)


def test_one_mistake_at_most_on_request(net, x):
    d = jl.diagnose(net, x, forward(net, x, PAIRS[0]), max_mistakes=1)
    assert d.verdict == "unexplained" and not d.findings


# --- what else can be observed --------------------------------------------------------


def test_one_answer_for_a_whole_sequence(classifier):
    x = signal(25, 5)
    wrong = Wrong("shared-state", ("one", "two"), {})
    d = jl.diagnose(classifier, x, forward(classifier, x, [wrong]))
    assert (("shared-state", ("one", "two")),) in found(d), str(d)
    wrong = Wrong("first-instead-of-last", ("two",), {})
    d = jl.diagnose(classifier, x, forward(classifier, x, [wrong]))
    assert (("first-instead-of-last", ("two",)),) in found(d), str(d)


def test_several_sequences_of_different_length(classifier):
    xs = [signal(n, 5, seed=n) for n in (20, 31, 26)]
    wrong = Wrong(
        "padding", (), {"side": "right", "value": 0.0, "mates": True, "steps": 0}
    )
    d = jl.diagnose(classifier, xs, forward_many(classifier, xs, [wrong]))
    assert any(f.mistakes[0].parameters.get("mates") for f in d.findings[: d.tied])
    carried = Wrong("start-state", ("one", "two"), {"from": "previous-sequence"})
    d = jl.diagnose(classifier, xs, forward_many(classifier, xs, [carried]))
    assert parameters(d)["from"] == "previous-sequence", str(d)


def test_outputs_of_layers_tell_ties_apart(classifier):
    # Through a dense layer that is blind to it, a mistake leaves no trace.
    x = signal(25, 5)
    wrong = Wrong("bias-omitted", ("one",), {})
    y, inner = forward(classifier, x, [wrong], signals=True)
    d = jl.diagnose(classifier, x, y, layers={"one": inner["one"]})
    assert found(d) == [(("bias-omitted", ("one",)),)]
    assert any("of the observed layers one differ" in fact for fact in d.facts)


def test_a_given_state_is_tried(net, x):
    rng = np.random.default_rng(2)
    state = jax.tree.map(lambda a: rng.uniform(-1, 1, a.shape), net.initial)
    start = {n: type(part)(*part) for n, part in state.items()}
    y = forward(net, x, [Wrong("start-state", ALL, {"from": "given", "state": start})])
    d = jl.diagnose(net, x, y, states=start)
    assert parameters(d)["from"] == "given", str(d)
    without = jl.diagnose(net, x, y, max_mistakes=1)
    assert without.verdict in ("explained", "unexplained")
    if without.findings:
        assert parameters(without) == {"from": "unknown"}


def test_labels_rank_and_prove_nothing(classifier):
    xs = [signal(20, 5, seed=n) for n in range(12)]
    wrong = Wrong("state-reset", ("one", "two"), {"every": 1, "what": "both"})
    scores = forward_many(classifier, xs, [wrong])
    labels = [np.array(classifier.classes)[y.argmax()] for y in scores]
    d = jl.diagnose(classifier, xs, labels)
    assert d.verdict == "undecidable" and "labels prove nothing" in d.summary
    assert "state-reset" in {f.mistakes[0].name for f in d.findings}


def test_mistakes_in_a_gru_and_in_two_directions():
    rng = np.random.default_rng(4)
    dense = L.FullyConnected(normal(rng, 2, 7), normal(rng, 2))
    one = Network.build({"in": L.Input((3,)), "gru": gru(rng, 7, 3), "fc": dense})
    x = signal(30, 3)
    for wrong in (
        Wrong("gate-order", ("gru",), {"order": "zrn"}),
        Wrong("update-inverted", ("gru",), {}),
        Wrong("reset-mode", ("gru",), {"mode": "before-multiplication"}),
    ):
        d = jl.diagnose(one, x, forward(one, x, [wrong]))
        assert any(agrees(wrong, f.mistakes[0]) for f in d.findings[: d.tied]), str(d)
    both = Bidirectional(lstm(rng, 4, 3), lstm(rng, 4, 3), output_mode="last")
    dense = L.FullyConnected(normal(rng, 2, 8), normal(rng, 2))
    two = Network.build({"in": L.Input((3,)), "both": both, "fc": dense})
    for name in ("backward-last", "halves-swapped", "directions-swapped"):
        wrong = Wrong(name, ("both",), {})
        d = jl.diagnose(two, x, forward(two, x, [wrong]))
        assert any(agrees(wrong, f.mistakes[0]) for f in d.findings[: d.tied]), str(d)


def test_ties_are_reported_with_what_separates_them():
    """With one layer and one unit, some mistakes are the same mistake."""
    rng = np.random.default_rng(8)
    dense = L.FullyConnected(normal(rng, 1, 6), np.zeros(1, "f4"))
    net = Network.build({"in": L.Input((2,)), "lstm": lstm(rng, 6, 2), "fc": dense})
    x = signal(1, 2)
    # At one step the recurrent weights and the forget gate play no part.
    wrong = Wrong("gate-order", ("lstm",), {"order": "ofgi"})
    d = jl.diagnose(net, x, forward(net, x, [wrong]))
    assert d.verdict in ("tied", "undecidable")
    assert len(d.findings) > 1


# --- nothing explains -----------------------------------------------------------------


def test_what_no_mistake_explains_stays_unexplained(net, x):
    rng = np.random.default_rng(3)
    right = forward(net, x)
    d = jl.diagnose(net, x, right.std() * rng.normal(size=right.shape), max_mistakes=1)
    assert d.verdict == "unexplained" and not d.findings
    assert "shared-state" in str(d) and d.nearest


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda x, y: (x, y[:-3]), "same steps"),
        (lambda x, y: (x, y.T), "expected.T"),
        (lambda x, y: (x.T, y), "x.T"),
        (
            lambda x, y: (x, np.where(np.arange(len(y))[:, None] > 5, np.nan, y)),
            "row 7",
        ),
        (lambda x, y: (np.full_like(x, np.inf), y), "the input holds"),
        (lambda x, y: (x, y[:, :1]), "shape"),
        (lambda x, y: ([x], y), "records"),
    ],
)
def test_input_that_does_not_fit_is_refused(net, x, change, words):
    given, observed = change(x, forward(net, x))
    with pytest.raises(InputError, match=words):
        jl.diagnose(net, given, observed)


def test_a_constant_feature_explains_nan(net, x):
    x = x.copy()
    x[:, 1] = 2.0
    with pytest.raises(InputError, match="feature 2 of the input is constant"):
        jl.diagnose(net, x, np.full((STEPS, 2), np.nan))


def test_unknown_layers_and_counts_are_refused(net, x):
    y = forward(net, x)
    with pytest.raises(InputError, match="no such layer"):
        jl.diagnose(net, x, y, layers={"lstm_9": y})
    with pytest.raises(InputError, match="at once"):
        jl.diagnose(net, x, y, max_mistakes=3)


def test_the_result_is_json(net, x):
    d = jl.diagnose(net, x, 2 * forward(net, x) + 1)
    again = json.loads(json.dumps(d.to_dict(), allow_nan=False))
    (mistake,) = again["findings"][0]["mistakes"]
    assert mistake["name"] == "output-affine"
    assert mistake["parameters"] == pytest.approx({"slope": 2, "offset": 1})


def chaotic(size: float) -> Network:
    """Weights so large that rounding grows until it is as large as the signal."""
    rng = np.random.default_rng(0)
    net = Network.build(
        {
            "in": L.Input((3,)),
            "one": lstm(rng, 64, 3),
            "relu": L.Activation("relu"),
            "two": lstm(rng, 64, 64),
            "fc": L.FullyConnected(normal(rng, 1, 64) / 5, normal(rng, 1)),
        }
    )
    layers = jax.tree.map(lambda a: np.float32(size * a), net.layers)
    return net.replace(layers=layers)


@pytest.mark.parametrize("size", [1.0])
def test_a_chaotic_network_is_judged_by_its_first_steps(size):
    net = chaotic(size)
    x = np.random.default_rng(1).normal(size=(120, 3))
    right = forward(net, x)
    short = np.asarray(jl.predict(net, x))
    # Nothing is left of single precision at the end, while it agrees at first.
    assert abs(short - right)[-40:].max() > 0.05 * right.std()
    assert abs(short - right)[:8].max() < 1e-3 * right.std()
    y = forward(net, x, [Wrong("bias-omitted", ("one",), {})])
    d = jl.diagnose(net, x, y, max_mistakes=1)
    assert d.verdict == "explained" and found(d) == [(("bias-omitted", ("one",)),)]
    agree = jl.diagnose(net, x, short)
    assert agree.verdict == "agree"
    for one in (d, agree):
        assert 8 <= one.steps < 100 and f"over {one.steps} steps" in one.summary
        assert any(f"{one.steps} of 120 steps" in note for note in one.notes)


def test_chaos_is_no_unknown_start():
    """After the horizon everything is within the tolerance, which says nothing."""
    net = chaotic(1.0)
    x = np.random.default_rng(2).normal(size=(120, 3))
    other = forward(net, x[::-1].copy())  # not in the catalogue with this noise
    other = other + 0.3 * other.std() * np.random.default_rng(3).normal(size=(120, 1))
    d = jl.diagnose(net, x, other, max_mistakes=1)
    assert d.verdict == "unexplained" and not d.findings


def test_a_layer_is_compared_at_all_steps_beside_one_answer(classifier):
    """The last answer has one row; the rows of a layer are not cut to it."""
    x = signal(25, 5)
    y, signals = forward(classifier, x, signals=True)
    h = signals["one.h"].copy()
    h[20:] += 0.1
    d = jl.diagnose(classifier, x, y, layers={"one": h}, max_mistakes=1)
    assert d.verdict != "agree" and d.max_abs > 0.09
    assert jl.diagnose(classifier, x, y, layers={"one": signals["one.h"]}).verdict == (
        "agree"
    )


def test_networks_that_explode_are_no_crash():
    rng = np.random.default_rng(0)
    dense = L.FullyConnected(normal(rng, 2, 16), normal(rng, 2))
    layers = {"in": L.Input((3,)), "one": lstm(rng, 16, 3, output_mode="last")}
    net = Network.build(layers | {"fc": dense})
    net = net.replace(layers=jax.tree.map(lambda a: np.float32(6 * a), net.layers))
    xs = [10 * rng.normal(size=(steps, 3)) for steps in (120, 90, 120, 105)]
    ys = [y + rng.normal(size=y.shape) for y in forward_many(net, xs)]
    assert not jl.diagnose(net, xs, ys, max_mistakes=1).findings
