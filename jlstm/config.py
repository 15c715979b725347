"""What fine-tuning can be told: these structs are the TOML schema and the CLI's flags.

Names that MATLAB's `trainingOptions` has are taken from there, in snake_case, and mean
the same.
"""

from __future__ import annotations

import math
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from .errors import InputError

Positive = Annotated[float, msgspec.Meta(gt=0)]
NotNegative = Annotated[float, msgspec.Meta(ge=0)]
Fraction = Annotated[float, msgspec.Meta(ge=0, lt=1)]
Count = Annotated[int, msgspec.Meta(ge=1)]


class Data(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which numbers are learned from, and which are kept aside."""

    inputs: tuple[str, ...] = ()
    """Columns or variables that go in; by default all that are no target."""
    targets: tuple[str, ...] = ()
    """Columns or variables that should come out; by default the last ones."""
    target_scale: tuple[float, ...] = ()
    """Of networks trained on standardised targets: recorded = output * scale + offset.
    One number, or one for each output."""
    target_offset: tuple[float, ...] = ()
    """See target_scale."""
    window: Annotated[int, msgspec.Meta(ge=0)] = 0
    """Steps in a window of a recording; 0 takes each recording whole."""
    overlap: Annotated[int, msgspec.Meta(ge=0)] = 0
    """Steps that a window shares with the next one."""
    washout: Annotated[int, msgspec.Meta(ge=0)] = 0
    """First steps of a window that are run but not scored: the state settles."""
    validation: Fraction = 0.2
    """Part that is kept aside to decide which network is best."""
    test: Fraction = 0.0
    """Part that is kept aside to the very end."""
    split_by: Literal["time", "recording"] = "time"
    """Keep aside the last steps of every recording, or whole recordings."""
    nan: Literal["refuse", "mask"] = "mask"
    """Targets that are NaN: an error, or steps that are not scored."""


class FineTuneConfig(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True
):
    """How a network's training is continued."""

    semantics: Literal["exact", "matlab"] = "exact"
    """exact: an answer never depends on batch mates. matlab: its exact update."""
    solver: Literal["adam", "adamw", "rmsprop", "sgdm", "lbfgs"] = "adam"
    """How steps are made from gradients."""
    initial_learn_rate: Positive | None = None
    """Learning rate; by default 0.001, for sgdm 0.01."""
    learn_rate_schedule: Literal["none", "piecewise", "cosine"] = "none"
    """How the rate falls: by a factor every few epochs, or to 0 along a cosine."""
    learn_rate_drop_factor: Positive = 0.1
    """Factor of the piecewise schedule."""
    learn_rate_drop_period: Count = 10
    """Epochs between its drops."""
    gradient_decay_factor: Fraction = 0.9
    """Adam's beta 1."""
    squared_gradient_decay_factor: Fraction | None = None
    """Adam's beta 2 (0.999) or rmsprop's decay (0.9)."""
    epsilon: Positive = 1e-8
    """Keeps adam and rmsprop from dividing by zero."""
    momentum: Fraction = 0.9
    """Of sgdm."""
    weight_decay: NotNegative = 1e-4
    """Of adamw, decoupled."""
    l2_regularization: NotNegative | None = None
    """Coupled L2 on weights, not biases; by default 0, with matlab semantics 1e-4."""
    gradient_threshold: Positive | None = None
    """Gradients are clipped above it; none by default."""
    gradient_threshold_method: Literal["l2norm", "global-l2norm", "absolute-value"] = (
        "l2norm"
    )
    """Norm of each matrix, norm of all together, or each number."""
    loss: Literal["auto", "half-mse", "mse", "mae", "huber", "cross-entropy", "nse"] = (
        "auto"
    )
    """auto is cross-entropy after a softmax, half-mse otherwise."""
    huber_transition: Positive = 1.0
    """Where huber turns from square to line."""
    time_reduction: Literal["mean", "sum"] = "mean"
    """Loss over the steps of a sequence; old releases of MATLAB sum its gradient."""
    max_epochs: Count = 30
    """Passes through the data."""
    mini_batch_size: Count = 128
    """Sequences or windows a step is made from."""
    shuffle: Literal["never", "once", "every-epoch"] = "every-epoch"
    """When the order of the windows is drawn."""
    sequence_padding_value: float = 0.0
    """With matlab semantics: fills short sequences of a mini-batch."""
    sequence_padding_direction: Literal["left", "right"] = "right"
    """With matlab semantics: the side that is filled."""
    score_padding: bool = True
    """With matlab semantics: whether padded steps count in the loss."""
    split_length: Annotated[int, msgspec.Meta(ge=0)] = 0
    """Sequences of a mini-batch are cut to so many steps and the state is carried from
    cut to cut; 0 does not cut. MATLAB's numeric SequenceLength."""
    validation_period: Count = 1
    """Epochs from one look at the validation data to the next; MATLAB's
    ValidationFrequency counts steps."""
    validation_patience: Annotated[int, msgspec.Meta(ge=0)] = 0
    """Looks without an improvement after which to stop; 0 never stops."""
    output_network: Literal["best", "last"] = "best"
    """The network of the best validation loss, or of the last step."""
    only: tuple[str, ...] = ()
    """Train only parameters whose path matches, like "layers['fc'].*"."""
    freeze: tuple[str, ...] = ()
    """Leave parameters alone whose path matches, like "*.bias"."""
    lora_rank: Annotated[int, msgspec.Meta(ge=0)] = 0
    """Rank of the correction that W and R get in place of being trained; 0 is off."""
    anchor: NotNegative = 0.0
    """Weight of the squared distance to the imported parameters."""
    normalization: Literal["keep", "recompute"] = "keep"
    """Statistics of the input: those of the network, or of the new training data."""
    seed: Annotated[int, msgspec.Meta(ge=0)] = 0
    """Of shuffling and dropout."""
    engine: Literal["auto", "cpu", "gpu", "xla"] = "auto"
    """What runs recurrent layers; all agree to rounding, auto is the fastest."""
    rematerialise: bool = False
    """Of long sequences keep the states between chunks of steps alone, and run each
    chunk again on the way back: less memory, one more run forward."""
    data: Data = Data()


def is_zero(number: Any) -> bool:
    """Whether a setting is 0 for certain: a traced one, of several runs, is not."""
    return isinstance(number, int | float) and number == 0


def read_config(file: Path) -> FineTuneConfig:
    """A configuration from a TOML file.

    Raises:
        InputError: no TOML, an unknown key, or a value that is not possible.
    """
    try:
        given = tomllib.loads(file.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(
            "the configuration cannot be read", place=str(file), found=str(error)
        ) from None
    return as_config(given, str(file))


def as_config(given: Any, place: str = "config") -> FineTuneConfig:
    """A configuration from a dictionary, or one that is already made, checked.

    Raises:
        InputError: an unknown key, or a value that is not possible.
    """
    # A struct that was made in Python has not been checked by anyone.
    plain = msgspec.to_builtins(given) if isinstance(given, FineTuneConfig) else given
    try:
        config = msgspec.convert(plain or {}, FineTuneConfig)
    except msgspec.ValidationError as error:
        raise InputError(
            "not a configuration",
            place=place,
            found=str(error),
            do="`jlstm finetune --help` lists every key",
        ) from None
    for name in config.__struct_fields__:
        value = getattr(config, name)
        if isinstance(value, float) and not math.isfinite(value):
            raise InputError(
                "not a finite number", place=place, found=f"{name} {value}"
            )
    if config.validation_period > config.max_epochs:
        raise InputError(
            "the network would never be looked at",
            place=place,
            found=f"validation_period {config.validation_period}, max_epochs "
            f"{config.max_epochs}",
            expected="at most max_epochs",
        )
    data = config.data
    for name in ("overlap", "washout"):
        value = getattr(data, name)
        if 0 < data.window <= value:
            raise InputError(
                f"{name} is as long as the window",
                place=place,
                found=f"{name} {value}, window {data.window}",
                expected=f"{name} below the window",
            )
    if data.overlap and not data.window:
        raise InputError(
            "an overlap of no windows",
            place=place,
            found=f"overlap {data.overlap}, window 0",
            do="set data.window, or take data.overlap out",
        )
    if data.validation + data.test >= 1:
        raise InputError(
            "nothing is left to train on",
            place=place,
            found=f"validation {data.validation}, test {data.test}",
            expected="less than 1 together",
        )
    return config
