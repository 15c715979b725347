"""Commands that look at a network, run it and write it."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Annotated

import tyro

from ..errors import InputError
from .options import (
    Engine,
    File,
    Flag,
    Layout,
    Name,
    Needed,
    Precision,
    Start,
    Target,
    Toml,
    load,
    print_json,
)  # fmt: skip


def inspect(
    file: Annotated[Path | None, tyro.conf.Positional] = None,
    /,
    *,
    variable: Name = None,
    layers: Toml = None,
    engines: Flag = False,
    json: Flag = False,
) -> int:
    """Show a network: layers, shapes, settings, parameters, state, class names.

    Examples: jlstm inspect net.mat --variable airCompNet
    jlstm inspect model.pth --layers net.toml
    jlstm inspect --engines

    Arrays alone do not tell what is computed with them. Weights extracted by hand and
    PyTorch state dicts need a TOML file that describes the layers in their order, each
    in a table of its own, headed [[layers]]: for a MAT file with lines such as
    type = "lstm", input_weights = "LSTM_W1", recurrent_weights = "LSTM_R1" and
    bias = "LSTM_b1", where the names are variables of the file; for a state dict
    type = "lstm", name = "encoder", output_mode = "last". Without it `inspect` lists
    the modules that it finds in a state dict as a description to put right.

    Args:
        file: a MAT file (v4 to v7.3), .keras, .h5, .pt, .pth, .onnx, .json (RTNeural)
            or .safetensors.
        variable: which network, where there are several: net, results.net, nets{2}; or
            which state dict of a checkpoint.
        layers: how arrays form a network, where the file does not tell.
        engines: show instead what can run recurrent layers on this machine and, with
            a file, what will run each of its layers, and why.
        json: print JSON for scripts.
    """
    from ..auditing import audit
    from ..inspection import engine_table, engine_words, layer_table, notices

    if file is None and not engines:
        raise InputError("no file", expected="jlstm inspect FILE, or --engines")
    net = None if file is None else load(file, variable, layers, quiet=True)
    if engines or net is None:
        if json:
            print_json(engine_table(net))
        else:
            print(engine_words(net))
        return 0
    if not json:
        print(net)
        return 0
    origin = net.origin._asdict() | {"details": dict(net.origin.details)}
    print_json(
        {
            "origin": origin,
            "precision": str(net.dtype),
            "inputs": list(net.inputs),
            "outputs": list(net.outputs),
            "classes": list(net.classes),
            "layers": layer_table(net),
            "notices": notices(net),
            "audit": audit(net).to_dict(),
        }
    )
    return 0


def predict(
    file: File,
    /,
    *,
    input: Needed,
    output: Target = None,
    variable: Name = None,
    layers: Toml = None,
    layout: Layout = "auto",
    state: Start = "initial",
    precision: Precision = "auto",
    engine: Engine = "auto",
) -> int:
    """Run a network over recorded sequences.

    Example: jlstm predict net.mat --input x.csv --output y.csv

    One sequence is printed as CSV, one line a time step, or written to --output;
    several sequences (a cell array) go to --output as .npz, one array each. A
    classifier gives its scores, one column a class.

    Args:
        file: the network.
        input: the sequence, or a cell array of sequences.
        output: .csv, .npy or .npz; printed as CSV without it.
        variable: which network, where there are several.
        layers: how arrays extracted by hand form a network.
        layout: orientation of the input, where both would fit the network.
        state: start from the initial state, or from the one the network was saved in.
        precision: arithmetic to compute in; auto is that of the network.
        engine: what runs recurrent layers; auto is the fastest that takes them, see
            jlstm inspect --engines.
    """
    import numpy as np

    from .. import arguments as given
    from ..formats.native import write_whole
    from ..network import predict as run

    net = load(file, variable, layers)
    sequences = given.inputs(net, input, file, layout)
    results = []
    with given.in_precision(net, precision) as net:
        begin = net.saved if state == "saved" else None
        for x in given.progress(sequences, "predicting"):
            y = run(net, x, state=begin, engine=engine)
            results.append(tuple(map(np.asarray, y if isinstance(y, tuple) else (y,))))
    suffix = ".csv" if output is None else output.suffix.lower()
    data = given.table(results, suffix, given.columns(net))
    if output is None:
        sys.stdout.write(data.decode())
    else:
        write_whole(output, data)
        print(f"{output}: {len(results)} sequence(s)", file=sys.stderr)
    return 0


def stream(
    file: File,
    /,
    *,
    variable: Name = None,
    layers: Toml = None,
    state: Start = "initial",
    precision: Precision = "auto",
) -> int:
    """Answer every CSV line on standard input with a line on standard output.

    One line is one time step; the state is kept between lines, as MATLAB's
    predictAndUpdateState keeps it when its network is assigned back. An empty line
    resets the state.

    Example: tail -f sensor.csv | jlstm stream net.mat

    Args:
        file: the network.
        variable: which network, where there are several.
        layers: how arrays extracted by hand form a network.
        state: start from the initial state, or from the one the network was saved in.
        precision: arithmetic to compute in; auto is that of the network.
    """
    import numpy as np

    from .. import arguments as given
    from ..stream import Stream

    net = load(file, variable, layers)
    with given.in_precision(net, precision) as net:
        running = Stream(net, state=net.saved if state == "saved" else None)
        for number, line in enumerate(sys.stdin, 1):
            if not line.strip():
                running.reset()
                continue
            if number == 1 and given.is_heading(line):
                continue
            try:
                parts = line.replace(";", ",").split(",")
                x = np.array([float(part) for part in parts])
            except ValueError:
                raise InputError(
                    "not a line of numbers",
                    place=f"line {number}",
                    found=line.strip()[:60],
                    expected="numbers separated by commas, one line a time step",
                ) from None
            try:
                y = running.step(x)
            except InputError as error:
                error.place = f"line {number}, {error.place}"
                raise
            print(given.line(y), flush=True)
    return 0


def convert(
    file: File,
    target: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="TARGET")],
    /,
    *,
    variable: Name = None,
    layers: Toml = None,
    state: Start | None = None,
    precision: Precision = "auto",
    json: Flag = False,
) -> int:
    """Write a network in another format, and prove that it is the same network.

    Examples: jlstm convert net.mat net.onnx
    jlstm convert model.keras model.mat
    jlstm convert runs/pump net_tuned.mat

    The extension of TARGET says what is written: .safetensors (native), .mat (arrays,
    and rebuild_<name>.m beside them), .onnx, .keras, .pt (a state dict, and
    <name>_module.py beside it), .json (RTNeural), .c (C99, and <name>.h beside it),
    .jaxexport (compiled, for programs without jlstm). Golden vectors go along, those of
    the source or, where it has none, some that jlstm computes. The written file is read
    back and compared bit for bit, and its golden vectors are computed by the program it
    is for, where that is installed. Only then it is put in place.

    Args:
        file: the network, or the folder of a fine-tuning run.
        target: the file to write.
        variable: which network, where there are several.
        layers: how arrays form a network, where the file does not tell.
        state: the one that the written network starts from, where the source was saved
            in another one than its initial state; without it the file keeps both, and
            a format without room for two is refused.
        precision: of the written network; auto is that of the source.
        json: print JSON for scripts.
    """
    from ..conversion import convert

    done = convert(
        file, target, variable=variable, layers=layers, state=state, precision=precision
    )  # fmt: skip
    if json:
        print_json(dataclasses.asdict(done))
    else:
        print(done)
    return 0


def matlab_script() -> int:
    """Print jlstm_export.m, to be run once in MATLAB.

    It writes any network as plain structs with golden vectors, for networks that jlstm
    does not read directly and as the strongest proof:
    jlstm matlab-script > jlstm_export.m, then in MATLAB
    jlstm_export(net, X, 'net_export.mat'), then jlstm validate net_export.mat
    """
    from importlib.resources import files

    sys.stdout.write((files("jlstm") / "data" / "jlstm_export.m").read_text("utf-8"))
    return 0
