"""Keras models of every kind that is read, with weights of trained scale."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import layers as K

STEPS, FEATURES = 7, 3

CASES: dict[str, Callable[[], Any]] = {}


def case(function: Callable[[], Any]) -> Callable[[], Any]:
    """A model under the name of the function that makes it."""
    CASES[function.__name__] = function
    return function


def sequence(steps: int | None = None, features: int = FEATURES, **kwargs: Any) -> Any:
    return K.Input((steps, features), **kwargs)


def series(*layers: Any, steps: int | None = None) -> Any:
    return keras.Sequential([sequence(steps), *layers])


def randomised(model: Any, seed: int = 0) -> Any:
    """Normal weights of spread 0.5; variances positive; counts as they are."""
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        if "int" in str(weight.dtype):
            continue
        value = rng.normal(0, 0.5, weight.shape)
        if "variance" in weight.path:
            value = np.abs(value) + 0.3
        weight.assign(value.astype(weight.dtype))
    return model


def inputs_of(model: Any, seed: int = 1) -> list[np.ndarray]:
    """One example for each input; whole numbers where an embedding takes them."""
    rng = np.random.default_rng(seed)
    found = []
    for tensor in model.inputs:
        shape = [STEPS if n is None else n for n in tensor.shape[1:]]
        if "int" in str(tensor.dtype):
            x = rng.integers(1, 9, shape)
            x[:1], x[3:5], x[-1:] = 0, 0, 0
            found.append(x.astype(np.int32))
            continue
        x = rng.normal(size=shape).astype(np.float32)
        if "masked" in tensor.name:
            # Leading, inner and trailing steps.
            x[:2], x[3], x[-1:] = 0.5, 0.5, 0.5
        found.append(x)
    return found


# --- recurrent ------------------------------------------------------------------------


@case
def lstm_defaults():
    return series(K.LSTM(4), K.Dense(2))


@case
def lstm_sequences():
    return series(K.LSTM(4, return_sequences=True), K.LSTM(5, return_sequences=True))


@case
def lstm_functions():
    x = sequence()
    return keras.Model(
        x,
        [
            K.LSTM(4, activation=a, recurrent_activation=g, return_sequences=True)(x)
            for a, g in (
                ("relu", "hard_sigmoid"),
                ("softsign", "sigmoid"),
                ("elu", "tanh"),
                ("linear", "relu"),
                ("leaky_relu", "softsign"),
            )
        ],
    )


@case
def lstm_without_bias():
    return series(K.LSTM(4, use_bias=False, unit_forget_bias=False))


@case
def lstm_backwards():
    return series(
        K.LSTM(4, go_backwards=True, return_sequences=True), K.LSTM(5, unroll=False)
    )


@case
def gru_both_ways():
    x = sequence()
    return keras.Model(
        x,
        [
            K.GRU(4, reset_after=True, return_sequences=True)(x),
            K.GRU(4, reset_after=False, return_sequences=True)(x),
            K.GRU(5, reset_after=True, use_bias=False)(x),
            K.GRU(5, reset_after=False, use_bias=False)(x),
            K.GRU(2, recurrent_activation="hard_sigmoid", go_backwards=True)(x),
        ],
    )


@case
def simple_rnn():
    x = sequence()
    y = K.SimpleRNN(4, return_sequences=True)(x)
    return keras.Model(x, [y, K.SimpleRNN(5, activation="relu", use_bias=False)(y)])


@case
def cells():
    x = sequence()
    return keras.Model(
        x,
        [
            K.RNN(K.LSTMCell(4), return_sequences=True)(x),
            K.RNN([K.LSTMCell(4), K.GRUCell(5), K.SimpleRNNCell(2)])(x),
            K.RNN(
                K.StackedRNNCells([K.GRUCell(4, reset_after=False), K.GRUCell(3)]),
                return_sequences=True,
                go_backwards=True,
            )(x),
        ],
    )


@case
def stateful():
    x = K.Input(batch_shape=(1, 7, 3))
    return keras.Model(x, K.LSTM(4, stateful=True)(x))


@case
def bidirectional_merges():
    x = sequence()
    found = []
    for merge in ("concat", "sum", "mul", "ave"):
        for sequences in (True, False):
            layer = K.LSTM(4, return_sequences=sequences)
            found.append(K.Bidirectional(layer, merge_mode=merge)(x))
    return keras.Model(x, found)


@case
def bidirectional_forms():
    x = sequence()
    found = list(K.Bidirectional(K.GRU(4, return_sequences=True), merge_mode=None)(x))
    back = K.GRU(2, reset_after=False, go_backwards=True, return_sequences=True)
    found.append(
        K.Bidirectional(K.LSTM(4, return_sequences=True), backward_layer=back)(x)
    )
    first = K.SimpleRNN(4, go_backwards=True, return_sequences=True)
    second = K.SimpleRNN(4, return_sequences=True)
    found.append(K.Bidirectional(first, backward_layer=second)(x))
    cells = K.RNN([K.LSTMCell(4), K.LSTMCell(2)], return_sequences=True)
    found.append(K.Bidirectional(cells, merge_mode="ave")(x))
    return keras.Model(x, found)


@case
def bidirectional_states():
    x, z = sequence(), sequence(features=2)
    y, *states = K.Bidirectional(K.LSTM(4, return_state=True))(x)
    decoded = K.Bidirectional(K.LSTM(4, return_sequences=True), merge_mode="sum")(
        z, initial_state=states
    )
    return keras.Model([x, z], [y, *states, decoded])


@case
def encoder_decoder():
    x, z = sequence(), sequence(features=2)
    _, h, c = K.LSTM(4, return_state=True)(x)
    y, *states = K.LSTM(4, return_sequences=True, return_state=True)(
        z, initial_state=[h, c]
    )
    g, s = K.GRU(4, return_state=True)(x, initial_state=h)
    return keras.Model([x, z], [K.Dense(2)(y), *states, g, s])


@case
def states_of_stack():
    x = sequence()
    layer = K.RNN([K.GRUCell(4), K.GRUCell(2)], return_state=True)
    return keras.Model(x, layer(x))


# --- masks ----------------------------------------------------------------------------


@case
def masking():
    x = sequence(name="masked")
    y = K.Masking(0.5)(x)
    found = [
        K.LSTM(4, return_sequences=True)(y),
        K.LSTM(4)(K.TimeDistributed(K.Dense(2))(K.Dropout(0.3)(y))),
        K.Bidirectional(K.GRU(4, return_sequences=True))(y),
        K.Bidirectional(K.LSTM(4), merge_mode="sum")(y),
        K.SimpleRNN(4, go_backwards=True, return_sequences=True)(y),
        K.RNN([K.LSTMCell(4), K.GRUCell(2)])(K.Activation("tanh")(y)),
        K.GlobalAveragePooling1D()(K.Dense(2)(y)),
    ]
    return keras.Model(x, found)


@case
def masking_in_series():
    x = sequence(name="masked")
    return keras.Sequential(
        [
            x,
            K.Masking(0.5),
            K.LayerNormalization(),
            K.LSTM(4, return_sequences=True),
            K.BatchNormalization(),
            K.Dropout(0.2),
            K.Bidirectional(K.LSTM(2, return_sequences=True)),
            K.GRU(5, go_backwards=True),
        ]
    )


@case
def masking_ends():
    x = sequence(name="masked")
    y = K.Masking(0.5)(x)
    z = K.Conv1D(4, 2, padding="causal")(y)
    twice = K.LSTM(3, go_backwards=True, return_sequences=True)(y)
    return keras.Model(x, [K.LSTM(4)(z), K.LSTM(4)(twice), K.GlobalMaxPooling1D()(y)])


@case
def masking_and_states():
    """Keras 3 does not mask a layer that is given states; its output is masked."""
    x = sequence(name="masked")
    y = K.Masking(0.5)(x)
    _, *states = K.LSTM(4, return_state=True)(y)
    z = K.LSTM(4, return_sequences=True)(y, initial_state=states)
    both = K.Bidirectional(K.GRU(2, return_sequences=True))(
        y, initial_state=[K.Dense(2)(states[0]), K.Dense(2)(states[1])]
    )
    return keras.Model(x, [z, K.GRU(3)(z), both])


@case
def masked_branches_side_by_side():
    x = sequence(name="masked")
    y = K.Masking(0.5)(x)
    z = K.LSTM(4, return_sequences=True)(y)
    return keras.Model(x, K.GRU(3)(K.Dense(4)(K.Concatenate()([y, z]))))


@case
def embedding():
    x = K.Input((None,), dtype="int32")
    y = K.Embedding(9, 4, mask_zero=True)(x)
    z = K.Embedding(9, 2)(x)
    together = K.Add()([y, K.Dense(4)(y)])
    return keras.Model(
        x, [K.LSTM(3)(y), K.GRU(3, return_sequences=True)(z), K.GRU(2)(together)]
    )


@case
def embedding_of_fixed_length():
    return keras.Sequential(
        [K.Input((7,), dtype="int32"), K.Embedding(9, 4), K.Flatten(), K.Dense(2)]
    )


# --- pointwise ------------------------------------------------------------------------


@case
def activations():
    x = sequence()
    names = (
        "relu sigmoid tanh softmax softplus softsign elu selu exponential gelu silu "
        "hard_sigmoid hard_silu relu6 leaky_relu mish log_softmax celu log_sigmoid"
    )
    layers = [
        *(K.Activation(name) for name in names.split()),
        K.ReLU(),
        K.ReLU(max_value=0.4),
        K.ReLU(negative_slope=0.3),
        K.ReLU(threshold=0.25),
        K.LeakyReLU(),
        K.LeakyReLU(negative_slope=0.07),
        K.ELU(0.7),
        K.PReLU(shared_axes=[1]),
        K.Softmax(),
        K.Rescaling(2.5, -0.25),
        K.GaussianNoise(0.1),
        K.GaussianDropout(0.1),
        K.SpatialDropout1D(0.1),
        K.ActivityRegularization(0.1),
        K.Dense(4, activation=K.LeakyReLU(negative_slope=0.2)),
        K.Dense(4, activation="softmax", use_bias=False),
    ]
    return keras.Model(x, [layer(x) for layer in layers])


@case
def normalisations():
    x = sequence()
    fixed = {"mean": [0.3, -1.0, 20.0], "variance": [1.7, 0.2, 3.0]}
    layers = [
        K.BatchNormalization(),
        K.BatchNormalization(axis=2, epsilon=0.1, center=False),
        K.BatchNormalization(scale=False),
        K.LayerNormalization(),
        K.LayerNormalization(epsilon=0.2, center=False, scale=False),
        K.Normalization(**fixed),
        K.Normalization(**fixed, invert=True),
        K.Normalization(),
    ]
    return keras.Model(x, [layer(x) for layer in layers])


# --- along time -----------------------------------------------------------------------


@case
def convolutions():
    x = sequence(features=4)
    layers = [
        K.Conv1D(5, 3),
        K.Conv1D(5, 3, padding="same", strides=2, activation="relu"),
        K.Conv1D(5, 2, padding="causal", dilation_rate=2),
        K.Conv1D(6, 3, groups=2, use_bias=False),
        K.SeparableConv1D(5, 3, depth_multiplier=2, activation="tanh"),
        K.SeparableConv1D(5, 2, padding="same", use_bias=False),
        K.DepthwiseConv1D(3, depth_multiplier=2, padding="same"),
    ]
    return keras.Model(x, [layer(x) for layer in layers])


@case
def poolings():
    x = sequence()
    layers = [
        K.MaxPooling1D(),
        K.MaxPooling1D(3, strides=2, padding="same"),
        K.AveragePooling1D(3, strides=1),
        K.AveragePooling1D(3, strides=2, padding="same"),
        K.GlobalMaxPooling1D(),
        K.GlobalAveragePooling1D(),
        K.GlobalAveragePooling1D(keepdims=True),
        K.Cropping1D((1, 2)),
    ]
    return keras.Model(x, [layer(x) for layer in layers])


@case
def flattened_convolution():
    return series(
        K.Conv1D(4, 3, strides=2), K.MaxPooling1D(2, padding="same"), K.Flatten(),
        K.Dense(2, activation="softmax"), steps=7,
    )  # fmt: skip


@case
def images_in_time():
    x = K.Input((5, 6, 2))
    y = K.TimeDistributed(K.Conv1D(4, 3, activation="relu"))(x)
    y = K.TimeDistributed(K.MaxPooling1D(2))(y)
    z = K.TimeDistributed(K.GlobalAveragePooling1D())(y)
    y = K.TimeDistributed(K.Flatten())(y)
    return keras.Model(x, [K.LSTM(3)(y), z])


@case
def pictures_in_time():
    inner = keras.Sequential(
        [K.Input((6, 5, 2)), K.Conv2D(3, (3, 2)), K.AveragePooling2D(2), K.Flatten()]
    )
    x = K.Input((4, 6, 5, 2))
    return keras.Model(x, K.LSTM(3)(K.TimeDistributed(inner)(x)))


# --- shapes ---------------------------------------------------------------------------


@case
def shapes():
    x = sequence(7)
    v = K.Dense(6, activation="tanh")(K.Flatten()(x))
    y = K.LSTM(2, return_sequences=True)(K.RepeatVector(5)(v))
    z = K.LSTM(3)(K.Reshape((3, 2))(v))
    w = K.Reshape((-1,))(y)
    u = K.SimpleRNN(2)(K.Reshape((3, 7))(x))
    return keras.Model(x, [y, z, w, u, K.Reshape((7, 3))(x)])


@case
def numbers_to_sequence():
    x = K.Input((7,))
    return keras.Model(x, K.LSTM(3)(K.Reshape((7, 1))(x)))


@case
def vectors():
    return keras.Sequential([K.Input((4,)), K.Dense(5, activation="relu"), K.Dense(2)])


# --- branches -------------------------------------------------------------------------


@case
def branches():
    x, v = sequence(), K.Input((4,))
    a = K.LSTM(4, return_sequences=True)(x)
    b = K.Dense(4)(x)
    found = [
        layer([a, b])
        for layer in (K.Add(), K.Subtract(), K.Multiply(), K.Average(), K.Maximum(),
                      K.Minimum(), K.Concatenate())
    ]  # fmt: skip
    found.append(K.Add()([a, b, found[0]]))
    found.append(K.Concatenate()([v, K.GlobalMaxPooling1D()(a)]))
    return keras.Model([x, v], found)


@case
def operations():
    ops = keras.ops
    x = sequence(7)
    y = K.LSTM(4, return_sequences=True)(x)
    last = y[:, -1, :]
    found = [
        last, y[:, 0], y[:, 2], y[:, -3, :], y[:, 1:5:2], y[:, :, 1:3], last[:, :2],
        y * 2.0, 2.0 - y, y / 4.0, y + last[:, None, :], y - y * y, last * last,
        ops.concatenate([y, x], axis=-1), ops.relu(y), ops.tanh(last),
        ops.mean(y, axis=1), ops.max(y, axis=1), ops.flip(y, axis=1),
        ops.softmax(last), ops.expand_dims(last, 1), ops.reshape(y, (-1, 28)),
        ops.squeeze(K.Dense(1)(y), -1),
        ops.expand_dims(K.Dense(1)(y)[:, :, 0], -1), ops.sigmoid(y[..., 1:]),
        ops.maximum(y[:, :, :3], x), -y,
    ]  # fmt: skip
    return keras.Model(x, found)


@case
def models_in_models():
    inner = keras.Sequential(
        [sequence(), K.BatchNormalization(), K.LSTM(4, return_sequences=True)],
        name="encoder",
    )
    a, b = sequence(), sequence(features=4)
    branch = keras.Model([a, b], [K.Add()([K.Dense(4)(a), b]), K.Dense(2)(b)])
    x = sequence()
    y, z = branch([x, inner(x)])
    return keras.Model(x, [K.BatchNormalization()(K.LSTM(2)(y)), z])


@case
def shared_layers():
    x, z = sequence(), sequence()
    layer, dense = K.LSTM(4), K.Dense(2)
    twin = keras.Sequential([sequence(), K.GRU(3)])
    u = sequence()
    pair = keras.Model(u, K.SimpleRNN(3)(u))
    first, second = pair(x), pair(z)
    found = [dense(layer(x)), dense(layer(z)), K.Add()([twin(x), twin(z)])]
    return keras.Model([x, z], [*found, first, K.Dense(2)(second)])


@case
def series_in_series():
    front = keras.Sequential([sequence(), K.Conv1D(4, 3), K.Dropout(0.1)])
    return keras.Sequential([front, K.LSTM(3), K.Dense(2)])
