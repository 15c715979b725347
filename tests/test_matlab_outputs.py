"""Output layers: the names they give, those of the users, and what is no output."""

from __future__ import annotations

import matlab_structs as m
import numpy as np
import pytest
from agreement import assert_file_agrees
from matlab_files import (
    EMPTY,
    cell,
    dag,
    dlnetwork,
    layer_array,
    number,
    series,
    write,
)

from jlstm.errors import InputError, Unsupported
from jlstm.formats import matlab

C, H, K = 3, 5, 4


def classifier(rng, end, outputs=3):
    return [
        m.sequence_input("in", C),
        m.lstm(rng, "lstm", C, H, last=True),
        m.dense(rng, "fc", H, outputs),
        m.softmax("softmax"),
        end,
    ]


NAMES = ("walk", "sit", "stand")


@pytest.mark.parametrize("version", [1, 3, 4])
def test_classes(tmp_path, rng, version):
    layers = classifier(rng, m.classification("out", NAMES, version=version))
    net = assert_file_agrees(write(tmp_path / "net.mat", net=series(layers)), rng)
    assert net.classes == NAMES


def test_classes_go_through_their_codes(tmp_path, rng):
    """The names of a categorical need not be in the order of the scores."""
    layers = classifier(rng, m.classification("out", NAMES, (3, 1, 2)))
    net = matlab.load(write(tmp_path / "net.mat", net=series(layers)))
    assert net.classes == ("stand", "walk", "sit")


@pytest.mark.parametrize("end", [
    m.layer("ClassificationOutputLayer", "out", Classes="auto"),
    m.layer("ClassificationOutputLayer", "out"),
    m.layer("RegressionOutputLayer", "out", 2, ResponseNames=cell(NAMES)),
    m.layer("RegressionOutputLayer", "out", 2, ResponseNames=np.empty((0, 0), object)),
    m.regression("out"),
    m.custom("nnet.keras.layer.BinaryCrossEntropyRegressionLayer", "out"),
], ids=["auto", "none", "names", "no names", "one for all", "keras"])  # fmt: skip
def test_ends_without_classes(tmp_path, rng, end):
    layers = classifier(rng, end)
    net = assert_file_agrees(write(tmp_path / "net.mat", net=series(layers)), rng)
    assert net.classes == ()
    assert getattr(net.layers["out"], "responses", ()) in ((), NAMES)


def test_classes_that_cannot_be_decoded_cost_the_names_only(tmp_path, rng):
    end = m.classification("out", NAMES)
    end.properties["any"]["Categories"].properties["codes"] = number(1, 2, 9)
    layers = classifier(rng, end)
    net = assert_file_agrees(write(tmp_path / "net.mat", net=series(layers)), rng)
    assert net.classes == ()
    assert net.origin.notices == ("out: its classes cannot be decoded",)


def test_focal_loss(tmp_path, rng):
    end = m.layer(
        "FocalLossLayer",
        "out",
        Alpha=number(0.25),
        Gamma=number(2),
        Classes=cell(NAMES),
    )
    net = matlab.load(write(tmp_path / "net.mat", net=series(classifier(rng, end))))
    assert net.classes == NAMES


def test_another_number_of_classes_is_refused(tmp_path, rng):
    layers = classifier(rng, m.classification("out", NAMES), 4)
    with pytest.raises(InputError, match="as many outputs as classes"):
        matlab.load(write(tmp_path / "net.mat", net=series(layers)))


@pytest.mark.parametrize("container", [series, dag])
def test_an_output_layer_of_the_users_own(tmp_path, rng, container):
    """Its loss is code that is not in the file, and plays no part in a prediction."""
    end = m.custom(
        "weightedClassificationLayer", "out", ClassWeights=number(1, 2, 3),
        Classes=cell(NAMES),
    )  # fmt: skip
    end.classname = "weightedClassificationLayer"
    path = write(tmp_path / "net.mat", net=container(classifier(rng, end)))
    net = matlab.load(path)
    assert net.classes == NAMES
    assert "weightedClassificationLayer is your own" in net.origin.notices[0]
    end.properties["Classes"] = EMPTY
    net = matlab.load(write(tmp_path / "net.mat", net=container(classifier(rng, end))))
    assert net.classes == ()


def test_elsewhere_an_unknown_layer_is_no_output(tmp_path, rng):
    end = m.custom("myLayer", "out")
    end.classname = "myLayer"
    for container in (dlnetwork, layer_array):
        path = write(tmp_path / "net.mat", net=container(classifier(rng, end)))
        with pytest.raises(Unsupported, match="does not know the layer class myLayer"):
            matlab.load(path)
