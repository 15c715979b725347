"""The input layer: what a network takes, and how it normalises it."""

from __future__ import annotations

from ..pytree import Array, Shape, pytree, static
from .base import Layer, require, require_broadcast, require_choice

STATISTICS: dict[str, tuple[str, ...]] = {
    "none": (),
    "zerocenter": ("mean",),
    "zscore": ("mean", "std"),
    "rescale-symmetric": ("minimum", "maximum"),
    "rescale-zero-one": ("minimum", "maximum"),
}
"""The normalisations, and the statistics that each of them needs."""

TARGETS = {"rescale-symmetric": (-1.0, 1.0), "rescale-zero-one": (0.0, 1.0)}
"""The ranges `(low, high)` onto which the rescaling normalisations map."""


@pytree
class Input(Layer):
    """Entry of a network, with the normalisation of its data.

        none                 y = x
        zerocenter           y = x - mean
        zscore               y = (x - mean) / std
        rescale-symmetric    y = 2 (x - minimum) / (maximum - minimum) - 1
        rescale-zero-one     y = (x - minimum) / (maximum - minimum)

    The statistics broadcast against one step, `(*space, channels)`: one number, one
    per channel, or one per element. A feature that was constant in training has
    `std = 0` or `maximum = minimum` and yields infinities or NaN, as the formula says.

    `size` is `(*space, channels)`; `time` says whether a sequence or one vector comes
    in; `target` replaces the range of a rescaling; `min_length` is the least number of
    steps the network accepts.

    Source: MathWorks reference pages nnet.cnn.layer.sequenceinputlayer,
    .featureinputlayer, .imageinputlayer.
    """

    size: tuple[int, ...] = static()
    time: bool = static(default=True)
    normalization: str = static(default="none")
    target: tuple[float, float] | None = static(default=None)
    min_length: int = static(default=1)
    mean: Array | None = None
    std: Array | None = None
    minimum: Array | None = None
    maximum: Array | None = None

    statistics = ("mean", "std", "minimum", "maximum")

    def __call__(self, *inputs: Array) -> Array:
        """Normalise `x (time?, *space, channels)`."""
        (x,) = inputs
        # `shape` made sure that the statistics at hand are those of the normalisation.
        if self.mean is not None:
            x = x - self.mean
        if self.std is not None:
            x = x / self.std
        if self.minimum is not None and self.maximum is not None:
            low, high = map(float, self.target or TARGETS[self.normalization])
            unit = (x - self.minimum) / (self.maximum - self.minimum)
            x = low + (high - low) * unit
        return x

    def shape(self, *inputs: Shape) -> Shape:
        """What comes in; the layer itself has no inputs."""
        require(
            not inputs,
            "an input layer takes nothing from other layers",
            found=f"{len(inputs)} inputs",
            expected="0",
        )
        require_choice("normalisation", self.normalization, tuple(STATISTICS))
        require(
            bool(self.size) and all(length > 0 for length in self.size),
            "an input layer needs a size",
            found=self.size,
            expected="(*space, channels), all positive",
        )
        x = Shape(self.time, tuple(self.size[:-1]), self.size[-1])
        for name in self.statistics:
            array = getattr(self, name)
            require(
                (array is not None) == (name in STATISTICS[self.normalization]),
                f"normalisation '{self.normalization}' does not fit its statistics",
                found=f"{name} is {'absent' if array is None else 'present'}",
                expected=", ".join(STATISTICS[self.normalization]) or "no statistics",
                do="a network whose normalisation was never trained has none"
                if array is None
                else None,
            )
            if array is not None:
                require_broadcast(name, array, x)
        return x

    def describe(self) -> str:
        """One phrase for the table of layers."""
        if self.target is None:
            return self.normalization
        return f"{self.normalization} to {self.target}"
