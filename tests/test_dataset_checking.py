"""What of a recording must fit the network: labels, finite numbers, shapes."""

import networks
import numpy as np
import pandas as pd
import pytest
from dataset_cases import FEATURES, NAMES, OUTPUTS, STEPS, cells, network, same
from scipy.io import savemat

from jlstm import layers as L
from jlstm.config import Data
from jlstm.dataset import recordings
from jlstm.errors import InputError
from jlstm.network import Network


@pytest.fixture
def net(rng):
    return network(rng)


@pytest.fixture
def labelled(rng):
    return network(rng, 3, classes=("low", "mid", "up"))


@pytest.fixture
def x(rng):
    return rng.normal(size=(STEPS, FEATURES))


@pytest.fixture
def y(rng):
    return rng.normal(size=(STEPS, OUTPUTS))


# --- labels ---------------------------------------------------------------------------


def test_labels_become_one_hot_in_the_order_of_the_scores(tmp_path, labelled, x):
    names = ["up", "low", "mid", "up", "up", "mid", "low"]
    rows = [[0, 0, 1], [1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 1], [0, 1, 0], [1, 0, 0]]
    frame = pd.DataFrame(x, columns=list("abc")).assign(kind=names)
    frame.to_csv(tmp_path / "run.csv", index=False)
    for source in (frame, tmp_path, (x, names), (x, np.array(names)[:, None])):
        same(recordings(source, labelled, Data())[0], x, rows)
    # Scores of all classes are taken as they are.
    scores = np.full((STEPS, 3), 1 / 3)
    same(recordings((x, scores), labelled, Data())[0], x, scores)
    frame.loc[3, "kind"] = "high"
    frame.to_csv(tmp_path / "run.csv", index=False)
    with pytest.raises(InputError, match="no class of the network") as caught:
        recordings(tmp_path, labelled, Data())
    assert caught.value.place == "line 5, column 'kind'"
    assert caught.value.expected == "low, mid, up"


def test_missing_labels(labelled, x):
    names = ["up", "", None, "<undefined>", "low", np.nan, "mid"]
    (found,) = recordings((x, np.array(names, object)), labelled, Data())
    scored = np.array([1, 0, 0, 0, 1, 0, 1])[:, None].repeat(3, 1)
    assert np.array_equal(found.weights, scored)
    assert np.array_equal(np.isnan(found.y), scored == 0)
    with pytest.raises(InputError, match="target that is not a finite") as caught:
        recordings((x, np.array(names, object)), labelled, Data(nan="refuse"))
    assert caught.value.place == "y, step 2, output 1"


def test_numbers_are_labels_where_classes_are_called_so(rng, tmp_path, x):
    net = network(rng, 3, classes=("2", "1", "10"))
    codes = np.array([1, 2, 10, 1, 1, 2, 10])
    rows = np.eye(3)[[1, 0, 2, 1, 1, 0, 2]]
    frame = pd.DataFrame(x, columns=list("abc")).assign(kind=codes)
    frame.to_csv(tmp_path / "run.csv", index=False)
    savemat(tmp_path / "run.mat", {"X": x.T, "Y": codes[None]})
    for source in (frame, tmp_path / "run.csv", (x, codes), (x, codes * 1.0)):
        same(recordings(source, net, Data())[0], x, rows)
    same(recordings(tmp_path / "run.mat", net, NAMES)[0], x, rows)
    with pytest.raises(InputError, match="no class") as caught:
        recordings((x, codes - 1), net, Data())
    assert caught.value.found == "'0'"


def test_one_label_for_a_sequence(rng, tmp_path, x):
    net = network(rng, 3, classes=("low", "mid", "up"), once=True)
    frame = pd.DataFrame(x, columns=list("abc")).assign(kind="mid")
    for source in (frame, (x, "mid"), (x, ["mid"]), (x, [0, 1, 0])):
        same(recordings(source, net, Data())[0], x, [0, 1, 0])
    found = recordings((np.stack([x, x]), ["up", "low"]), net, Data())
    assert [one.y.tolist() for one in found] == [[0, 0, 1], [1, 0, 0]]
    savemat(tmp_path / "x.mat", {"X": cells(x.T, x.T), "Y": cells("up", "low")})
    found = recordings(tmp_path / "x.mat", net, NAMES)
    assert [one.y.tolist() for one in found] == [[0, 0, 1], [1, 0, 0]]
    with pytest.raises(InputError, match="one label is needed"):
        recordings((x, ["mid", "up"]), net, Data())


# --- numbers and shapes ---------------------------------------------------------------


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e39])
def test_an_input_that_is_not_finite(tmp_path, net, x, y, value):
    x[4, 1] = value
    frame = pd.DataFrame(np.hstack([x, y]), columns=list("abcpq"))
    frame.to_csv(tmp_path / "run.csv", index=False)
    savemat(tmp_path / "run.mat", {"X": cells(x[:2].T, x.T), "Y": cells(y[:2].T, y.T)})
    for source, file, place in (
        (tmp_path / "run.csv", str(tmp_path / "run.csv"), "line 6, column 'b'"),
        (frame, "table 1", "row 5, column 'b'"),
        ([(x[:3], y[:3]), (x, y)], "recording 2", "x, step 5, feature 2"),
        (
            tmp_path / "run.mat",
            str(tmp_path / "run.mat"),
            "sequence 2, X, step 5, feature 2",
        ),
    ):
        data = NAMES if str(source).endswith(".mat") else Data()
        with pytest.raises(InputError, match="an input that is not") as caught:
            recordings(source, net, data)
        assert (caught.value.file, caught.value.place) == (file, place)
        assert caught.value.found == str(value)


def test_a_target_that_is_missing_has_no_weight(net, x, y):
    y[2, 1] = y[5, 0] = np.nan
    scored = np.ones((STEPS, OUTPUTS))
    scored[2, 1] = scored[5, 0] = 0
    (found,) = recordings((x, y), net, Data())
    same(found, x, y, scored)
    with pytest.raises(InputError, match="target that is not") as caught:
        recordings((x, y), net, Data(nan="refuse"))
    assert caught.value.place == "y, step 3, output 2"
    (found,) = recordings((x, np.ma.masked_invalid(y)), net, Data())
    same(found, x, y, scored)
    y[0, 0] = -np.inf
    with pytest.raises(InputError, match="target that is not") as caught:
        recordings((x, y), net, Data())
    assert caught.value.place == "y, step 1, output 1"


def test_the_precision_is_that_of_the_network(rng, net, x, y, double):
    (found,) = recordings((x, y), net.astype("f8"), Data())
    assert {a.dtype.name for a in found[1:]} == {"float64"}
    assert np.array_equal(found.x, x)


def test_networks_that_learn_from_no_recording(rng, x, y):
    with pytest.raises(InputError, match="too short"):
        recordings((x, y), network(rng, least=8), Data())
    with pytest.raises(InputError, match="one output"):
        recordings((x, y), networks.rich(rng), Data())
    dense = L.FullyConnected(networks.normal(rng, 2, 3), networks.normal(rng, 2))
    flat = Network.build({"in": L.Input((3,), time=False), "fc": dense})
    with pytest.raises(InputError, match="from sequences to vectors"):
        recordings((x[0], y[0]), flat, Data())


def test_text_in_arrays(net, x, y):
    with pytest.raises(InputError, match="inputs that are not real numbers"):
        recordings((x.astype("U9"), y), net, Data())
    with pytest.raises(InputError, match="names no classes"):
        recordings((x, y.astype("U9")), net, Data())
    with pytest.raises(InputError, match="targets that are not real"):
        recordings((x, y + 1j), net, Data())


# --- units ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "scale, offset", [((4.0, 0.1), (300.0, -2.0)), ((4.0,), ()), ((), (-2.0, 5.0))]
)
def test_targets_are_learned_in_the_units_of_the_network(net, x, y, scale, offset):
    data = Data(target_scale=scale, target_offset=offset)
    units = np.array(scale or (1.0,)), np.array(offset or (0.0,))
    y[2, 1] = np.nan
    (found,) = recordings((x, y * units[0] + units[1]), net, data)
    np.testing.assert_allclose(found.y, y, rtol=1e-5, atol=1e-6)
    assert np.array_equal(found.weights, ~np.isnan(y))


@pytest.mark.parametrize(
    "data, words",
    [
        (Data(target_scale=(1.0, 2.0, 3.0)), "does not fit the outputs"),
        (Data(target_scale=(1.0, 0.0)), "cannot be undone"),
        (Data(target_offset=(np.inf,)), "cannot be undone"),
    ],
)
def test_units_that_mean_nothing_are_refused(net, x, y, data, words):
    with pytest.raises(InputError, match=words):
        recordings((x, y), net, data)


def test_labels_have_no_units(labelled, x):
    names = ["up", "low", "mid", "up", "up", "mid", "low"]
    for targets in (names, np.eye(3)[[0, 1, 2, 0, 1, 2, 0]]):
        with pytest.raises(InputError, match="labels have no units"):
            recordings((x, targets), labelled, Data(target_scale=(2.0,)))
