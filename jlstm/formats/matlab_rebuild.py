"""The MATLAB function that rebuilds a network from its arrays and proves it.

Every layer is one call of its constructor, with quoted name-value pairs, so that the
function runs in releases before R2021a, too. Numbers and words stand in the text;
arrays are read from the file. The functions that prove the network are the same in
every script: `data/rebuild_functions.m`.
"""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import Collection, Mapping
from importlib.metadata import version
from importlib.resources import files
from typing import NamedTuple

import numpy as np

from ..layers import Flatten
from ..network import Network
from .matlab_text import file_name, literal, plain, quoted
from .matlab_writers import Expression, Written, input_ports

MARK = "Written by jlstm"
"""In the second line of every script, and so no other file is overwritten."""
OLDEST = "R2019b"


class Rebuild(NamedTuple):
    """What the script is made of.

    Arguments:
        name: of the function.
        file: the name of the MAT file that lies beside it.
        net: the network.
        layers: what each layer is in MATLAB, in topological order.
        tolerance: how far, of the largest value, an output may be off.
        dropped: layers of the network that compute nothing and are left out.
    """

    name: str
    file: str
    net: Network
    layers: Mapping[str, Written]
    tolerance: float
    dropped: Collection[str] = ()


def script(r: Rebuild) -> str:
    """The text of the function."""
    trained = trained_ends(r)
    body = [
        *_beginning(r, trained is not None),
        *_graph(r),
        *_assembly(r, trained),
        *_proof(r),
    ]
    header = _header(r, trained is not None)
    lines = [f"function net = {r.name}(file, kind)", *header, *body, "end"]
    return "\n".join([*lines, *_functions(body)]) + "\n"


# --- names ----------------------------------------------------------------------------


class _Names:
    """How the script spells the names of layers, and of their ports.

    A name that is not plain ASCII is read from the file, whatever the encoding in which
    MATLAB reads the script.
    """

    def __init__(self, r: Rebuild):
        self._place = {name: k for k, name in enumerate(r.layers, 1)}
        self.ports = {
            name for name, w in r.layers.items() if w.settings.get("HasStateOutputs")
        }

    def spell(self, name: str, port: str = "") -> str:
        tail = f"/{port}" if port else ""
        if name not in self._place or plain(name) == name:
            return quoted(name + tail)
        stored = f"jlstm.layers{{{self._place[name]}}}.name"
        return f"[{stored} {quoted(tail)}]" if tail else stored

    def source(self, ref: str) -> str:
        """An output; the plain one has a name where there are others."""
        name, _, port = ref.partition("/")
        return self.spell(name, port or ("out" if name in self.ports else ""))


def _inputs(net: Network, name: str) -> tuple[str, ...]:
    return next(node.inputs for node in net.graph if node.name == name)


# --- the two kinds of network ---------------------------------------------------------


def outlet(r: Rebuild, ref: str) -> str:
    """An output of the network without the output layers, which only hand it on."""
    while ref in r.layers and r.layers[ref].is_output:
        (ref,) = _inputs(r.net, ref)
    return ref


def trained_ends(r: Rebuild) -> dict[str, str] | None:
    """For every output of the network the output layer that a DAGNetwork has there.

    None where assembleNetwork cannot make it: double precision, states that are wired,
    outputs that are no ends, classes that are not known, images over time.
    """
    used = {ref for node in r.net.graph for ref in node.inputs}
    ends = [node.name for node in r.net.graph if node.name not in used]
    wired = any("/" in ref for ref in (*used, *r.net.outputs))
    unknown = any(w.properties.get("Classes") == "auto" for w in r.layers.values())
    if wired or unknown or r.net.dtype != np.float32 or set(ends) != set(r.net.outputs):
        return None
    if _computes_on_films(r.net):
        return None
    found = {}
    for ref in r.net.outputs:
        found[ref] = ref if r.layers[ref].is_output else _unused(r, found.values())
    return found


def _computes_on_films(net: Network) -> bool:
    """Whether a layer takes images over time that only a dlnetwork gives it.

    A DAGNetwork has sequence folding layers around what computes on images, which
    jlstm does not write; without them it can only flatten.
    """
    taken = {
        ref
        for node in net.graph
        for ref in node.inputs
        if not isinstance(net.layers[node.name], Flatten)
    }
    shapes = [net.shapes[ref] for ref in (*taken, *net.outputs)]
    return any(shape.time and shape.space for shape in shapes)


def _unused(r: Rebuild, taken: Collection[str]) -> str:
    numbers = (f"output_{k}" for k in itertools.count(1))
    return next(n for n in numbers if n not in r.layers and n not in taken)


def _header(r: Rebuild, trained: bool) -> list[str]:
    newest = max(w.since for w in (*r.layers.values(), Written("", "", OLDEST)))
    calls = {w.call: w.since for w in r.layers.values()}
    listed = ", ".join(f"{call} ({since})" for call, since in sorted(calls.items()))
    toolboxes = {
        "wordEmbeddingLayer": "the Text Analytics Toolbox",
        "softplusLayer": "in older releases the Reinforcement Learning Toolbox",
        "scalingLayer": "in older releases the Reinforcement Learning Toolbox",
    }
    extra = sorted({toolboxes[call] for call in calls if call in toolboxes})
    also = "".join(f", {one}" for one in extra)
    words = [
        f"{r.name.upper()}  Rebuild a network from its arrays and prove it.",
        f"{MARK} {version('jlstm')}, together with {plain(r.file)}.",
        "",
        f"net = {r.name}()             with {plain(r.file)} beside this file",
        f"net = {r.name}(file)         with another file of this network",
        *(_kinds(r) if trained else ["This network can be a dlnetwork only."]),
        "",
        "One sequence is C x T: time runs along the columns. The arrays are those that",
        "MATLAB shows: 4H x C, 4H x H, 4H x 1, rows input, forget, cell, output; 3H,",
        "rows reset, update, candidate in a GRU; forward above backward in a BiLSTM.",
        f"The arrays are {_precision(r)}. The network starts from its initial state.",
        "",
        f"Needs MATLAB {newest} or later, the Deep Learning Toolbox{also}.",
        f"A dlnetwork needs at least R2020a. Layers: {listed}.",
        "",
        *_left_out(r),
        *_classes(r),
        "Then the recorded inputs of the file go through the rebuilt network, and its",
        f"answers must be the recorded ones to {r.tolerance:g} of the largest value.",
        "",
        "What is unproven: the statements follow MATLAB's reference pages and have "
        "been run under GNU Octave, on stand-ins for the toolbox. The check at the end "
        "is what proves the network here.",
    ]
    return [f"%{word}" if k == 0 else f"%   {word}".rstrip() for k, word in
            enumerate(_wrapped(words))]  # fmt: skip


def _kinds(r: Rebuild) -> list[str]:
    return [
        f"net = {r.name}(file, kind)   kind: 'dlnetwork', or 'trained' for the",
        "    DAGNetwork that assembleNetwork makes. Without it a dlnetwork in releases",
        "    that have trainnet (R2023b), a DAGNetwork before.",
    ]


def _left_out(r: Rebuild) -> list[str]:
    if not r.dropped:
        return []
    names = ", ".join(map(plain, r.dropped))
    return [f"Layers that compute nothing are left out: {names}.", ""]


def _classes(r: Rebuild) -> list[str]:
    """Where the class names are, which the layers of a dlnetwork do not hold."""
    places = [
        f"jlstm.layers{{{k}}}.properties.Classes"
        for k, written in enumerate(r.layers.values(), 1)
        if "Classes" in written.arrays
    ]
    if not places:
        return []
    return [
        "A dlnetwork has no class names. They are in the file, for scores2label "
        f"(R2024a): {', '.join(places)}.",
        "",
    ]


def _wrapped(words: list[str]) -> list[str]:
    lines = []
    for word in words:
        indent = " " * (len(word) - len(word.lstrip()))
        lines += textwrap.wrap(word, 84, subsequent_indent=indent) or [""]
    return lines


def _beginning(r: Rebuild, trained: bool) -> list[str]:
    stored = file_name(r.file)
    lines = [
        "    if nargin < 1 || isempty(file)",
        f"        file = fullfile(fileparts(mfilename('fullpath')), {stored});",
        "    end",
    ]
    if trained:
        lines += [
            "    if nargin < 2",
            "        kind = 'trained';",
            "        if exist('trainnet', 'file'), kind = 'dlnetwork'; end",
            "    end",
            "    if ~any(strcmp(kind, {'dlnetwork', 'trained'}))",
            f"        error('jlstm:rebuild:kind', '{r.name}: kind is ''dlnetwork'' or "
            "''trained''.');",
            "    end",
        ]
    else:
        lines += [
            "    if nargin > 1 && ~strcmp(kind, 'dlnetwork')",
            f"        error('jlstm:rebuild:kind', '{r.name}: this network can be a "
            "dlnetwork only.');",
            "    end",
            "    kind = 'dlnetwork';",
        ]
    return [*lines, "    loaded = load(file);", "    jlstm = loaded.jlstm;", ""]


# --- layers and connections -----------------------------------------------------------


def _graph(r: Rebuild) -> list[str]:
    names = _Names(r)
    lines = ["    graph = layerGraph();"]
    for name, written in r.layers.items():
        if not written.is_output:
            lines += ["", f"    % {plain(name)}"]
            lines += _indented(_layer(r, names, name), 4)
    lines.append("")
    for node in r.net.graph:
        if r.layers[node.name].is_output:
            continue
        for ref, port in zip(node.inputs, input_ports(r.net, node.name), strict=True):
            ends = f"{names.source(ref)}, {names.spell(node.name, port)}"
            lines.append(f"    graph = connectLayers(graph, {ends});")
    return lines


def _layer(r: Rebuild, names: _Names, name: str) -> list[str]:
    """The statements that add one layer."""
    written, k = r.layers[name], list(r.layers).index(name) + 1
    lines = []
    pairs = [("Name", names.spell(name))]
    pairs += [(word, literal(value)) for word, value in written.settings.items()]
    pairs += [(word, literal(value)) for word, value in written.options.items()]
    stored = [*written.parameters, *written.arrays]
    if stored or any("p." in value for _, value in pairs):
        lines.append(f"p = jlstm.layers{{{k}}}.properties;")
    pairs += [(word, f"p.{word}") for word in stored]
    if _has_start(written):
        lines.append(f"start = jlstm.layers{{{k}}}.initial_state;")
        pairs += [(word, f"start.{word}") for word in written.initial]
    by_path = {entry.path: entry for entry in r.net.factors}
    factors = written.factors(by_path, f".layers[{name!r}]")
    for word, value in factors.items():
        usual = 0.0 if word.endswith("BiasL2Factor") else 1.0
        if value != usual:
            pairs.append((word, literal(value)))
    given = [literal(argument) for argument in written.arguments]
    words = [
        f"{word if isinstance(word, Expression) else quoted(word)}, {value}"
        for word, value in pairs
    ]
    first = ", ".join([*given, words[0]])
    call = [f"graph = addLayers(graph, {written.call}({first}", *words[1:]]
    lines += [
        ("    " if n else "") + text + (", ..." if n < len(call) - 1 else "));")
        for n, text in enumerate(call)
    ]
    return lines


def _has_start(written: Written) -> bool:
    """Whether the layer starts from something else than zero, which is the default."""
    wired = written.settings.get("HasStateInputs")
    return not wired and any(np.any(array != 0) for array in written.initial.values())


# --- the network and its proof --------------------------------------------------------


def _assembly(r: Rebuild, trained: dict[str, str] | None) -> list[str]:
    names = _Names(r)
    order = [outlet(r, ref) for ref in r.net.outputs]
    inner = [node for node in r.net.graph if not r.layers[node.name].is_output]
    used = {ref for node in inner for ref in node.inputs}
    ends = [node.name for node in inner if node.name not in used]
    chosen = "" if ends == order and not names.ports else ", 'OutputNames', outputs"
    dlnetwork = [
        f"outputs = {{{', '.join(map(names.source, order))}}};",
        f"net = dlnetwork(graph{chosen});",
    ]
    if r.net.dtype == np.float64:
        dlnetwork.append("net = in_double(net, jlstm);")
    if trained is None:
        return ["", *_indented(dlnetwork, 4)]
    return [
        "",
        "    if strcmp(kind, 'dlnetwork')",
        *_indented(dlnetwork, 8),
        "    else",
        *_indented(_ends(r, names, trained), 8),
        "        net = assembleNetwork(graph);",
        "    end",
    ]


def _ends(r: Rebuild, names: _Names, trained: dict[str, str]) -> list[str]:
    """The output layers; a network without one puts out numbers."""
    lines = []
    for ref, name in trained.items():
        if ref == name:
            lines += _layer(r, names, name)
        else:
            layer = f"regressionLayer('Name', {quoted(name)})"
            lines.append(f"graph = addLayers(graph, {layer});")
        ends = f"{names.source(outlet(r, ref))}, {names.spell(name)}"
        lines.append(f"graph = connectLayers(graph, {ends});")
    return [*lines, f"outputs = {{{', '.join(map(names.spell, trained.values()))}}};"]


def _indented(lines: list[str], by: int) -> list[str]:
    return [" " * by + line for line in lines]


def _labels(net: Network, name: str) -> str:
    """The axes of an input, as dlarray calls them."""
    shape = net.shapes[name]
    return "S" * len(shape.space) + ("CBT" if shape.time else "CB")


def _proof(r: Rebuild) -> list[str]:
    names = _Names(r)
    inputs = ", ".join(map(names.spell, r.net.inputs))
    axes = ", ".join(quoted(_labels(r.net, name)) for name in r.net.inputs)
    return [
        "",
        f"    wired = struct('inputs', {{{{{inputs}}}}}, 'axes', {{{{{axes}}}}}, ...",
        "        'outputs', {outputs});",
        f"    prove(net, kind, jlstm, wired, '{_precision(r)}', {r.tolerance!r});",
    ]


def _precision(r: Rebuild) -> str:
    return "double" if r.net.dtype == np.float64 else "single"


def _functions(body: list[str]) -> list[str]:
    """The local functions that the script calls; two of them only where it does."""
    text = (files("jlstm") / "data" / "rebuild_functions.m").read_text("utf-8")
    found = []
    for function in text.split("\n\n"):
        name = function.partition("(")[0].split()[-1]
        optional = name in ("in_double", "offset_word")
        if not optional or any(f"{name}(" in line for line in body):
            found += ["", *function.rstrip().splitlines()]
    return found
