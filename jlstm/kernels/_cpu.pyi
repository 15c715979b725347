"""The kernel in C++ (jlstm/kernels/cpp); absent where it was not built."""

from collections.abc import Sequence
from typing import Any

def handlers() -> dict[str, Any]: ...
def instructions() -> tuple[str, ...]: ...
def in_use() -> str: ...
def use(name: str, /) -> None: ...
def saved_shape(
    kind: int, batch: int, steps: int, units: int, is_double: bool, /
) -> tuple[int, int, int, int, int]: ...

class Plan:
    def __new__(
        cls,
        operations: Sequence[tuple],
        arrays: Sequence[Any],
        double: bool,
        inputs: int,
        outputs: int,
        output_at: int,
        states: int,
        row: int,
    ) -> Plan: ...
    def step(self, x: Any, state: Any, y: Any, /) -> None: ...
    def run(self, x: Any, state: Any, y: Any, /) -> None: ...
