"""Who is measured: jlstm's engines and what could be used in their place.

A module of a contestant offers

    variants(job, option) -> Iterator[Variant]

ways to do the job that its users could choose, such as numbers of threads. All of them
are tried, the fastest is measured.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.util import find_spec
from types import MappingProxyType
from typing import Any, NamedTuple

NOTHING: Mapping[str, str] = MappingProxyType({})


class Variant(NamedTuple):
    """One way of doing a job.

    Arguments:
        name: what is special about it.
        run: do the work once, and return when it is done.
        answers: what is compared: "y", or the gradients at the first weights, by name;
            None where there is nothing to compare.
        amount: units of work in one run: the steps of a streamed sequence.
    """

    name: str
    run: Callable[[], Any]
    answers: Callable[[], dict[str, Any]] | None = None
    amount: float = 1


def threads(count: int) -> str:
    """A number of threads in words."""
    return f"{count} thread{'s' * (count > 1)}"


class Contestant(NamedTuple):
    """Somebody who takes part.

    Arguments:
        name: what it is called in tables and in `--peers`.
        module: where its variants are, in this package.
        packages: what has to be installed for it.
        option: told to the module, where it serves several.
        kinds: of workloads that it takes.
        environment: of its process.
    """

    name: str
    module: str
    packages: tuple[str, ...] = ()
    option: str = ""
    kinds: tuple[str, ...] = ("inference", "streaming", "training")
    environment: Mapping[str, str] = NOTHING

    @property
    def missing(self) -> list[str]:
        """Packages that are not installed."""
        return [package for package in self.packages if find_spec(package) is None]

    @property
    def ours(self) -> bool:
        """Whether this is jlstm."""
        return self.module in ("engines", "gpu_engines")


CONTESTANTS: dict[str, Contestant] = {
    one.name: one
    for one in (
        Contestant("jlstm cpu", "engines", option="cpu"),
        Contestant("jlstm xla", "engines", option="xla"),
        Contestant(
            "onnxruntime", "onnx_runtime", ("onnxruntime", "onnx"),
            kinds=("inference", "streaming"),
        ),
        Contestant("torch", "torch_modules", ("torch",)),
        Contestant(
            "torch compiled", "torch_modules", ("torch",), "compiled",
            kinds=("inference", "training"),
        ),
        Contestant(
            "Keras", "keras_layers", ("keras",), environment={"KERAS_BACKEND": "jax"}
        ),
        Contestant("Flax", "flax_modules", ("flax",)),
        Contestant("Equinox", "equinox_cells", ("equinox",)),
    )
}  # fmt: skip
"""Those who are compared, in the order of the table."""

ON_GPU: dict[str, Any] = {
    "kinds": ("inference", "training"),
    # Whatever JAX finds: the process that starts these was not told to stay on the CPU.
    "environment": MappingProxyType({"JAX_PLATFORMS": ""}),
}
GPU: dict[str, Contestant] = {
    one.name: one
    for one in (
        Contestant("jlstm cuDNN", "gpu_engines", option="cudnn", **ON_GPU),
        Contestant("jlstm fused", "gpu_engines", option="fused", **ON_GPU),
        Contestant("jlstm scan", "gpu_engines", option="xla", **ON_GPU),
        Contestant("torch float32", "torch_gpu", ("torch",), **ON_GPU),
        Contestant("torch TF32", "torch_gpu", ("torch",), "tf32", **ON_GPU),
    )
}
"""Those who are compared on a GPU, in the order of the table."""
ALL = CONTESTANTS | GPU

MACHINE: dict[str, Contestant] = {
    one.name: one
    for one in (
        Contestant("products", "machine", option="products"),
        Contestant("reads", "machine", option="reads"),
    )
}
"""What the machine could do: a large product of matrices, weights read from cache."""
GPU_MACHINE = {
    "GPU products": Contestant(
        "GPU products", "gpu_engines", option="products", **ON_GPU
    )
}
"""The same of the GPU."""
