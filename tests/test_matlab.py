"""Networks in MAT files: finding them, choosing one, and what is said where none is."""

from __future__ import annotations

from typing import Any

import jax
import matlab_structs as m
import pytest
from agreement import assert_file_agrees
from matlab_files import (
    EMPTY,
    MatlabOpaqueArray,
    cell,
    dag,
    dlnetwork,
    flag,
    graph,
    layer_array,
    number,
    saved,
    series,
    string,
    struct_array,
    thing,
    write,
)

from jlstm import formats
from jlstm.errors import Ambiguous, DamagedFile, Unsupported
from jlstm.formats import matlab
from jlstm.formats.matfile import MatFile

C, H, K = 3, 5, 4


def trained(rng, units=H):
    return [
        m.sequence_input("in", C),
        m.lstm(rng, "lstm", C, units),
        m.dense(rng, "fc", units, K),
        m.regression("out"),
    ]


def untrained(rng):
    """The layers that go into training: sizes, but no arrays."""
    empty = m.learnable(EMPTY)
    nothing = {"Value": EMPTY, "Remember": EMPTY}
    return [
        m.sequence_input("in", C),
        m.lstm(
            rng, "lstm", C, H, InputWeights=empty, RecurrentWeights=empty, Bias=empty,
            CellState=nothing, HiddenState=nothing, InitialCellState=EMPTY,
            InitialHiddenState=EMPTY, InputSize=EMPTY,
        ),
        m.dense(rng, "fc", H, K, Weights=empty, Bias=empty),
        m.regression("out", ()),
    ]  # fmt: skip


def same(a, b) -> bool:
    """Same layers, same wires, same bits."""
    x, y = (jax.tree.leaves(net.layers) for net in (a, b))
    return (
        a.graph == b.graph
        and len(x) == len(y)
        and all(p.tobytes() == q.tobytes() for p, q in zip(x, y, strict=True))
    )


@pytest.fixture
def plain(tmp_path, rng):
    """Layers, and what is read of them as the only network of a file."""
    layers = trained(rng)
    net = assert_file_agrees(write(tmp_path / "plain.mat", net=series(layers)), rng)
    return layers, net


# --- containers -----------------------------------------------------------------------


CONTAINERS = {
    "SeriesNetwork": series,
    "DAGNetwork": dag,
    "nnet.cnn.LayerGraph": graph,
    "dlnetwork": dlnetwork,
    "dlnetwork 5": lambda layers: dlnetwork(layers, version=5),
    "layer array": layer_array,
    "cell": lambda layers: cell(layers),
}


@pytest.mark.parametrize("version", ["v7", "v7.3"])
@pytest.mark.parametrize("kind", CONTAINERS)
def test_every_container(tmp_path, plain, kind, version):
    layers, wanted = plain
    path = write(tmp_path / "net.mat", version, net=CONTAINERS[kind](layers))
    net = matlab.load(path)
    assert same(net, wanted)
    assert net.origin.kind == {"dlnetwork 5": "dlnetwork", "cell": "layer array"}.get(
        kind, kind
    )
    assert net.origin.variable == "net" and net.origin.format == "matlab"
    assert net.inputs == ("in",) and net.outputs == ("out",)


PLACES = {
    "results.net": lambda net: {"results": {"loss": number(1), "net": net}},
    "nets{2}": lambda net: {"nets": cell([number(1), net])},
    "run(2).net": lambda net: {
        "run": struct_array([{"net": EMPTY}, {"net": net}, {"net": string("x")}])
    },
    "folds{1}.best.net": lambda net: {
        "folds": cell([{"best": {"net": net, "x": number(1)}}])
    },
    "model.Network": lambda net: {"model": thing("my.Model", {"Network": net})},
    "t.data{2}{1}": lambda net: {
        "t": thing("table", {"data": cell([number(1), cell([net])], row=True)})
    },
}


@pytest.mark.parametrize("version", ["v7", "v7.3"])
@pytest.mark.parametrize("place", PLACES)
def test_places(tmp_path, plain, place, version):
    layers, wanted = plain
    variables = PLACES[place](series(layers))
    path = write(tmp_path / "net.mat", version, noise=number(1, 2), **variables)
    for choice in (None, place, place.partition(".")[0].partition("{")[0]):
        if choice is not None and "(" in choice and choice != place:
            continue
        net = matlab.load(path, choice)
        assert same(net, wanted) and net.origin.variable == place


def test_arrays_of_networks(tmp_path, rng):
    one, two = trained(rng), trained(rng, 7)
    nets = MatlabOpaqueArray(cell([series(one), series(two)]), "SeriesNetwork")
    path = write(tmp_path / "net.mat", nets=nets)
    with pytest.raises(Ambiguous) as caught:
        matlab.load(path)
    assert caught.value.found == "nets(1) (SeriesNetwork), nets(2) (SeriesNetwork)"
    assert matlab.load(path, "nets(2)").shapes["lstm"].channels == 7


def test_objects_that_cannot_be_decoded_stand_beside(tmp_path, plain):
    layers, wanted = plain
    path = write(
        tmp_path / "net.mat",
        info=thing("deep.TrainingInfo", None),
        net=series(layers),
        when=thing("datetime", {"data": number(1)}),
    )
    assert same(matlab.load(path), wanted)


def test_origin(tmp_path, plain):
    _, net = plain
    assert net.origin.file == "plain.mat" and net.origin.kind == "SeriesNetwork"
    assert net.origin.notices == ()
    assert "ImageSize" not in str(net.origin.ignored)


def test_layers_without_names_get_them_from_their_class(tmp_path, rng):
    layers = trained(rng)
    for layer in layers:
        layer.properties["any"]["Name"] = ""
    layers.insert(2, m.lstm(rng, "", H, H))
    path = write(tmp_path / "net.mat", layers=layer_array(layers))
    names = [node.name for node in matlab.load(path).graph]
    assert names == [
        "sequenceinput", "lstm", "lstm_1", "fullyconnected", "regressionoutput"
    ]  # fmt: skip


def test_names_of_objects_may_be_strings(tmp_path, plain):
    layers, wanted = plain
    for layer in layers:
        struct = layer.properties["any"]
        struct["Name"] = string(struct["Name"])
    assert same(matlab.load(write(tmp_path / "s.mat", net=series(layers))), wanted)


# --- choosing -------------------------------------------------------------------------


def test_several_networks_are_listed(tmp_path, rng):
    one, two = trained(rng), trained(rng, 7)
    path = write(
        tmp_path / "nets.mat",
        net=series(one),
        results={"best": dlnetwork(two), "all": cell([dag(one)])},
    )
    with pytest.raises(Ambiguous) as caught:
        matlab.load(path)
    error = caught.value
    assert error.file == str(path)
    assert error.found == (
        "net (SeriesNetwork), results.best (dlnetwork), results.all{1} (DAGNetwork)"
    )
    assert "variable='net'" in str(error.do)
    assert matlab.load(path, "results.best").shapes["lstm"].channels == 7
    assert matlab.load(path, "net").shapes["lstm"].channels == H
    assert matlab.load(path, "results.all").origin.variable == "results.all{1}"
    with pytest.raises(Ambiguous):
        matlab.load(path, "results")


@pytest.mark.parametrize("choice", ["results.be", "results.best.x", "results.nothing"])
def test_a_place_without_a_network_lists_those_there_are(tmp_path, rng, choice):
    path = write(tmp_path / "nets.mat", results={"best": series(trained(rng))})
    with pytest.raises(Unsupported, match=f"no network at '{choice}'") as caught:
        matlab.load(path, choice)
    assert caught.value.expected == "results.best (SeriesNetwork)"


def test_a_variable_that_is_not_there(tmp_path, rng):
    path = write(tmp_path / "nets.mat", net=series(trained(rng)), x=number(1))
    for choice in ("Net", "nope.net", ""):
        with pytest.raises(Unsupported, match="no variable") as caught:
            matlab.load(path, choice)
        assert caught.value.expected == "one of net, x"


def test_trained_networks_go_before_untrained_layers(tmp_path, rng, plain):
    layers, wanted = plain
    bare = untrained(rng)
    for variables in (
        {"layers": layer_array(bare), "net": series(layers)},
        {"net": series(layers), "lgraph": graph(bare)},
        {"net": series(layers), "net0": dlnetwork(bare)},
        # The layers of the network itself, trained as well.
        {"layers": layer_array(layers), "lgraph": graph(layers), "net": dag(layers)},
    ):
        net = matlab.load(write(tmp_path / "net.mat", **variables))
        assert same(net, wanted) and net.origin.variable == "net"


def test_trained_layers_go_before_an_untrained_network(tmp_path, rng, plain):
    layers, wanted = plain
    path = write(
        tmp_path / "net.mat", net=series(untrained(rng)), layers=layer_array(layers)
    )
    assert same(matlab.load(path), wanted)


@pytest.mark.parametrize("kind", CONTAINERS)
def test_untrained_layers_are_refused(tmp_path, rng, kind):
    path = write(tmp_path / "net.mat", net=CONTAINERS[kind](untrained(rng)))
    with pytest.raises(Unsupported, match="not trained: this array is empty") as caught:
        matlab.load(path)
    assert caught.value.file == str(path)
    assert caught.value.place == "net.Layers('lstm').InputWeights"
    assert "trainNetwork" in str(caught.value.do)


# --- nothing to read ------------------------------------------------------------------


def test_other_things_are_named(tmp_path):
    path = write(
        tmp_path / "x.mat",
        net=thing("network", {"numInputs": number(1)}),
        svm=thing("ClassificationSVM", {"Alpha": number(1)}),
        data=number(1, 2, 3),
        info=thing("my.Thing", {"x": number(1)}),
    )
    with pytest.raises(Unsupported, match="no trained network found") as caught:
        matlab.load(path)
    error = caught.value
    assert "net (a shallow network" in str(error.found)
    assert "svm (a support vector machine)" in str(error.found)
    assert "data" in str(error.found) and "info (my.Thing)" in str(error.found)
    assert "describe the layers" in str(error.do)


def test_many_variables_are_cut_short(tmp_path):
    names = {f"x{k}": number(k) for k in range(15)}
    with pytest.raises(Unsupported) as caught:
        matlab.load(write(tmp_path / "x.mat", **names))
    assert str(caught.value.found).endswith("x11 and 3 more")


def test_a_handle_to_nothing_is_no_network(tmp_path, plain):
    layers, wanted = plain
    lost = thing("SeriesNetwork", None)
    path = write(tmp_path / "x.mat", old=lost)
    with pytest.raises(Unsupported, match="no trained network found"):
        matlab.load(path)
    path = write(tmp_path / "x.mat", old=lost, net=series(layers))
    assert same(matlab.load(path), wanted)


# --- layouts --------------------------------------------------------------------------


@pytest.mark.parametrize("struct", [
    {"Version": number(1)},
    {"Version": number(1), "Layers": EMPTY},
    {"Version": number(1), "Layers": string("x")},
    {"Version": number(1), "Layers": cell([number(1)])},
], ids=["none", "empty", "text", "numbers"])  # fmt: skip
@pytest.mark.parametrize("kind", ["SeriesNetwork", "DAGNetwork", "dlnetwork"])
def test_unknown_layouts(tmp_path, kind, struct):
    path = write(tmp_path / "x.mat", net=saved(kind, struct))
    with pytest.raises(Unsupported, match="not laid out in a way") as caught:
        matlab.load(path)
    assert str(caught.value.place).startswith("net")
    assert "jlstm_export" in str(caught.value.do)


def test_a_graph_needs_its_wires(tmp_path, rng):
    struct = {"Version": number(1), "Layers": layer_array(trained(rng))}
    for wires in ({}, {"Connections": EMPTY}, {"Connections": string("x")}):
        path = write(tmp_path / "x.mat", net=saved("DAGNetwork", struct | wires))
        with pytest.raises(Unsupported, match="not laid out in a way"):
            matlab.load(path)


def test_wires_may_be_a_struct(tmp_path, plain):
    layers, wanted = plain
    names = ["in", "lstm", "fc", "out"]
    wires = {"Source": cell(names[:-1]), "Destination": cell(names[1:])}
    struct = {"Version": number(1), "Layers": layer_array(layers), "Connections": wires}
    path = write(tmp_path / "x.mat", net=saved("DAGNetwork", struct))
    assert same(matlab.load(path), wanted)


def with_field(name: str, value: Any) -> dict[str, Any]:
    return {name: value}


@pytest.mark.parametrize("field", ["Learnables", "State", "SomethingNew"])
def test_unknown_parts_of_a_network(tmp_path, rng, field):
    """What might hold parameters must not go unnoticed; what cannot is listed."""
    layers = trained(rng)
    for remark in (EMPTY, "text", number(1), flag(True)):
        path = write(
            tmp_path / "x.mat", net=dlnetwork(layers, **with_field(field, remark))
        )
        assert f"net.{field}" in matlab.load(path).origin.ignored
    path = write(
        tmp_path / "x.mat", net=dlnetwork(layers, **with_field(field, number(1, 2)))
    )
    with pytest.raises(Unsupported, match="unknown property") as caught:
        matlab.load(path)
    assert caught.value.place == f"net.{field}"


def test_a_quantised_network_is_refused(tmp_path, rng):
    path = write(tmp_path / "x.mat", net=dlnetwork(trained(rng), quantised=True))
    with pytest.raises(Unsupported, match="quantised") as caught:
        matlab.load(path)
    assert str(caught.value.place).startswith("net")


@pytest.mark.parametrize(("wires", "error", "words"), [
    ([("in", "lstm"), ("lstm", "nothing")], Unsupported, "not there"),
    ([("in", "lstm"), ("nothing", "fc")], Unsupported, "not there"),
    ([("in", "lstm"), ("lstm", "fc"), ("fc", "lstm/hidden")], Unsupported, "cycle"),
    ([("in", "lstm"), ("in", "lstm/in"), ("lstm", "fc"), ("fc", "out")], DamagedFile,
     "two connections"),
    ([("in", "lstm"), ("lstm/scores", "fc"), ("fc", "out")], Unsupported,
     "output that jlstm does not compute"),
    ([("in", "lstm/mask"), ("lstm", "fc"), ("fc", "out")], Unsupported,
     "input that jlstm does not know"),
    ([("lstm", "fc"), ("fc", "out")], Unsupported, "without an input"),
    ([("in", "lstm"), ("lstm", "fc"), ("fc/cell", "out")], Unsupported,
     "output that jlstm does not compute"),
], ids=["to nothing", "from nothing", "cycle", "twice", "scores", "mask", "dangling",
        "cell of a dense layer"])  # fmt: skip
def test_wires_that_cannot_be(tmp_path, rng, wires, error, words):
    layers = trained(rng)
    path = write(tmp_path / "x.mat", net=dag(layers, wires))
    with pytest.raises(error, match=words) as caught:
        matlab.load(path)
    assert caught.value.file == str(path)
    assert str(caught.value.place).startswith("net")


@pytest.mark.parametrize(("output", "error"), [
    ("nothing", DamagedFile), ("fc/hidden", Unsupported), ("lstm/indices", Unsupported),
])  # fmt: skip
def test_outputs_that_cannot_be(tmp_path, rng, output, error):
    path = write(tmp_path / "x.mat", net=dlnetwork(trained(rng), outputs=[output]))
    with pytest.raises(error, match="output"):
        matlab.load(path)


def test_a_leaky_rectifier_does_not_make_layers_trained(tmp_path, rng, plain):
    """Its Scale is a constant, that of a normalisation is learned."""
    layers, wanted = plain
    bare = untrained(rng)
    bare.insert(2, m.layer("LeakyReLULayer", "leaky", Scale=number(0.1)))
    path = write(tmp_path / "x.mat", a=layer_array(bare), b=layer_array(layers))
    assert same(matlab.load(path), wanted)


def test_candidates_lists_all(tmp_path, rng):
    layers = trained(rng)
    path = write(
        tmp_path / "x.mat", a=series(layers), b={"c": graph(layers)}, x=number(1)
    )
    found = matlab.candidates(MatFile(path))
    assert [(c.path, c.kind, c.rank) for c in found] == [
        ("a", "SeriesNetwork", 0), ("b.c", "nnet.cnn.LayerGraph", 1),
    ]  # fmt: skip


def test_formats_read_is_the_same(tmp_path, plain):
    _, wanted = plain
    net, golden = formats.read(tmp_path / "plain.mat", variable="net")
    assert same(net, wanted) and golden == []
