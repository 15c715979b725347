"""The command line: the verbs of the library, one function each.

The only module that prints. It must start fast: nothing here imports jax before a verb
that needs it runs.
"""

from __future__ import annotations

import json as json_module
import os
import sys
import textwrap
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from .config import FineTuneConfig, read_config
from .errors import InputError, JlstmError

if TYPE_CHECKING:
    from .network import Network

File = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FILE")]
Name = Annotated[str | None, tyro.conf.arg(metavar="NAME")]
Number = Annotated[float | None, tyro.conf.arg(metavar="NUMBER")]
Toml = Annotated[Path | None, tyro.conf.arg(metavar="TOML")]
Source = Annotated[str | None, tyro.conf.arg(metavar="SOURCE")]
Needed = Annotated[str, tyro.conf.arg(metavar="SOURCE")]
Pairs = Annotated[tuple[str, ...], tyro.conf.arg(metavar="LAYER=SOURCE")]
Folder = Annotated[Path | None, tyro.conf.arg(metavar="FOLDER")]
Target = Annotated[Path | None, tyro.conf.arg(metavar="PATH")]
Flag = Annotated[bool, tyro.conf.FlagCreatePairsOff]
Layout = Literal["auto", "time-features", "features-time"]
Precision = Literal["auto", "single", "double"]
Start = Literal["initial", "saved"]

DEFAULTS = FineTuneConfig()
DISAGREES, REFUSED = 1, 2
"""Exit codes: the numbers differ; something was refused, with the reason on stderr."""

INTRODUCTION = """\
jlstm: trained recurrent networks out of MATLAB into JAX, with proof.

  jlstm demo                                           the whole job on a built-in net
  jlstm inspect net.mat                                what is in the file
  jlstm validate net.mat --input X --expected YPred    are the predictions equal?
  jlstm diagnose net.mat --input X --observed Y        why are they not?
  jlstm predict net.mat --input x.csv --output y.csv   its numbers for new data

Commands (jlstm COMMAND --help says more):
{commands}

Arrays are given as SOURCE: a file (data.csv, data.npy, data.npz:name,
data.mat:variable) or the name of a variable in the network's own MAT file.

Exit codes: 0 done, or the numbers agree; 1 they differ; 2 refused, with the reason on
standard error. After any command --debug shows the traceback of an error.
jlstm --version prints the version.
"""


def inspect(
    file: File,
    /,
    *,
    variable: Name = None,
    layers: Toml = None,
    json: Flag = False,
) -> int:
    """Show a network: layers, shapes, settings, parameters, state, class names.

    Example: jlstm inspect net.mat --variable airCompNet

    Weights extracted by hand need a TOML file that describes the layers in their order.
    Each has a table of its own, headed [[layers]], with lines such as
    type = "lstm", input_weights = "LSTM_W1", recurrent_weights = "LSTM_R1" and
    bias = "LSTM_b1", or type = "fully connected", weights = "FC_Weights" and
    bias = "FC_Bias". The names are variables of the MAT file.

    Args:
        file: a MAT file (v4 to v7.3) or a native .safetensors file.
        variable: which network, where there are several: net, results.net, nets{2}.
        layers: how arrays extracted by hand form a network.
        json: print JSON for scripts.
    """
    from .auditing import audit
    from .inspection import layer_table, notices

    net = _load(file, variable, layers, quiet=True)
    if not json:
        print(net)
        return 0
    origin = net.origin._asdict() | {"details": dict(net.origin.details)}
    _print_json(
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
    """
    import numpy as np

    from . import arguments as given
    from .formats.native import write_whole
    from .network import predict as run

    net = _load(file, variable, layers)
    sequences = given.inputs(net, input, file, layout)
    results = []
    with given.in_precision(net, precision) as net:
        begin = net.saved if state == "saved" else None
        for x in given.progress(sequences, "predicting"):
            y = run(net, x, state=begin)
            results.append(tuple(map(np.asarray, y if isinstance(y, tuple) else (y,))))
    suffix = ".csv" if output is None else output.suffix.lower()
    data = given.table(results, suffix, given.columns(net))
    if output is None:
        sys.stdout.write(data.decode())
    else:
        write_whole(output, data)
        print(f"{output}: {len(results)} sequence(s)", file=sys.stderr)
    return 0


def validate(
    file: File,
    /,
    *,
    input: Source = None,
    expected: Source = None,
    scale: Source = None,
    offset: Source = None,
    variable: Name = None,
    layers: Toml = None,
    layout: Layout = "auto",
    state: Start = "initial",
    precision: Precision = "auto",
    tolerance: Number = None,
    plot: Target = None,
    json: Flag = False,
) -> int:
    """Compare a network with recorded predictions: exit code 0 if they agree, else 1.

    Example: jlstm validate net.mat --input X --expected YPred

    Without --input and --expected, the golden vectors in the file itself are used:
    files of jlstm_export.m have them, and native files made from those. Class labels
    can be compared too, but they are weak proof: wrong networks keep most labels.

    Args:
        file: the network.
        input: what went in: a sequence, or a cell array of sequences.
        expected: what the original returned for it: scores, or class labels.
        scale: a factor that the recorded numbers contain, a number or a variable
            where outputs were standardised: expected = prediction * scale + offset.
        offset: likewise, a number or a variable.
        variable: which network, where there are several.
        layers: how arrays extracted by hand form a network.
        layout: orientation of both arrays, where both would fit the network.
        state: start from the initial state, or from the one the network was saved in.
        precision: arithmetic to compute in; auto is that of the network.
        tolerance: largest absolute difference to accept; by default it follows from the
            precision and the length of the sequence.
        plot: write a picture of both outputs and their difference (needs jlstm[plot]).
        json: print JSON for scripts.
    """
    from . import arguments as given
    from . import formats
    from .validation import self_test
    from .validation import validate as compare

    if (input is None) != (expected is None):
        raise InputError(
            "one of --input and --expected is missing",
            do="give both, or neither for a file with golden vectors",
        )
    if input is not None and expected is not None:
        net = _load(file, variable, layers)
        xs = given.inputs(net, input, file, layout)
        ys = given.expected(net, xs, expected, file, layout, scale, offset)
        begin = net.saved if state == "saved" else None
        many = len(xs) > 1
        result = compare(
            net,
            xs if many else xs[0],
            ys if many else ys[0],
            state=begin,
            precision=None if precision == "auto" else precision,
            tolerance=tolerance,
        )
        verdicts = [result]
    else:
        net, golden = formats.read(file, variable=variable, layers=layers)
        if not golden:
            raise InputError(
                "the file carries no golden vectors",
                file=file,
                expected="--input and --expected, or a file made by jlstm_export.m",
            )
        verdicts = [self_test(net, record) for record in golden]
    if plot is not None:
        from .plots import comparison

        first = verdicts[0]
        if not first.predicted:
            raise InputError("labels cannot be drawn", do="leave --plot out")
        comparison(
            plot,
            first.predicted[0],
            first.recorded[0],
            tolerance=first.tolerance,
            title=f"{file.name}: {first.verdict}",
        )
    if json:
        found = [verdict.to_dict() for verdict in verdicts]
        _print_json(found[0] if len(found) == 1 else found)
    else:
        print("\n\n".join(str(verdict) for verdict in verdicts))
        if hint := given.scaling(verdicts[0]):
            print(hint)
    return 0 if all(verdict.ok for verdict in verdicts) else DISAGREES


def diagnose(
    file: File,
    /,
    *,
    input: Needed,
    observed: Needed,
    layer_output: Pairs = (),
    variable: Name = None,
    layers: Toml = None,
    layout: Layout = "auto",
    max_mistakes: Literal[1, 2] = 2,
    plot: Target = None,
    json: Flag = False,
) -> int:
    """Say why numbers differ from a network: which mistake on it produces them.

    Example: jlstm diagnose net.mat --input X --observed Y_formula

    The observed numbers may come from a hand-written formula, from a converter, from
    another framework. Every mistake of a catalogue is made in turn, then every two of
    them together, until one gives the same numbers. Outputs of layers narrow it down:
    --layer-output lstm_1=H1 lstm_2=H2. Exit code 0 if the numbers agree with the
    network after all, else 1.

    Args:
        file: the network.
        input: what went in: a sequence, or a cell array of sequences.
        observed: the numbers that disagree: scores, not labels.
        layer_output: observed outputs of layers, LAYER=SOURCE, as many as there are.
        variable: which network, where there are several.
        layers: how arrays extracted by hand form a network.
        layout: orientation of the arrays, where both would fit the network.
        max_mistakes: 2 also looks for two mistakes at once, which takes longer.
        plot: write a picture of the network's output and of the observed numbers
            (needs jlstm[plot]).
        json: print JSON for scripts.
    """
    from . import arguments as given
    from .diagnosis import diagnose as search

    net = _load(file, variable, layers)
    xs = given.inputs(net, input, file, layout)
    ys = given.expected(net, xs, observed, file, layout, what="--observed")
    inner = given.layer_outputs(net, xs, layer_output, file, layout)
    many = len(xs) > 1
    with given.progress_bar() as progress:
        found = search(
            net,
            xs if many else xs[0],
            ys if many else ys[0],
            layers=(inner if many else inner[0]) if layer_output else None,
            max_mistakes=max_mistakes,
            progress=progress,
        )
    if plot is not None:
        import numpy as np

        from .network import predict as run
        from .plots import comparison

        if isinstance(ys[0], tuple) or getattr(ys[0], "dtype", None) is None:
            raise InputError("only one output of numbers can be drawn")
        y = np.asarray(run(net, xs[0]))
        explained = {}
        if found.findings and len(found.findings[0].outputs[0]) == len(y):
            explained["with the mistake"] = found.findings[0].outputs[0]
        comparison(
            plot, y, ys[0], recorded="observed", others=explained,
            title=textwrap.shorten(f"{file.name}: {found.summary}", 110),
        )  # fmt: skip
    if json:
        _print_json(found.to_dict())
    else:
        print(found)
    return 0 if found.verdict in ("agree", "precision") else DISAGREES


def finetune(
    file: Annotated[
        Path | None, tyro.conf.Positional, tyro.conf.arg(metavar="FILE")
    ] = None,
    /,
    *,
    data: Source = None,
    config: Toml = None,
    out: Folder = None,
    resume: Folder = None,
    variable: Name = None,
    layers: Toml = None,
    precision: Precision = "auto",
    json: Flag = False,
    options: Annotated[FineTuneConfig, tyro.conf.arg(name="")] = DEFAULTS,
) -> int:
    """Continue the training of a network on new recordings.

    Examples: jlstm finetune net.mat --data train.csv --out runs/pump
    jlstm finetune net.mat --data train.csv --config quick.toml --max-epochs 5
    jlstm finetune --resume runs/pump

    Part of the data is kept aside and decides which network is best; the imported one
    is among them. Flags go before the configuration file, that before the defaults.
    With --out there is a checkpoint after every epoch: a run that was killed is
    resumed and ends with the same weights, bit for bit.

    Args:
        file: the network.
        data: recordings: .csv, .mat, .npz, .parquet, .nc, or a folder of them.
        config: a TOML file with any of the options below.
        out: a new folder for configuration, log, checkpoint and networks.
        resume: the folder of a run to go on with.
        variable: which network, where there are several.
        layers: how arrays extracted by hand form a network.
        precision: arithmetic to train in; auto is that of the network.
        json: print JSON for scripts.
        options: how to train.
    """
    from . import arguments as given
    from . import runs
    from .finetuning import finetune as train

    asked: dict[str, Any] = dict(
        file=file, variable=variable, layers=layers, data=data, precision=precision
    )
    if resume is not None:
        more = (*asked.values(), out, config)
        if any(v not in (None, "auto") for v in more) or options != DEFAULTS:
            raise InputError(
                "--resume takes everything from the folder",
                found="more options",
                do=f"for a longer run change max_epochs in {resume / 'config.toml'}",
            )
        asked, options = runs.resumed(resume)
    elif file is None or data is None:
        raise InputError(
            "what is to be trained, and on what?",
            expected="FILE and --data, or --resume FOLDER",
        )
    elif out is not None:
        runs.require_new(out)
    net = _load(Path(str(asked["file"])), asked["variable"], asked["layers"])
    folder = resume or out
    with (
        given.in_precision(net, asked["precision"]) as net,  # pyright: ignore
        given.progress_bar() as progress,
    ):

        def after(now: Any) -> None:
            if progress is not None:
                progress(runs.headline(now), now.epoch, options.max_epochs)
            if out is not None and not (out / "run.json").exists():
                runs.begin(out, options, **asked)
            if folder is not None:
                runs.log(folder, now)

        found = train(
            net, asked["data"], options, out=folder, beside=asked["file"],
            callback=after,
        )  # fmt: skip
    if folder is not None:
        runs.finish(folder, found)
    if json:
        _print_json(runs.finite(found.to_dict()))
    else:
        print(found)
        if folder is not None:
            print(f"{folder / 'net.safetensors'}: the network")
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

    from . import arguments as given
    from .stream import Stream

    net = _load(file, variable, layers)
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
) -> int:
    """Write a network in the native format, every weight bit for bit.

    Example: jlstm convert net.mat net.safetensors

    The target is a .safetensors file: arrays under their key paths, the structure as
    JSON, a checksum. Golden vectors of the source come along.

    Args:
        file: the network.
        target: the file to write, net.safetensors.
        variable: which network, where there are several.
        layers: how arrays extracted by hand form a network.
    """
    import jax
    import numpy as np

    from . import formats

    net, golden = formats.read(file, variable=variable, layers=layers)
    formats.save(net, target, golden[0] if golden else None)
    again, _ = formats.read(target)
    pairs = zip(jax.tree.leaves(net), jax.tree.leaves(again), strict=True)
    same = all(np.asarray(a).tobytes() == np.asarray(b).tobytes() for a, b in pairs)
    if not same:
        raise JlstmError("the written file reads back differently", file=target)
    print(f"{target}: read back, every array equal bit for bit")
    return 0


def demo(*, plot: Target = None, json: Flag = False) -> int:
    """Show the whole job on a built-in network: load, prove, stream, differentiate.

    Args:
        plot: write a picture of the network's output, the recorded output and the
            formula that goes wrong (needs jlstm[plot]).
        json: print the figures as JSON for scripts.
    """
    from . import demo as demonstration

    figures = {}
    for section in demonstration.sections():
        figures[section.title] = section.figures
        if not json:
            print(f"{_bold('== ' + section.title)}\n{section.text}\n")
    if json:
        _print_json(figures)
    else:
        print(f"{_bold('== where to go next')}\n{demonstration.NEXT}")
    if plot is not None:
        demonstration.picture(plot)
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


COMMANDS = {
    "demo": demo,
    "inspect": inspect,
    "validate": validate,
    "diagnose": diagnose,
    "predict": predict,
    "finetune": finetune,
    "stream": stream,
    "convert": convert,
    "matlab-script": matlab_script,
}


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in arguments
    arguments = [a for a in arguments if a != "--debug"]
    name, *rest = arguments or ["--help"]
    if name in ("--help", "-h", "help"):
        print(_help(), end="")
        return 0
    if name == "--version":
        from importlib.metadata import version

        print(f"jlstm {version('jlstm')}")
        return 0
    try:
        if name not in COMMANDS:
            raise InputError(
                "no such command", found=name, expected=", ".join(COMMANDS)
            )
        return _run(name, rest)
    except BrokenPipeError:
        # Whoever read the output has gone; Python would complain once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        if debug:
            raise
        print(_complaint(error), file=sys.stderr)
        return REFUSED


def _run(name: str, arguments: list[str]) -> int:
    command: Any = COMMANDS[name]
    if name == "finetune" and (config := _value(arguments, "--config")):
        command = partial(command, options=read_config(Path(config)))
    return tyro.cli(command, args=arguments, prog=f"jlstm {name}")


def _value(arguments: list[str], flag: str) -> str | None:
    """What follows a flag."""
    for k, argument in enumerate(arguments):
        if argument == flag and k + 1 < len(arguments):
            return arguments[k + 1]
        if argument.startswith(f"{flag}="):
            return argument.partition("=")[2]
    return None


def _help() -> str:
    lines = [
        f"  {name:<15}{(function.__doc__ or '').partition(chr(10))[0]}"
        for name, function in COMMANDS.items()
    ]
    return INTRODUCTION.format(commands="\n".join(lines))


def _complaint(error: Exception) -> str:
    if isinstance(error, JlstmError):
        return f"jlstm: {error}"
    kind = type(error).__name__
    return (
        f"jlstm: unexpected {kind}: {error}\n  do:       run it again with --debug and "
        "report the traceback"
    )


def _load(
    file: Path, variable: str | None, layers: Path | None, quiet: bool = False
) -> Network:
    """The network; what a user should know about it goes to standard error."""
    from . import formats
    from .inspection import saved_state

    net = formats.read(file, variable=variable, layers=layers)[0]
    for notice in () if quiet else (*net.origin.notices, *saved_state(net)):
        print(f"jlstm: note: {notice}", file=sys.stderr)
    return net


def _print_json(value: Any) -> None:
    print(json_module.dumps(value, indent=2, allow_nan=False, default=str))


def _bold(text: str) -> str:
    return f"\033[1m{text}\033[0m" if sys.stdout.isatty() else text
