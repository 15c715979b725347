"""The command line: the verbs of the library, one function each.

The only part that prints. It must start fast: nothing here imports jax before a verb
that needs it runs.
"""

from __future__ import annotations

import os
import sys
from functools import partial
from pathlib import Path
from typing import Any

import tyro

from ..config import read_config
from ..errors import InputError, JlstmError
from .comparing import diagnose, validate
from .evaluating import evaluate
from .forecasting import forecast
from .measuring import bench
from .options import REFUSED
from .showing import demo
from .training import finetune
from .using import convert, inspect, matlab_script, predict, stream

INTRODUCTION = """\
jlstm: trained recurrent networks of MATLAB, Keras, PyTorch, ONNX in JAX, with proof.

  jlstm demo                                           the whole job on a built-in net
  jlstm inspect net.mat                                what is in the file
  jlstm validate net.mat --input X --expected YPred    are the predictions equal?
  jlstm diagnose net.mat --input X --observed Y        why are they not?
  jlstm predict net.mat --input x.csv --output y.csv   its numbers for new data
  jlstm evaluate net.mat data/ --out predictions/      for a folder of files
  jlstm forecast net.mat --history x.csv --steps 96    and it goes on by itself
  jlstm finetune net.mat --data d.csv --out runs/pump  its training continued
  jlstm convert runs/pump net_tuned.mat                and back to MATLAB
  jlstm convert model.keras net.onnx                   from any format to any other
  jlstm bench net.mat --batch 64                       how fast, beside other libraries

Commands (jlstm COMMAND --help says more):
{commands}

Arrays are given as SOURCE: a file (data.csv, data.npy, data.npz:name,
data.mat:variable) or the name of a variable in the network's own MAT file.

Exit codes: 0 done, or the numbers agree; 1 they differ; 2 refused, with the reason on
standard error. After any command --debug shows the traceback of an error.
jlstm --version prints the version.
"""


COMMANDS = {
    "demo": demo,
    "inspect": inspect,
    "validate": validate,
    "diagnose": diagnose,
    "predict": predict,
    "evaluate": evaluate,
    "forecast": forecast,
    "finetune": finetune,
    "stream": stream,
    "convert": convert,
    "matlab-script": matlab_script,
    "bench": bench,
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
