"""What is measured: networks, sizes and kinds of work, as data."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ..errors import InputError

if TYPE_CHECKING:
    from ..network import Network

Kind = Literal["inference", "streaming", "training"]
WEIGHTS, SIGNAL = 7, 11
"""Seeds."""
FORGET = 1.0
"""Bias of forget gates, as trained networks have it."""

SEED_NET = ("lstm 128", "relu", "lstm 128", "relu", "fc 1")
"""The network of the question that started jlstm; four inputs."""


@dataclasses.dataclass(frozen=True)
class Workload:
    """One row of the benchmark.

    Arguments:
        name: what it is called in `--rows`.
        kind: inference, whole sequences in one call; streaming, one call a step with
            the state carried over; training, forward, backward and Adam.
        features: inputs of a step.
        layers: in the order of the signal: "lstm 128", "gru 16", "bilstm 64", "relu",
            "fc 1".
        batch: B, sequences in a call.
        length: T, steps of a sequence; in streaming the steps that are timed together.
        dtype: precision.
        given: a network in place of `layers`.
        title: what `given` is called.
    """

    name: str
    kind: Kind
    features: int = 4
    layers: tuple[str, ...] = SEED_NET
    batch: int = 1
    length: int = 200
    dtype: str = "float32"
    given: Network | None = dataclasses.field(default=None, repr=False, compare=False)
    title: str = ""

    @property
    def words(self) -> str:
        """The row in a few words: kind, network, sizes."""
        net = self.title or f"{self.features} > {' > '.join(self.layers)}"
        size = f"B={self.batch}, T={self.length}"
        size = "one step a call, B=1" if self.kind == "streaming" else size
        single = "" if self.dtype == "float32" else f", {self.dtype}"
        return f"{self.kind}, {net}, {size}{single}"

    def network(self) -> Network:
        """The network, with the same random weights each time."""
        return _build(self) if self.given is None else self.given

    def data(self) -> tuple[np.ndarray, np.ndarray]:
        """`x (batch, time, features)` and targets of the shape of the answer."""
        from ..formats.proof import signal

        net = self.network()
        (name,), (ref,) = net.inputs, net.outputs
        answer, rng = net.shapes[ref], np.random.default_rng(SIGNAL)
        x = np.stack([signal(net, name, rng, self.length) for _ in range(self.batch)])
        steps = [self.length] if answer.time else []
        size = (self.batch, *steps, *answer.space, answer.channels)
        return x, (0.3 * rng.standard_normal(size)).astype(self.dtype)


LARGE = {"features": 64, "layers": ("lstm 512",), "batch": 32, "length": 256}
TINY = {"features": 1, "layers": ("lstm 16",)}
ROWS: dict[str, Workload] = {
    row.name: row
    for row in (
        Workload("a", "streaming"),
        Workload("b", "inference", length=10_000),
        Workload("c", "inference", batch=64, length=500),
        Workload("d", "training", batch=64),
        Workload("e-inference", "inference", **LARGE),
        Workload("e-training", "training", **LARGE),
        Workload("f1", "inference", **TINY, length=1_000),
        Workload("f2", "inference", **TINY, batch=1_024, length=100),
        Workload("g", "training", length=1_000),
        Workload("h", "inference", layers=("gru 128", "fc 1"), batch=64, length=500),
        Workload("i", "inference", layers=("bilstm 128", "fc 1"), batch=32, length=250),
    )
}
"""The rows of the table, by name."""


def chosen(names: str = "") -> list[Workload]:
    """Rows by name, separated by commas: `"a,c"`; a letter alone takes all of its rows.

    Raises:
        InputError: there is no such row.
    """
    found: dict[str, Workload] = {}
    for name in filter(None, (part.strip() for part in names.split(","))):
        some = {k: row for k, row in ROWS.items() if name in (k, k[0])}
        if not some:
            raise InputError("no such row", found=name, expected=", ".join(ROWS))
        found |= some
    return list((found or ROWS).values())


def drawn(count: int, seed: int = 0) -> list[Workload]:
    """Rows of other sizes than those of the table, drawn at random.

    One or two LSTM layers of 8 to 384 units, sizes evenly spread on a logarithmic scale
    and of no round number, so that nothing is measured that was tuned for.
    """
    rng = np.random.default_rng(seed)

    def size(low: float, high: float) -> int:
        return round(float(np.exp(rng.uniform(np.log(low), np.log(high)))))

    rows = []
    for number in range(1, count + 1):
        kind: Kind = ("inference", "training", "streaming")[rng.integers(3)]
        layers = [f"lstm {size(8, 384)}" for _ in range(rng.integers(1, 3))]
        batch = 1 if kind == "streaming" or rng.random() < 0.3 else size(2, 256)
        # So long that a call takes neither microseconds nor many seconds.
        length = size(64, 2_000) if batch == 1 else size(32, 300)
        rows.append(
            Workload(
                f"r{number}", kind, features=size(1, 64), layers=(*layers, "fc 1"),
                batch=batch, length=200 if kind == "streaming" else length,
            )
        )  # fmt: skip
    return rows


def own(
    net: Network,
    kind: Kind = "inference",
    *,
    batch: int = 1,
    length: int = 1_000,
    title: str = "your network",
) -> Workload:
    """A row for a network of the user's.

    Raises:
        InputError: the network does not map one sequence to one answer, or the sizes
            make no sense.
    """
    if len(net.inputs) != 1 or len(net.outputs) != 1:
        raise InputError(
            "only networks of one input and one output are measured",
            found=f"{len(net.inputs)} inputs, {len(net.outputs)} outputs",
        )
    shape = net.shapes[net.inputs[0]]
    if not shape.time:
        raise InputError(
            "only networks of sequences are measured", found=f"an input {shape}"
        )
    whole = [n for n in net.layers if net.layers[n].needs_whole_sequence]
    if kind == "streaming" and whole:
        raise InputError(
            f"layer '{whole[0]}' needs the whole sequence at once",
            found="streaming",
            expected="inference or training",
        )
    if min(batch, length) < 1 or (kind == "streaming" and batch > 1):
        raise InputError(
            "nothing can be measured like this",
            found=f"{kind}, batch {batch}, length {length}",
            expected="at least 1 each; streaming has batch 1",
        )
    return Workload(
        "net", kind, batch=batch, length=length, dtype=str(net.dtype), layers=(),
        features=shape.channels, given=net, title=title,
    )  # fmt: skip


# --- making networks ------------------------------------------------------------------


def _build(row: Workload) -> Network:
    from ..layers import Activation, FullyConnected, Input
    from ..network import Network

    rng, width = np.random.default_rng(WEIGHTS), row.features
    layers: dict[str, Any] = {"input": Input((width,))}
    for number, spec in enumerate(row.layers, 1):
        kind, _, size = spec.partition(" ")
        name = f"{kind}_{number}"
        if not size:
            layers[name] = Activation(kind)
            continue
        if kind == "fc":
            weights = _uniform(rng, width, (int(size), width))
            layers[name] = FullyConnected(weights, _uniform(rng, width, (int(size),)))
            width = int(size)
        else:
            layers[name], width = _recurrent(rng, kind, int(size), width)
    return Network.build(layers).astype(row.dtype)


def _recurrent(
    rng: np.random.Generator, kind: str, hidden: int, width: int
) -> tuple[Any, int]:
    """A recurrent layer and the width of its output."""
    from ..recurrent import GRU, LSTM, Bidirectional, Gate

    def gate(*, opened: float = 0.0, biased: bool = False) -> Gate:
        shapes = [(hidden, width), (hidden, hidden), *[(hidden,)] * (1 + biased)]
        arrays = [_uniform(rng, hidden, shape) for shape in shapes]
        arrays[2] = arrays[2] + opened
        return Gate(*arrays)

    def lstm() -> LSTM:
        return LSTM(gate(), gate(opened=FORGET), gate(), gate())

    if kind == "gru":
        # The form that every library has.
        mode = "recurrent-bias-after-multiplication"
        r, z, n = (gate(biased=True) for _ in range(3))
        return GRU(r, z, n, reset_mode=mode), hidden
    if kind == "bilstm":
        return Bidirectional(lstm(), lstm()), 2 * hidden
    return lstm(), hidden


def _uniform(
    rng: np.random.Generator, width: int, shape: tuple[int, ...]
) -> np.ndarray:
    """Numbers of the size that training starts from and stays near."""
    return rng.uniform(-1, 1, shape) / np.sqrt(width)
