"""Several processes, usually on many machines, that work at one run.

They meet through `jax.distributed`, which also gives each process of a Slurm job its
GPU, and part again before the first number is computed: processes that stay connected
die with the first of them that does, and here the others are to finish its shards.
All that they share from then on is the folder.
"""

from __future__ import annotations

import os

import jax

from ..errors import InputError

SLURM = "slurm"
PATIENCE = 300
"""Seconds that a process waits for the others."""


def identity(
    coordinator: str, number: int | None, count: int | None
) -> tuple[int, int]:
    """Which process this is and how many there are, given or as Slurm says.

    Raises:
        InputError: neither says it.
    """
    if coordinator == SLURM:
        number = _slurm("SLURM_PROCID") if number is None else number
        count = _slurm("SLURM_NTASKS") if count is None else count
    if number is None or count is None or not 0 <= number < count:
        raise InputError(
            "which process is this, and of how many?",
            found=f"--process-id {number}, --processes {count}",
            expected="numbers from 0, and how many there are",
        )
    return number, count


def meet(coordinator: str, number: int, count: int) -> None:
    """Wait until all processes are there.

    To be called before anything is computed; process 0 calls it once the folder is
    ready for the others.

    Raises:
        InputError: they do not come.
    """
    address = None if coordinator == SLURM else coordinator
    method = SLURM if coordinator == SLURM else "deactivate"
    try:
        jax.distributed.initialize(
            address, count, number,
            cluster_detection_method=method,
            initialization_timeout=PATIENCE,
        )  # fmt: skip
        jax.distributed.shutdown()
    except (RuntimeError, ValueError) as error:
        raise InputError(
            "the processes have not met",
            place=f"--coordinator {coordinator}",
            found=f"{error!s:.200}",
            do=f"start all {count} of them, with the same --coordinator",
        ) from None


def _slurm(name: str) -> int | None:
    value = os.environ.get(name, "")
    return int(value) if value.isdecimal() else None
