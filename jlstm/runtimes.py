"""Other programs that run a written network: onnxruntime, Keras, torch, a C compiler.

Each runs in a process of its own, so that what it imports, prints or breaks stays
there; `_main` is what that process does.
"""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .errors import JlstmError

if TYPE_CHECKING:
    from .golden import Golden
    from .network import Network

SECONDS = 300
PACKAGE = Path(__file__).parent
START = """\
import importlib, sys
sys.path.append(sys.argv[1])
importlib.import_module(sys.argv[2])._main(*sys.argv[3:])
"""
"""What the process runs; the package may not be installed."""


class Runtime(NamedTuple):
    """A program that runs files of one kind.

    Arguments:
        name: what users call it.
        packages: what has to be installed for it.
        batch_axis: where its sequences have the axis of examples; those without time
            have it first.
        run: what the process does: from a path and one list of arrays a run, to one
            list of outputs a run, and the versions of what ran.
    """

    name: str
    packages: tuple[str, ...]
    batch_axis: int
    run: Callable[[str, list[list[np.ndarray]]], tuple[list[list[Any]], str]]


def rerun(
    path: Path, net: Network, records: Sequence[Golden]
) -> tuple[str, list[tuple[np.ndarray, ...]]] | None:
    """Run the inputs of golden vectors through the program that a file is for.

    Arguments:
        path: the file, of a suffix in `RUNTIMES`.
        net: the network in it, for the shapes of its inputs and outputs.
        records: the golden vectors.

    Returns:
        the program with its version, and its outputs for every record; None where it
        is not installed.

    Raises:
        JlstmError: the program cannot run the file; its last words are in the error.
    """
    runtime = RUNTIMES[path.suffix]
    if not all(find_spec(package) for package in runtime.packages):
        return None
    shapes = net.shapes
    axes = [runtime.batch_axis if shapes[name].time else 0 for name in net.inputs]
    arrays = {
        f"{run}/{k}": np.expand_dims(np.asarray(x), axis)
        for run, record in enumerate(records)
        for k, (x, axis) in enumerate(zip(record.inputs, axes, strict=True))
    }
    found = _in_its_own_process(path, runtime, arrays)
    axes = [runtime.batch_axis if shapes[ref].time else 0 for ref in net.outputs]
    outputs = [
        tuple(np.squeeze(found[f"{run}/{k}"], axis) for k, axis in enumerate(axes))
        for run in range(len(records))
    ]
    return str(found["version"]), outputs


def _in_its_own_process(
    path: Path, runtime: Runtime, arrays: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    with tempfile.TemporaryDirectory() as folder:
        given, answered = Path(folder, "inputs.npz"), Path(folder, "outputs.npz")
        np.savez(given, **arrays)  # pyright: ignore[reportArgumentType]
        # -P: modules that lie in the current folder are not imported.
        command = [sys.executable, "-P", "-c", START, str(PACKAGE.parent), __name__]
        command += [str(path), str(given), str(answered)]
        try:
            done = subprocess.run(
                command,
                capture_output=True,
                text=True,
                timeout=SECONDS,
            )
            words = done.stderr.strip().splitlines()[-1:] or [f"exit {done.returncode}"]
        except subprocess.TimeoutExpired:
            done, words = None, [f"no answer within {SECONDS} s"]
        if done is None or done.returncode or not answered.exists():
            raise JlstmError(
                f"{runtime.name} does not run the written file",
                file=path,
                found=words[0],
            )
        with np.load(answered) as found:
            return dict(found)


# --- what the processes do ------------------------------------------------------------

Runs = list[list[np.ndarray]]


def _onnxruntime(path: str, runs: Runs) -> tuple[list[list[Any]], str]:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [given.name for given in session.get_inputs()]
    answers = [
        list(session.run(None, dict(zip(names, inputs, strict=False))))
        for inputs in runs
    ]
    return answers, f"onnxruntime {onnxruntime.__version__}"


def _keras(path: str, runs: Runs) -> tuple[list[list[Any]], str]:
    # Keras takes TensorFlow unless it is told; jax is always there.
    os.environ.setdefault("KERAS_BACKEND", "jax")
    import keras

    model: Any = keras.saving.load_model(path, compile=False)
    answers = []
    for inputs in runs:
        y = model(inputs if len(inputs) > 1 else inputs[0], training=False)
        outputs = y if isinstance(y, list | tuple) else [y]
        answers.append([keras.ops.convert_to_numpy(array) for array in outputs])
    return answers, f"Keras {keras.__version__} on {keras.backend.backend()}"


def _torch(path: str, runs: Runs) -> tuple[list[list[Any]], str]:
    import torch

    # The module that was written beside the weights a moment ago.
    module = runpy.run_path(str(Path(path).with_suffix("")) + "_module.py")
    net, answers = module["load"](path), []
    for inputs in runs:
        given = [torch.from_numpy(x) for x in inputs]
        with torch.no_grad():
            y, _ = net(given if len(given) > 1 else given[0])
        outputs = y if isinstance(y, tuple) else (y,)
        answers.append([array.numpy() for array in outputs])
    return answers, f"torch {torch.__version__}"


def _jax(path: str, runs: Runs) -> tuple[list[list[Any]], str]:
    import jax

    from .formats import exported

    answers = []
    for inputs in runs:
        # No network is built: the program is all there is.
        with jax.enable_x64(any(x.dtype == np.float64 for x in inputs)):
            y = exported.run(path, inputs[0] if len(inputs) == 1 else tuple(inputs))
            many = y if isinstance(y, tuple) else (y,)
            answers.append([np.asarray(array) for array in many])
    return answers, f"jax {jax.__version__}"


RUNTIMES = {
    ".onnx": Runtime("onnxruntime", ("onnxruntime",), 1, _onnxruntime),
    ".keras": Runtime("Keras", ("keras", "jax"), 0, _keras),
    ".pt": Runtime("torch", ("torch",), 0, _torch),
    ".pth": Runtime("torch", ("torch",), 0, _torch),
    ".jaxexport": Runtime("jax", ("jax",), 0, _jax),
}
"""The programs, by the extension of what they run."""


def _main(path: str, given: str, answered: str) -> None:
    with np.load(given) as arrays:
        runs: dict[int, list[np.ndarray]] = {}
        for key in sorted(arrays, key=lambda key: [*map(int, key.split("/"))]):
            runs.setdefault(int(key.split("/")[0]), []).append(arrays[key])
    answers, version = RUNTIMES[Path(path).suffix].run(path, list(runs.values()))
    found = {
        f"{run}/{k}": np.asarray(array)
        for run, outputs in enumerate(answers)
        for k, array in enumerate(outputs)
    }
    np.savez(answered, version=version, **found)  # pyright: ignore[reportArgumentType]
