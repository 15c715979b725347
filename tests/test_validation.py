"""Right networks agree, every known mistake is seen, and the words fit the numbers."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

import jax
import numpy as np
import onnxruntime
import oracles
import pytest
import recordings
import reference
from recordings import FEATURES, HIDDEN, MISTAKES, OUTPUTS, SECOND, draw, signal
from recordings import with_scale as scaled

from jlstm import layers as L
from jlstm import rounding
from jlstm.errors import InputError, Unsupported
from jlstm.formats import matlab, native
from jlstm.golden import Golden
from jlstm.network import Network, Node, predict
from jlstm.validation import self_test, validate

STEPS = 60


@pytest.fixture(scope="module")
def stack() -> recordings.Stack:
    return draw()


@pytest.fixture(scope="module")
def net(stack) -> Network:
    return stack.net


@pytest.fixture(scope="module")
def x() -> np.ndarray:
    return signal(STEPS)


@pytest.fixture(scope="module")
def truth(stack, x) -> dict[str, np.ndarray]:
    return stack.run(x)


# --- right and wrong ------------------------------------------------------------------


def test_the_right_network_agrees(net, x, truth):
    found = validate(net, x, truth["fc"], layers={k: truth[k] for k in ("one", "two")})
    assert found.ok and found.verdict == "agrees to single precision"
    assert found.first_bad_step is None and found.first_bad_layer is None
    assert found.precision == "single" and found.steps == STEPS
    # Layers are compared by a trace.
    own = np.asarray(predict(net, x, trace=True)[0], float)
    assert found.max_abs == abs(own - truth["fc"]).max()
    assert found.max_rel == pytest.approx(
        max(abs(own - truth["fc"]).max(0) / abs(truth["fc"]).max(0))
    )
    assert found.max_abs_double is not None and found.max_abs_double < 1e-14
    assert [d.name for d in found.per_output] == ["fc 1", "fc 2", "fc 3"]
    assert [d.name for d in found.per_layer] == ["one", "two"]
    np.testing.assert_array_equal(found.predicted[0], own)
    np.testing.assert_array_equal(found.recorded[0], truth["fc"])


@pytest.mark.parametrize("mistake", MISTAKES, ids=str)
def test_a_mistake_is_seen_where_it_starts(mistake, net, x):
    one_width = mistake.name == "shared state"
    stack = draw(sizes=(FEATURES, HIDDEN, HIDDEN, OUTPUTS)) if one_width else draw()
    net = stack.net if one_width else net
    wrong = mistake.run(stack, x)
    layers = {"two": wrong["two"], "one": wrong["one"]}
    found = validate(net, x, wrong["fc"], layers=layers)
    assert not found.ok
    assert max(d.excess for d in found.per_output) > 1000
    assert [d.first_bad_step for d in found.per_layer] == [mistake.one, mistake.two]
    first = min(step for step in (mistake.one, mistake.two) if step is not None)
    assert f"differs structurally from step {first + 1};" in found.verdict
    assert found.first_bad_layer == ("two" if mistake.one is None else "one")
    assert (mistake.one is None) == ("two, one agree" in found.verdict)


def test_weights_in_half_precision(net, stack, x):
    def rounded(w):
        return {k: v.astype(np.float16).astype(float) for k, v in w.items()}

    half = stack._replace(first=rounded(stack.first), second=rounded(stack.second))
    found = validate(net, x, half.run(x)["fc"])
    assert not found.ok
    assert "half precision (1e-3) only" in found.verdict


def test_double_precision(net, x, truth):
    for same in (net, net.astype("float64")):
        found = validate(same, x, truth["fc"], precision="double")
        # The record was made of the input in single precision; this one was not.
        assert not found.ok
    x = x.astype(np.float32)
    for same in (net, net.astype("float64")):
        found = validate(same, x, truth["fc"], precision="double")
        assert found.ok and found.verdict == "agrees to double precision"
        assert found.max_abs_double is None
        assert found.max_abs is not None and found.max_abs < 1e-14
    assert validate(net.astype("float64"), x, truth["fc"]).precision == "double"
    single = truth["fc"].astype(np.float32)
    found = validate(net, x, single, precision="double")
    assert not found.ok and found.verdict == "agrees to single precision only"
    assert validate(net.astype("float64"), x, single, precision="single").ok


def test_where_and_when(net, x, truth):
    """One value is off by more than its tolerance, another by less."""
    wrong = truth["fc"].copy()
    wrong[41, 2] += 1e-3
    wrong[11, 1] += 1e-7
    found = validate(net, x, wrong)
    assert found.first_bad_step == 41
    assert [d.ok for d in found.per_output] == [True, True, False]
    bad = found.per_output[2]
    assert (bad.step, bad.first_bad_step) == (41, 41)
    assert bad.max_abs == pytest.approx(1e-3, rel=0.01)
    assert bad.excess == pytest.approx(bad.max_abs / bad.tolerance)
    assert "step 42 of 60" in str(found)


def test_growth(net, x, truth):
    wrong = truth["fc"] + 1e-3 * np.linspace(0, 1, STEPS)[:, None]
    found = validate(net, x, wrong)
    assert found.growth == pytest.approx(59 / 14, rel=0.01)


def test_decimals_are_named_but_not_excused(net, x, truth):
    found = validate(net, x, np.round(truth["fc"], 4))
    assert not found.ok
    assert "no recorded number has more than 4 decimals" in found.verdict
    assert "tolerance=6e-05" in found.verdict
    assert validate(net, x, np.round(truth["fc"], 4), tolerance=6e-5).ok
    assert "decimals" not in validate(net, x, np.round(truth["fc"] + 0.1, 4)).verdict


def test_a_given_tolerance(net, x, truth):
    wrong = truth["fc"] + 0.01
    assert validate(net, x, wrong, tolerance=0.0101).ok
    found = validate(net, x, wrong, tolerance=0.0099)
    assert not found.ok and found.first_bad_step == 0
    assert "above the given tolerance 0.0099" in found.verdict


def test_chaos_is_no_proof():
    """Agreement is reported together with the step from which it says nothing."""
    stack, x = scaled(8.0), signal(150)
    found = validate(stack.net, x, stack.run(x, recordings.torch_single)["fc"])
    assert found.ok and found.blind_from is not None and 10 < found.blind_from < 140
    assert f"from step {found.blind_from + 1} on rounding alone" in found.verdict
    wrong = stack.run(np.roll(x, 1, axis=0))["fc"]
    assert validate(stack.net, x, wrong).first_bad_step == 0


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_never_agrees(odd, net, x, truth):
    wrong = truth["fc"].copy()
    wrong[20, 1] = odd
    found = validate(net, x, wrong)
    assert not found.ok and found.first_bad_step == 20
    assert "from step 21: 1 values are NaN or infinite" in found.verdict
    assert found.max_abs == np.inf
    json.dumps(found.to_dict(), allow_nan=False)
    str(found)
    # On both sides, and accepted by no tolerance.
    broken = x.copy()
    broken[20, 0] = odd
    ours = np.asarray(predict(net, broken))
    for tolerance in (None, 1e9):
        found = validate(net, broken, np.where(np.isnan(ours), np.nan, ours),
                         tolerance=tolerance)  # fmt: skip
        assert found.ok == bool(np.isfinite(ours).all())


def test_an_infinite_answer_on_both_sides(net, x):
    dense: Any = net.layers["fc"]
    bias = np.array([np.inf, 0, 0], np.float32)
    broken = net.replace(
        layers=net.layers | {"fc": dataclasses.replace(dense, bias=bias)}
    )
    found = validate(broken, x, np.asarray(predict(broken, x)))
    assert [d.ok for d in found.per_output] == [False, True, True]


# --- what is compared -----------------------------------------------------------------


def test_inner_signals(net, stack, x):
    zero = np.zeros(HIDDEN)
    inner = oracles.loop(
        stack.cell, stack.first, x.astype("f4").astype(float), zero, zero
    )
    y = stack.run(x)["fc"]
    found = validate(net, x, y, layers={"one": inner["h"], "one.c": inner["c"]})
    assert found.ok and [d.name for d in found.per_layer] == ["one.c", "one"]
    found = validate(net, x, y, layers={"one.i": inner["f"]})
    assert not found.ok and found.first_bad_layer == "one.i"
    with pytest.raises(InputError, match="no such layer or signal"):
        validate(net, x, y, layers={"three": inner["h"]})


def test_start_from_the_saved_state(net, stack, x, truth):
    _, state = predict(net, x[:20], return_state=True)
    saved = net.replace(saved=jax.tree.map(np.asarray, state))
    assert validate(saved, x[20:], truth["fc"][20:], state=saved.saved).ok
    assert not validate(saved, x[20:], truth["fc"][20:]).ok
    wide = saved.astype("float64")
    assert validate(wide, x[20:], truth["fc"][20:], state=wide.saved,
                    precision="single").ok  # fmt: skip


def test_several_sequences(net, stack):
    """Of different lengths; the worst is reported, all are listed."""
    xs = [signal(steps, seed=k) for k, steps in enumerate((STEPS, 14))]
    runs = [stack.run(x) for x in xs]
    ys, layers = [run["fc"] for run in runs], [{"one": run["one"]} for run in runs]
    found = validate(net, xs, ys, layers=layers)
    assert found.ok
    assert [s.steps for s in found.per_sequence] == [60, 14]
    ys[1] = ys[1] + np.array([0, 0, 1])
    found = validate(net, xs, ys, layers=layers)
    assert [s.first_bad_step for s in found.per_sequence] == [None, 0]
    assert found.steps == 14 and found.max_abs == pytest.approx(1, rel=0.01)
    assert "1 of 2" in str(found) and "number 2: 1.00e+00" in str(found)
    ys[0] = ys[0] + 2
    found = validate(net, xs, ys, layers=layers)
    assert found.steps == 60 and found.max_abs == pytest.approx(2, rel=0.01)


def test_several_inputs_and_outputs(stack):
    lstm, other = stack.net.layers["one"], stack.net.layers["two"]
    layers = {
        "u": L.Input((1,)), "v": L.Input((3,)), "join": L.Concatenation(),
        "one": lstm, "two": other,
    }  # fmt: skip
    graph = [
        Node("u", ()), Node("v", ()), Node("join", ("u", "v")), Node("one", ("join",)),
        Node("two", ("one",)),
    ]  # fmt: skip
    net = Network.build(layers, graph, outputs=["two", "one"])
    x = signal(12)
    y = stack.run(x)
    for inputs in ((x[:, :1], x[:, 1:]), {"v": x[:, 1:], "u": x[:, :1]}):
        assert validate(net, inputs, (y["two"], y["one"])).ok
    found = validate(net, (x[:, :1], x[:, 1:]), (y["two"], y["one"][::-1]))
    assert not found.ok
    assert {d.name.split()[0] for d in found.per_output if not d.ok} == {"one"}
    assert len(found.per_output) == HIDDEN + SECOND
    with pytest.raises(InputError, match="a record for every output"):
        validate(net, (x[:, :1], x[:, 1:]), y["two"])


def test_golden_vectors(net, stack, x, truth, tmp_path):
    golden = Golden((x,), (truth["fc"],), {"one": truth["one"]}, "by hand")
    native.save(net, tmp_path / "net.safetensors", [golden])
    again, (loaded,) = native.load(tmp_path / "net.safetensors")
    found = self_test(again, loaded)
    assert found.ok and found.per_layer[0].name == "one"
    wrong = golden._replace(outputs=(truth["fc"][::-1],))
    assert not self_test(net, wrong).ok
    _, state = predict(net, x[:20], return_state=True)
    saved = net.replace(saved=jax.tree.map(np.asarray, state))
    rest = Golden((x[20:],), (truth["fc"][20:],), {}, "", "saved")
    assert self_test(saved, rest).ok
    assert not self_test(saved, rest._replace(start="initial")).ok


def test_the_engine_that_is_judged(net, x, truth, monkeypatch):
    asked = []

    def watched(*args, engine="auto", **kwargs):
        asked.append(engine)
        return predict(*args, engine=engine, **kwargs)

    monkeypatch.setattr(rounding, "predict", watched)
    found = validate(net, x, truth["fc"], engine="xla")
    assert found.ok and asked.count("xla") == 1
    own = predict(net, x, engine="xla")
    np.testing.assert_array_equal(found.predicted[0], np.asarray(own, float))
    with pytest.raises(InputError, match="no such engine"):
        validate(net, x, truth["fc"], engine="fast")
    with pytest.raises(Unsupported, match="does not run"):
        validate(net, x, truth["fc"], layers={"one": truth["one"]}, engine="cpu")


def test_precision_is_a_word(net, x, truth):
    with pytest.raises(InputError, match="unknown precision"):
        validate(net, x, truth["fc"], precision="float32")
    with pytest.raises(InputError, match="unknown precision"):
        validate(net.astype("bfloat16"), x, truth["fc"])


def test_one_screen(net, stack, x, truth):
    found = validate(net, x, truth["fc"][::-1], layers={"one": truth["one"]})
    lines = str(found).splitlines()
    assert len(lines) <= 30 and max(map(len, lines)) <= 100
    assert lines[0].startswith("DIFFERS: differs structurally from step 1")
    wide = draw(sizes=(FEATURES, HIDDEN, SECOND, 50))
    many = [validate(wide.net, [x] * 9, [-wide.run(x)["fc"]] * 9)]
    assert len(str(many[0]).splitlines()) <= 30


# --- real networks --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "given", "returned"),
    [
        ("fenn/LSTM.mat", "dataTrainStandardized", "Ytrain"),
        ("fenn/LSTM.mat", "inputdataStandardized", "YPred"),
        ("fenn/Hepatitis_B.mat", "dataTrainStandardized", "Ytrainres"),
        ("fenn/Varicella-Region.mat", "dataTrainStandardized", "Ytrainres"),
        ("story/net_story.mat", "X", "YPred"),
    ],
)
def test_what_matlab_computed(file, given, returned, nets):
    net, found = matlab.load(nets / file, variable="net"), reference.read(nets / file)
    x, y = (np.asarray(found[name], float) for name in (given, returned))
    if file.endswith("/LSTM.mat"):
        y = (y - found["mu"].item()) / found["sig"].item()
    outputs = net.shapes[net.outputs[0]].channels
    y = y.T if y.shape[0] == outputs else y
    x = x.T[: len(y)]
    result = validate(net, x, y)
    assert result.ok, str(result)
    assert result.max_abs_double is not None and result.max_abs_double < 1e-6
    for wrong in (y[::-1], np.roll(y, 1, 0), y * (1 + 1e-4)):
        assert not validate(net, x, wrong).ok
    if net.saved is not None:
        # What MATLAB's own predict would start from today.
        assert not validate(net, x, y, state=net.saved).ok


def test_what_matlab_exported_to_onnx(nets, rng):
    net = matlab.load(nets / "eeg/LSTM0.1.2.mat", variable="net")
    session = onnxruntime.InferenceSession(str(nets / "eeg/lstm_model.onnx"))
    x = rng.normal(size=(40, 20)).astype(np.float32)
    (scores,) = session.run(None, {"sequenceinput": x[:, None]})
    result = validate(net, x, np.ravel(np.asarray(scores)))
    assert result.ok, str(result)
    assert not validate(net, x[::-1], np.ravel(np.asarray(scores))).ok


def test_labels_of_matlab(nets):
    folder = nets / "compressor"
    net = matlab.load(folder / "TrainedModel.mat", variable="airCompNet")
    cells = reference.read(folder / "ValidationFeatures.mat")["validationFeatures"]
    stored = reference.read(folder / "ValidationResults.mat")["validationResults"]
    names, codes = reference.categories(stored)
    xs = [np.asarray(cell).T for cell in cells.ravel()]
    labels = np.array(names)[codes - 1]
    found = validate(net, xs, labels)
    assert found.ok and "176 of 176 labels agree, which is weak proof" in found.verdict
    assert found.max_abs is None and found.labels is not None
    json.dumps(found.to_dict(), allow_nan=False)
    # Started from another state most labels stay; the numbers do not.
    xs, labels = xs[::4], labels[::4]
    scores = [np.asarray(predict(net, x)) for x in xs]
    _, stale = predict(net, xs[0], return_state=True)
    found = validate(net, xs, labels, state=stale)
    assert not found.ok and found.labels is not None
    assert 0.7 < found.labels.agree / found.labels.total < 1
    assert validate(net, xs, scores).ok
    bad = [s.excess for s in validate(net, xs, scores, state=stale).per_sequence]
    assert np.mean(np.array(bad) > 1) > 0.9


@pytest.mark.parametrize("tolerance", [-1.0, math.nan, math.inf])
def test_no_tolerance(net, x, truth, tolerance):
    with pytest.raises(InputError, match="no tolerance"):
        validate(net, x, truth, tolerance=tolerance)


def test_its_truth_is_its_verdict(net, x, truth):
    recorded = truth["fc"]
    assert validate(net, x, recorded)
    assert not validate(net, x, recorded + 1)
