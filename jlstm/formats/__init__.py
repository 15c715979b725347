"""File formats: which one a file is in, how to read it, how to write it.

Every reader returns a `Network` and the golden vectors that the file carries. What a
file is, is decided by its first bytes and its members, not by its name; what is written
is decided by the extension.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import InputError, JlstmError, Unsupported
from ..golden import Golden
from ..network import Network
from ._gates import matlab_arrays as matlab_arrays


class Reader(NamedTuple):
    """A format that can be read: its name, its module, the arguments it has use for."""

    name: str
    module: str
    takes: tuple[str, ...] = ()


class Target(NamedTuple):
    """A format that can be written: its name, its module, who runs it, its reader.

    `readable` is False for what holds compiled code and no network; such a module
    proves its files itself, by `rerun`.
    """

    name: str
    module: str
    runtime: str = ""
    readable: bool = True


READERS = (
    Reader("native", "native"),
    Reader("ONNX", "onnx_read", ("layers",)),
    Reader("Keras", "keras", ("layers",)),
    Reader("compiled", "exported"),
    Reader("PyTorch", "pytorch", ("layers", "variable")),
    Reader("RTNeural", "rtneural", ("layers",)),
)
"""All but MATLAB's, to which every other file is given."""

TARGETS = {
    ".safetensors": Target("native", "native"),
    ".mat": Target("MATLAB", "matlab_save"),
    ".onnx": Target("ONNX", "onnx_save", "onnxruntime"),
    ".keras": Target("Keras", "keras_save", "Keras"),
    ".pt": Target("PyTorch", "pytorch", "torch"),
    ".pth": Target("PyTorch", "pytorch", "torch"),
    ".json": Target("RTNeural", "rtneural"),
    ".c": Target("C99", "c99", "a C compiler", readable=False),
    ".jaxexport": Target("compiled", "exported", "jax", readable=False),
}
"""The formats that are written, by extension."""


def read(
    path: str | Path, *, variable: str | None = None, layers: Any = None
) -> tuple[Network, list[Golden]]:
    """Read a network and its golden vectors.

    Arguments:
        path: a file of any of the formats, or the folder of a fine-tuning run, for the
            network that came out of it.
        variable: which of several networks in a MAT file, or state dicts in a
            checkpoint.
        layers: how arrays form a network, where the file does not tell: a TOML file or
            a list of layers (see `formats.arrays`, `docs/pytorch.md`).

    Raises:
        DamagedFile, Unsupported, Ambiguous, InputError: see the readers.
    """
    path = Path(path)
    if path.is_dir():
        path = _result_of(path)
    given = {
        name: value
        for name, value in (("variable", variable), ("layers", layers))
        if value is not None
    }
    for reader in READERS:
        module = _module(reader.module)
        if path.is_file() and module.recognises(path):
            for name in set(given) - set(reader.takes):
                raise Unsupported(
                    f"a {reader.name} file has no use for {name}", file=path
                )
            return module.load(path, **given)
    return _matlab(path, variable, layers)


def _matlab(
    path: Path, variable: str | None, layers: Any
) -> tuple[Network, list[Golden]]:
    from . import arrays, matlab, matlab_export, matlab_struct
    from .matfile import MatFile

    if layers is not None:
        if variable is not None:
            raise Unsupported("give either variable or layers, not both", file=path)
        net, golden = arrays.load(path, layers)
        return net, [] if golden is None else [golden]
    file = MatFile(path)
    with matlab.reading(file):
        chosen = matlab.choose(file, variable)
        net = matlab.build(chosen, file)
        golden = []
        if chosen.kind == matlab_export.KIND:
            golden = matlab_struct.golden(chosen.value, net)
    return net, golden


def _result_of(folder: Path) -> Path:
    """The file of the network that a fine-tuning run ended with."""
    if not (folder / "run.json").is_file():
        raise InputError(
            "a folder that is no fine-tuning run",
            file=folder,
            expected="a network, or a folder with run.json in it",
        )
    result = folder / "net.safetensors"
    if not result.is_file():
        raise InputError(
            "the run has not ended",
            file=folder,
            expected=f"{result.name} in it",
            do=f"jlstm finetune --resume {folder}",
        )
    return result


def save(
    net: Network,
    path: str | Path,
    golden: Golden | Sequence[Golden] | None = None,
) -> tuple[Path, ...]:
    """Write a network; the extension says in which format.

        .safetensors    the native format: every setting, every array bit for bit
        .mat            plain arrays for MATLAB, and rebuild_<stem>.m beside it, which
                        makes the network again
        .onnx           an ONNX graph of the recurrent operators
        .keras          a Keras 3 model
        .pt, .pth       a PyTorch state dict, and <stem>_module.py beside it
        .json           RTNeural
        .c              C99 without dependencies, and <stem>.h beside it
        .jaxexport      compiled by `jax.export`, for programs without this package

    Arguments:
        net: the network.
        path: where to.
        golden: what the original network computed, to be checked after loading: one
            record or several. Where none starts from the initial state, jlstm computes
            some; but a `.safetensors` file holds one, the first from the initial state,
            else the first, or none.

    Returns:
        the files that were written, the one at `path` first.

    Raises:
        Unsupported: an extension that jlstm does not write, or something in the network
            that the format cannot hold.
        InputError: the file cannot be written there.
    """
    path = Path(path)
    # A record is a tuple itself.
    records = [golden] if isinstance(golden, Golden) else [*(golden or ())]
    return _module(target(path).module).save(net, path, records)


def target(path: str | Path) -> Target:
    """The format that the extension of a file asks for.

    Raises:
        Unsupported: jlstm does not write such files.
    """
    path = Path(path)
    if path.suffix not in TARGETS:
        raise Unsupported(
            "jlstm does not write this format",
            file=path,
            found=path.suffix or "no extension",
            expected=", ".join(TARGETS),
        )
    return TARGETS[path.suffix]


def require_free(path: str | Path) -> None:
    """Refuse a place where `save` would replace what somebody else wrote.

    The file itself may be replaced, unless it is a MAT file of MATLAB; those that go
    beside it only where they are of jlstm.

    Raises:
        InputError: there is such a file.
        Unsupported: jlstm does not write such files.
    """
    check = getattr(_module(target(path).module), "require_free", None)
    try:
        if check is not None:
            check(Path(path))
    except JlstmError as error:
        raise error.within(file=path) from None


def carried(path: str | Path) -> list[Golden]:
    """The golden vectors in a file that jlstm writes and does not read as a network."""
    return _module(target(path).module).read(path).golden


def rerun(path: str | Path) -> tuple[str, float, float, int] | None:
    """Prove a file that jlstm writes and does not read, by what is in it.

    Returns:
        what ran it, the largest difference from its golden vectors as a share of the
        largest value, how large it may be, and how many vectors there are; None where
        the program is not installed.

    Raises:
        JlstmError: the file does not run, or computes something else.
    """
    return _module(target(path).module).rerun(path)


def _module(name: str) -> Any:
    return import_module(f".{name}", __name__)
