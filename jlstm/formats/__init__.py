"""File formats: which one a file is in, how to read it, how to write it.

Every reader returns a `Network` and the golden vectors that the file carries. What a
file is, is decided by its first bytes, not by its name.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..errors import Unsupported
from ..golden import Golden
from ..network import Network
from ._gates import matlab_arrays as matlab_arrays

LATER = {
    ".onnx": "ONNX",
    ".keras": "Keras",
    ".h5": "Keras",
    ".pt": "PyTorch",
    ".pth": "PyTorch",
}


def read(
    path: str | Path, *, variable: str | None = None, layers: Any = None
) -> tuple[Network, list[Golden]]:
    """Read a network and its golden vectors.

    Arguments:
        path: a MAT file or a native file.
        variable: which of several networks in a MAT file.
        layers: how arrays extracted by hand form a network; a TOML file or a list of
            layers (see `formats.arrays`).

    Raises:
        DamagedFile, Unsupported, Ambiguous, InputError: see the readers.
    """
    from . import arrays, matlab, matlab_export, native
    from .matfile import MatFile

    path = Path(path)
    if native.recognises(path):
        for name, value in (("variable", variable), ("layers", layers)):
            if value is not None:
                raise Unsupported(f"a native file has no use for {name}", file=path)
        net, golden = native.load(path), native.golden(path)
        return net, [] if golden is None else [golden]
    if path.suffix in LATER and path.exists():
        raise Unsupported(
            f"{LATER[path.suffix]} files are not read yet",
            file=path,
            expected="a MAT file or a native .safetensors file",
        )
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
            golden = matlab_export.golden(chosen.value, net)
    return net, golden


def save(net: Network, path: str | Path, golden: Golden | None = None) -> None:
    """Write a network; the extension says in which format.

    Raises:
        Unsupported: an extension that jlstm does not write.
    """
    from . import native

    path = Path(path)
    if path.suffix != ".safetensors":
        raise Unsupported(
            "jlstm does not write this format",
            file=path,
            found=path.suffix or "no extension",
            expected=".safetensors",
        )
    native.save(net, path, golden)
