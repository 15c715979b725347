"""Networks of PyTorch: state dicts, checkpoints, saved modules, and files of jlstm.

A state dict names tensors by their modules; the rest, the order of the modules and what
lies between them, is told by a description (`layers`), by the module itself where it
was saved whole and is a plain series, or by jlstm where it wrote the file. A program of
torch.export tells everything. Nothing is guessed, and every tensor is used or it is an
error.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import Unsupported
from ..golden import Golden
from ..network import Network, Origin
from . import pytorch_own, pytorch_safetensors, pytorch_state, torchfile
from .pytorch_assembly import network

KINDS = {
    "zip": "state dict",
    "legacy": "state dict, of torch before 1.6",
    "script": "TorchScript",
}


def recognises(path: str | Path) -> bool:
    """Whether a file begins like one of PyTorch; nothing else is checked."""
    return torchfile.recognises(path) or pytorch_safetensors.recognises(path)


def load(
    path: str | Path, layers: Any = None, variable: str | None = None
) -> tuple[Network, list[Golden]]:
    """Read a network of PyTorch, and the golden vectors where jlstm wrote the file.

    Arguments:
        path: the file.
        layers: what a state dict does not tell: a TOML file, a dict, or a list of
            layers (see docs/pytorch.md).
        variable: which of several state dicts of a checkpoint, "model" or "nets.rnn".

    Raises:
        Ambiguous: the file does not tell what is computed; with a description to edit.
        DamagedFile, Unsupported, InputError: naming what is wrong, and where.
    """
    path = Path(path)
    with torchfile.reading(path):
        if pytorch_safetensors.recognises(path):
            _refuse_variable(variable)
            state = pytorch_safetensors.load(path)
            origin = Origin("PyTorch", str(path), kind="state dict in safetensors")
            return network(state, layers, origin), []
        if (net := _program(path, layers, variable)) is not None:
            return net, []
        file = torchfile.load(path)
        own = pytorch_own.documents(path) if file.container == "zip" else None
        if own is not None and layers is None and variable is None:
            net, golden = pytorch_own.load(file.tree, *own)
            return net.replace(
                origin=net.origin._replace(
                    format="PyTorch", file=str(path), kind="state dict of jlstm"
                )
            ), golden
        state = pytorch_state.find(file.tree, variable)
        kind = KINDS[file.container]
        if state.modules and file.container != "script":
            kind = f"module {str(state.modules[''].kind)[:80]}"
        origin = Origin("PyTorch", str(path), state.place, kind)
        return network(state, layers, origin), []


def _program(path: Path, layers: Any, variable: str | None) -> Network | None:
    """The network of a program of torch.export; None for any other file."""
    if not torchfile.is_zip(path):
        return None
    with torchfile.Archive(path) as archive:
        from . import pytorch_program

        if not pytorch_program.is_program(archive):
            return None
        _refuse_variable(variable)
        return pytorch_program.load(path, archive, layers)


def _refuse_variable(variable: str | None) -> None:
    if variable is not None:
        raise Unsupported("a file of one network has no variables", found=variable)


def save(
    net: Network, path: str | Path, golden: Sequence[Golden] = ()
) -> tuple[Path, ...]:
    """Write a state dict and a module beside it; see `pytorch_save`."""
    from . import pytorch_save

    return pytorch_save.save(net, path, golden)


def require_free(path: Path) -> None:
    """Refuse a place where the module would replace a file of somebody else.

    Raises:
        InputError: there is one.
    """
    from . import pytorch_save

    pytorch_save.require_free(path)
