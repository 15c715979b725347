"""Files of Keras 1 and 2, and weights without a model, against NumPy in float64."""

import json

import h5py
import jax
import keras_old as old
import numpy as np
import pytest

import jlstm as jl
from jlstm import layers as L
from jlstm.errors import JlstmError
from jlstm.formats import keras

C, H, T = 3, 4, 6
SHAPE = [None, None, C]


@pytest.fixture
def x(rng):
    return rng.normal(size=(T, C)).astype(np.float32)


def arrays(rng, gates=4, hidden=H, features=C, biases=1):
    bias = (gates * hidden,) if biases == 1 else (2, gates * hidden)
    return [
        old.normal(rng, features, gates * hidden),
        old.normal(rng, hidden, gates * hidden),
        old.normal(rng, *bias),
    ]


def load(tmp_path, config, weights, **kwargs):
    layers = kwargs.pop("layers", None)
    path = old.write(tmp_path / "net.h5", config, weights, **kwargs)
    net, golden = keras.load(path, layers)
    assert golden == []
    return net


def close(y, want, tolerance=1e-6):
    y = np.asarray(y)
    assert y.shape == want.shape
    assert np.abs(y - want).max() <= tolerance * max(1, np.abs(want).max())


def one_lstm(**config):
    return old.sequential(
        old.recurrent(
            "LSTM",
            "lstm_1",
            H,
            return_sequences=True,
            batch_input_shape=SHAPE,
            **config,
        )
    )


# --- what the version decides ---------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "slope"),
    [("1.2.2", 0.2), ("2.2.4", 0.2), ("2.15.0", 0.2), ("3.4.1", 1 / 6)],
)
def test_hard_sigmoid_by_version(tmp_path, rng, x, version, slope):
    weights = arrays(rng)
    config = one_lstm(recurrent_activation="hard_sigmoid")
    if version.startswith("1"):
        config["config"]["layers"][0]["config"]["consume_less"] = "gpu"
    net = load(tmp_path, config, {"lstm_1": weights}, version=version)
    close(jl.predict(net, x), old.lstm(x, *weights, gate=old.hard(slope)))


def test_hard_sigmoid_without_a_version_is_refused(tmp_path, rng):
    config = one_lstm(recurrent_activation="hard_sigmoid")
    del config["config"]["layers"][0]["config"]["kernel_initializer"]
    with pytest.raises(JlstmError, match="slope of hard_sigmoid"):
        load(tmp_path, config, {"lstm_1": arrays(rng)}, version=None)


@pytest.mark.parametrize(
    ("version", "gate"),
    [("2.2.5", old.hard(0.2)), ("2.3.0", old.sigmoid), ("2.12.0", old.sigmoid)],
)
def test_default_gates_by_version(tmp_path, rng, x, version, gate):
    weights = arrays(rng)
    config = one_lstm(recurrent_activation=None)
    net = load(tmp_path, config, {"lstm_1": weights}, version=version)
    close(jl.predict(net, x), old.lstm(x, *weights, gate=gate))


@pytest.mark.parametrize("version", ["2.2.4-tf", None])
def test_default_gates_of_two_meanings_are_refused(tmp_path, rng, version):
    config = one_lstm(recurrent_activation=None)
    with pytest.raises(JlstmError, match="activation of the gates"):
        load(tmp_path, config, {"lstm_1": arrays(rng)}, version=version)


def test_leaky_relu_has_the_slope_of_its_form(tmp_path, rng):
    vector = rng.normal(size=5).astype(np.float32)
    for activation, slope in (
        ("leaky_relu", 0.2),
        ({"class_name": "LeakyReLU", "config": {"name": "a", "alpha": 0.07}}, 0.07),
        ({"class_name": "LeakyReLU", "config": {"name": "a"}}, 0.3),
    ):
        config = old.sequential(
            old.layer("Dense", "d", units=2, activation=activation, use_bias=True,
                      batch_input_shape=[None, 5])
        )  # fmt: skip
        kernel, bias = old.normal(rng, 5, 2), np.float32([-2, -3])
        net = load(tmp_path, config, {"d": [kernel, bias]})
        y = vector @ np.float64(kernel) + bias
        close(jl.predict(net, vector), np.where(y > 0, y, slope * y))


def test_epsilon_of_normalisations_is_that_of_keras(tmp_path, rng, x):
    config = old.sequential(
        old.layer("BatchNormalization", "b", axis=[2], momentum=0.99, scale=True,
                  center=True, batch_input_shape=SHAPE)
    )  # fmt: skip
    gamma, beta, mean = (old.normal(rng, C) for _ in range(3))
    variance = np.abs(old.normal(rng, C)) * 1e-2
    net = load(tmp_path, config, {"b": [gamma, beta, mean, variance]})
    want = gamma * (np.float64(x) - mean) / np.sqrt(variance + 1e-3) + beta
    close(jl.predict(net, x), want, 2e-6)


# --- cuDNN ----------------------------------------------------------------------------


def cudnn(kernel, recurrent, gates):
    """Each gate's `(H, C)` matrix, row by row, in an array of shape `(C, H)`."""
    hidden = recurrent.shape[0]

    def packed(matrix):
        parts = np.split(matrix, gates, axis=1)
        return np.hstack([p.T.ravel().reshape(-1, hidden) for p in parts])

    return packed(kernel), packed(recurrent)


@pytest.mark.parametrize("class_name", ["CuDNNLSTM", "LSTM"])
def test_cudnn_lstm(tmp_path, rng, x, class_name):
    kernel, recurrent, bias = arrays(rng)
    second = old.normal(rng, 4 * H)
    stored = [*cudnn(kernel, recurrent, 4), np.concatenate([bias, second])]
    config = old.sequential(
        old.recurrent(
            class_name, "c", H, return_sequences=True, batch_input_shape=SHAPE,
            time_major=False,
        )
    )  # fmt: skip
    net = load(tmp_path, config, {"c": stored}, version="2.2.4")
    close(jl.predict(net, x), old.lstm(x, kernel, recurrent, bias + second))


@pytest.mark.parametrize("class_name", ["CuDNNGRU", "GRU"])
def test_cudnn_gru(tmp_path, rng, x, class_name):
    kernel, recurrent, biases = arrays(rng, 3, biases=2)
    stored = [*cudnn(kernel, recurrent, 3), biases.ravel()]
    more = {"reset_after": True} if class_name == "GRU" else {}
    config = old.sequential(
        old.recurrent(
            class_name, "c", H, return_sequences=True, batch_input_shape=SHAPE, **more
        )
    )
    net = load(tmp_path, config, {"c": stored}, version="2.2.4")
    close(jl.predict(net, x), old.gru(x, kernel, recurrent, biases))


def test_gru_without_reset_after_in_a_file_of_before(tmp_path, rng, x):
    weights = arrays(rng, 3)
    config = old.sequential(
        old.recurrent(
            "GRU", "g", H, return_sequences=True, batch_input_shape=SHAPE,
            recurrent_activation="hard_sigmoid",
        )
    )  # fmt: skip
    net = load(tmp_path, config, {"g": weights}, version="2.1.6")
    want = old.gru_before(x, *weights, gate=old.hard(0.2))
    close(jl.predict(net, x), want)


# --- Keras 1 --------------------------------------------------------------------------


def keras_one(class_name, name, units, **config):
    settings = dict(
        output_dim=units, activation="tanh", inner_activation="hard_sigmoid",
        init="glorot_uniform", inner_init="orthogonal", forget_bias_init="one",
        return_sequences=True, go_backwards=False, stateful=False, unroll=False,
        consume_less="cpu", dropout_W=0.0, dropout_U=0.0, W_regularizer=None,
        input_dim=C, input_length=None, input_dtype="float32",
    )  # fmt: skip
    return old.layer(class_name, name, **{**settings, **config})


def test_keras_1_has_an_array_for_every_matrix(tmp_path, rng, x):
    parts = {g: arrays(rng, 1) for g in "icfo"}
    gates = {g: arrays(rng, 1, 5, H) for g in "zrh"}
    dense = [old.normal(rng, 5, 2), old.normal(rng, 2)]
    config = old.sequential(
        keras_one("LSTM", "l", H, batch_input_shape=SHAPE),
        keras_one("GRU", "g", 5),
        old.layer("TimeDistributed", "t", layer=old.layer(
            "Dense", "d", output_dim=2, bias=True, init="glorot_uniform",
            activation="linear", W_regularizer=None,
        )),
    )  # fmt: skip
    # Before Keras 2 the configuration of a Sequential was a list.
    config["config"] = config["config"]["layers"]
    stored = {
        "l": [a for g in "icfo" for a in parts[g]],
        "g": [a for g in "zrh" for a in gates[g]],
        "t": dense,
    }
    net = load(tmp_path, config, stored, version="1.1.0")

    def joined(found, order):
        return [np.concatenate([found[g][k] for g in order], -1) for k in range(3)]

    y = old.lstm(x, *joined(parts, "ifco"), gate=old.hard(0.2))
    y = old.gru_before(y, *joined(gates, "zrh"), gate=old.hard(0.2))
    close(jl.predict(net, x), y @ dense[0] + dense[1])


def test_keras_1_0_says_no_version(tmp_path, rng, x):
    weights = arrays(rng)
    config = old.sequential(
        keras_one("LSTM", "l", H, batch_input_shape=SHAPE, consume_less="gpu")
    )
    net = load(tmp_path, config, {"l": weights}, version=None)
    close(jl.predict(net, x), old.lstm(x, *weights, gate=old.hard(0.2)))


# --- graphs of before Keras 3 ---------------------------------------------------------


def test_encoder_and_decoder_with_states_and_slices(tmp_path, rng, x):
    z = rng.normal(size=(5, 2)).astype(np.float32)
    first, second = arrays(rng), arrays(rng, features=2)
    config = old.functional(
        [
            (old.layer("InputLayer", "x", batch_input_shape=SHAPE), []),
            (old.layer("InputLayer", "z", batch_input_shape=[None, None, 2]), []),
            (old.recurrent("LSTM", "encoder", H, return_state=True),
             [[["x", 0, 0, {}]]]),
            (old.recurrent("LSTM", "decoder", H, return_sequences=True),
             [[["z", 0, 0, {}], ["encoder", 0, 1, {}], ["encoder", 0, 2, {}]]]),
            (old.layer("SlicingOpLambda", "cut", function="__operators__.getitem"),
             [["decoder", 0, 0, {"slice_spec": [
                 {"start": None, "stop": None, "step": None}, -1,
                 {"start": None, "stop": None, "step": None}]}]]),
            (old.layer("TFOpLambda", "twice", function="math.multiply"),
             [["cut", 0, 0, {"y": 2.0, "name": None}]]),
            (old.layer("TFOpLambda", "sum", function="__operators__.add"),
             [["twice", 0, 0, {"y": ["encoder", 0, 1], "name": None}]]),
        ],
        [["x", 0, 0], ["z", 0, 0]],
        [["sum", 0, 0], ["encoder", 0, 2]],
    )  # fmt: skip
    net = load(tmp_path, config, {"encoder": first, "decoder": second})
    y, c = jl.predict(net, (x, z))
    kernel, recurrent, bias = map(np.float64, first)
    h, cell = np.zeros(H), np.zeros(H)
    for x_t in x:
        i, f, g, o = np.split(x_t @ kernel + h @ recurrent + bias, 4)
        cell = old.sigmoid(f) * cell + old.sigmoid(i) * np.tanh(g)
        h = old.sigmoid(o) * np.tanh(cell)
    close(c, cell)
    kernel, recurrent, bias = map(np.float64, second)
    s, d = h, cell
    for z_t in z:
        i, f, g, o = np.split(z_t @ kernel + s @ recurrent + bias, 4)
        d = old.sigmoid(f) * d + old.sigmoid(i) * np.tanh(g)
        s = old.sigmoid(o) * np.tanh(d)
    close(y, 2 * s + h)


def nested(trainable=True):
    inner = old.sequential(
        old.layer("BatchNormalization", "bn", axis=-1, epsilon=0.01, center=True,
                  scale=True, momentum=0.9, batch_input_shape=SHAPE,
                  trainable=trainable),
        old.layer("Dense", "d", units=2, activation="linear", use_bias=True,
                  trainable=trainable),
    )  # fmt: skip
    inner["config"]["name"] = "inner"
    return old.functional(
        [
            (old.layer("InputLayer", "x", batch_input_shape=SHAPE), []),
            (inner, [[["x", 0, 0, {}]]]),
            (old.layer("Activation", "a", activation="tanh"), [[["inner", 1, 0, {}]]]),
        ],
        [["x", 0, 0]],
        [["a", 0, 0]],
    )


@pytest.mark.parametrize("trainable", [True, False])
def test_arrays_of_nested_models_lie_trainable_first(tmp_path, rng, x, trainable):
    gamma, beta, mean = (old.normal(rng, C) for _ in range(3))
    variance = np.abs(old.normal(rng, C)) + 0.2
    kernel, bias = old.normal(rng, C, 2), old.normal(rng, 2)
    stored = [gamma, beta, kernel, bias, mean, variance]
    if not trainable:
        stored = [gamma, beta, mean, variance, kernel, bias]
    net = load(tmp_path, nested(trainable), {"x": [], "inner": stored, "a": []})
    assert list(net.layers) == ["x", "inner.bn", "inner.d", "a"]
    y = gamma * (np.float64(x) - mean) / np.sqrt(variance + 0.01) + beta
    close(jl.predict(net, x), np.tanh(y @ kernel + bias))


def test_masks_without_a_word_in_the_configuration(tmp_path, rng, x):
    x[0], x[3], x[-1] = 0, 0, 0
    weights = arrays(rng)
    config = old.sequential(
        old.layer("Masking", "m", mask_value=0.0, batch_input_shape=SHAPE),
        old.layer("Dropout", "p", rate=0.5, noise_shape=None, seed=None),
        old.recurrent("LSTM", "l", H),
    )
    net = load(tmp_path, config, {"m": [], "p": [], "l": weights})
    kept = x[np.any(x != 0, axis=-1)]
    assert len(kept) == T - 3
    close(jl.predict(net, x), old.lstm(kept, *weights)[-1])


def test_rescaling_ends_the_mask_before_keras_3(tmp_path, rng, x):
    """`supports_masking` of tf.keras 2.15; Keras 3 hands it on."""
    x[0], x[3], x[-1] = 0, 0, 0
    weights = arrays(rng)
    config = old.sequential(
        old.layer("Masking", "m", mask_value=0.0, batch_input_shape=SHAPE),
        old.layer("Rescaling", "s", scale=2.0, offset=0.5),
        old.recurrent("LSTM", "l", H),
    )
    net = load(tmp_path, config, {"l": weights}, version="2.15.0")
    close(jl.predict(net, x), old.lstm(2 * x + np.float32(0.5), *weights)[-1])


@pytest.mark.parametrize("multiplier", [1, 2])
def test_filters_of_single_channels_and_their_groups(tmp_path, rng, x, multiplier):
    kernel = old.normal(rng, 1, C, multiplier)
    bias = old.normal(rng, C * multiplier)
    config = old.sequential(
        old.layer(
            "DepthwiseConv1D", "d", kernel_size=[1], strides=[1], padding="valid",
            dilation_rate=[1], groups=1, depth_multiplier=multiplier, use_bias=True,
            activation="linear", data_format="channels_last", batch_input_shape=SHAPE,
        )
    )  # fmt: skip
    net = load(tmp_path, config, {"d": [kernel, bias]}, version="2.15.0")
    y = np.float64(x)[:, :, None] * kernel[0] + bias.reshape(C, multiplier)
    close(jl.predict(net, x), y.reshape(T, -1))


def test_long_lists_of_names_in_pieces(tmp_path, rng, x):
    dense = {f"d{k}": [old.normal(rng, C, C), old.normal(rng, C)] for k in range(5)}
    config = old.sequential(
        *(
            old.layer("Dense", name, units=C, activation="linear", use_bias=True,
                      **({"batch_input_shape": SHAPE} if name == "d0" else {}))
            for name in dense
        )
    )  # fmt: skip
    net = load(tmp_path, config, dense, chunks=3)
    y = np.float64(x)
    for kernel, bias in dense.values():
        y = y @ kernel + bias
    close(jl.predict(net, x), y)


# --- weights and configuration apart --------------------------------------------------


def test_weights_with_a_configuration_beside_them(tmp_path, rng, x):
    weights = arrays(rng)
    config = one_lstm() | {"keras_version": "2.4.0"}
    path = tmp_path / "model.json"
    path.write_text(json.dumps(config))
    for given in (config, path, str(path)):
        net = load(tmp_path, None, {"lstm_1": weights}, layers=given)
        assert not net.origin.notices
        close(jl.predict(net, x), old.lstm(x, *weights))
    net = load(tmp_path, None, {"in": [], "lstm_9": weights}, layers=config)
    assert "taken in their order" in net.origin.notices[0]
    with pytest.raises(JlstmError, match="weights without the layers"):
        load(tmp_path, None, {"lstm_1": weights})
    with pytest.raises(JlstmError, match="no use for layers"):
        load(tmp_path, config, {"lstm_1": weights}, layers=config)


def by_path(path, found):
    with h5py.File(path, "w") as file:
        for name, array in found.items():
            file.create_dataset(name, data=array)
    return path


def test_weights_by_path(tmp_path, rng, x):
    weights = arrays(rng)
    config = one_lstm()
    for stem in ("layers/lstm/cell/vars", "layers\\lstm\\cell\\vars"):
        mark = "\\" if "\\" in stem else "/"
        found = {f"{stem}{mark}{k}": a for k, a in enumerate(weights)}
        found |= {"optimizer/vars/0": np.zeros(3), "vars/x": np.zeros(0)}
        del found["vars/x"]
        net, _ = keras.load(by_path(tmp_path / "n.weights.h5", found), config)
        close(jl.predict(net, x), old.lstm(x, *weights))


def test_numbers_of_keras_2_12_are_only_an_order(tmp_path, rng, x):
    dense = [[old.normal(rng, C, C), old.normal(rng, C)] for _ in range(3)]
    config = old.sequential(
        *(
            old.layer("Dense", f"d{k}", units=C, activation="linear", use_bias=True,
                      batch_input_shape=SHAPE)
            for k in range(3)
        )
    )  # fmt: skip
    stem = "_layer_checkpoint_dependencies/"
    found = {
        f"{stem}{name}/vars/{k}": array
        for name, pair in zip(("dense", "dense_2", "dense_10"), dense, strict=True)
        for k, array in enumerate(pair)
    }
    net, _ = keras.load(by_path(tmp_path / "n.weights.h5", found), config)
    y = np.float64(x)
    for kernel, bias in dense:
        y = y @ kernel + bias
    close(jl.predict(net, x), y)


def test_halves_are_widened_and_doubles_stay(tmp_path, rng, x):
    weights = arrays(rng)
    halves = [a.astype(np.float16) for a in weights]
    net = load(tmp_path, one_lstm(), {"lstm_1": halves})
    assert net.dtype == np.float32 and "half precision" in net.origin.notices[0]
    close(jl.predict(net, x), old.lstm(x, *halves))
    doubles = [a.astype(np.float64) / 3 for a in weights]
    net = load(tmp_path, one_lstm(), {"lstm_1": doubles})
    assert net.dtype == np.float64
    kept = net.layers["lstm_1"].f.recurrent_weights
    assert np.array_equal(kept, doubles[1][:, H : 2 * H].T)
    with jax.enable_x64(True):
        close(jl.predict(net, np.float64(x)), old.lstm(x, *doubles), 1e-13)


def test_bfloat16(tmp_path, rng):
    kernel = old.normal(rng, C, 2)
    rounded = (kernel.view(np.uint32) >> 16).astype(np.uint16)
    config = old.sequential(
        old.layer("Dense", "d", units=2, use_bias=False, batch_input_shape=[None, C])
    )
    path = tmp_path / "n.weights.h5"
    with h5py.File(path, "w") as file:
        item = file.create_dataset("layers/dense/vars/0", data=rounded.view("V2"))
        item.attrs["dtype"] = "bfloat16"
    net, _ = keras.load(path, config)
    want = (rounded.astype(np.uint32) << 16).view(np.float32)
    layer = net.layers["d"]
    assert isinstance(layer, L.FullyConnected)
    assert np.array_equal(layer.weights, want.T)


def test_shape_that_a_model_was_built_on(tmp_path, rng, x):
    weights = arrays(rng)
    config = old.sequential(old.recurrent("LSTM", "l", H, return_sequences=True))
    shape = {"class_name": "TensorShape", "items": SHAPE}
    config["config"]["build_input_shape"] = shape
    net = load(tmp_path, config, {"l": weights})
    close(jl.predict(net, x), old.lstm(x, *weights))


def test_numbers_of_any_length_are_a_sequence(tmp_path, rng):
    table, weights = old.normal(rng, 9, C), arrays(rng)
    config = old.sequential(
        old.layer("Embedding", "e", input_dim=9, output_dim=C, mask_zero=True,
                  input_length=None, batch_input_shape=[None, None]),
        old.recurrent("LSTM", "l", H),
    )  # fmt: skip
    net = load(tmp_path, config, {"e": [table], "l": weights})
    words = np.array([0, 3, 8, 0, 1, 0])
    want = old.lstm(table[words[words != 0]], *weights)[-1]
    close(jl.predict(net, words[:, None]), want)
