"""Settings for the whole suite: JAX at its strictest, eight devices, where files are.

Shapes and types are also checked at run time, where a function declares them, by
`pytest --jaxtyping-packages=jlstm,beartype.beartype`.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

# Both are read once, when the libraries are first imported.
os.environ["XLA_FLAGS"] = " ".join(
    (
        "--xla_force_host_platform_device_count=8",
        # Two thirds of the suite's time is compilation, and the older of XLA's two
        # generators of code takes less of it. Users have the younger one: .ci/run runs
        # some modules by it as well.
        "--xla_cpu_use_fusion_emitters=false",
        # The programs are small: cutting them up for threads costs a sixth of the time.
        "--xla_cpu_parallel_codegen_split_count=1",
        os.environ.get("XLA_FLAGS", ""),
    )
).strip()
# Keras is an oracle: on torch it shares no line of numerics with what it judges.
os.environ.setdefault("KERAS_BACKEND", "torch")

import jax
import numpy as np
import pytest
import quick

ROOT = Path(__file__).resolve().parent.parent
MOST_MAPS = 25_000

jax.config.update("jax_numpy_dtype_promotion", "strict")
# Layers broadcast their parameters over whatever axes lead: that is their contract.
jax.config.update("jax_numpy_rank_promotion", "allow")


LONGEST = (
    "test_diagnosis", "test_mistakes", "test_finetuning", "test_layers", "test_runs",
    "test_diagnosis_pairs", "test_task", "test_ensemble", "test_matlab_rebuild",
    "test_cli", "test_ordering", "test_recurrent", "test_rounding",
)  # fmt: skip
"""Modules that take longest come first, so that no process is left alone with one."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    place = {name: k for k, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path.stem, len(place)))


@pytest.fixture(scope="module", autouse=True)
def compiled_programs_are_given_back() -> Iterator[None]:
    """A process has 65,530 memory maps, and every compiled program takes some."""
    yield
    maps = Path("/proc/self/maps")
    if not maps.is_file() or len(maps.read_bytes().splitlines()) > MOST_MAPS:
        jax.clear_caches()
        gc.collect()


@pytest.fixture(scope="module")
def quick_steps() -> Iterator[None]:
    """Training steps that are compiled in a third of the time and run slower.

    For modules that ask what a run does with its steps, not what a step computes:
    steps as users compile them are compared with other libraries in test_task and
    test_solvers.
    """
    # What is compiled by decorators is not to be first imported below.
    for name in (
        "equilibrium",
        "linearization",
        "network",
        "stream",
        "mistakes.engine",
    ):
        import_module(f"jlstm.{name}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jax, "jit", quick.jit)
        yield


@pytest.fixture
def rng() -> np.random.Generator:
    """The same random numbers in every run, and in every test on its own."""
    return np.random.default_rng(20240229)


@pytest.fixture
def double() -> Iterator[None]:
    """Double precision for one test."""
    with jax.enable_x64(True):
        yield


@pytest.fixture(scope="session")
def nets() -> Path:
    """Folder of real networks, listed in its manifest.json; none is in this repository.

    The environment variable JLSTM_NETS names it; otherwise it is looked for beside the
    repository. Without it a test skips, except under CI, where it fails.
    """
    folder = Path(os.environ.get("JLSTM_NETS") or ROOT.parent / "shared" / "nets")
    if (folder / "manifest.json").is_file():
        return folder
    reason = f"no real networks at {folder}: set JLSTM_NETS to their folder"
    if os.environ.get("CI", "").lower() not in ("", "0", "false"):
        pytest.fail(reason)
    pytest.skip(reason)
