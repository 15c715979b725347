"""Remedies for mistakes in the equations: activations, gates, normalising layers."""

from __future__ import annotations

from .remedy import ANSWERS, DOC, GITHUB, Remedy, lines

_LSTM = DOC + "nnet.cnn.layer.lstmlayer.html"
_GATE = "the gates of {layers} use {wrong} instead of {right}"
_GATE_DO = (
    "Read GateActivationFunction of the layer and use that function for every "
    "gate; hard-sigmoid is min(1, max(0, 0.2 x + 0.5)) in MATLAB."
)
_GATE_MET = GITHUB + "tensorflow/tensorflow/issues/65381"
_STATE = "in {layers} {wrong} stands where {right} belongs (state activation)"
_STATE_DO = (
    "Read StateActivationFunction of the layer and use that function for the "
    "candidate and for the cell state."
)
_CANDIDATE = "the candidate of {layers} goes through {wrong} instead of {right}"
_CANDIDATE_DO = (
    "Use the state activation of the layer, tanh unless it says otherwise, "
    "for the candidate too."
)
_STATE_MET = GITHUB + "pytorch/glow/issues/3939"
_CANDIDATE_GRU = lines(
    "n = {wrong:a[2*H:3*H] + r * v[2*H:3*H]}",
    "n = {right:a[2*H:3*H] + r * v[2*H:3*H]}",
)
_CANDIDATE_GRU_MATLAB = lines(
    "n = {wrong:a(2*H+1:3*H) + r.*v(2*H+1:3*H)};",
    "n = {right:a(2*H+1:3*H) + r.*v(2*H+1:3*H)};",
)

EQUATIONS = {
    "gate-activation": Remedy(
        _GATE,
        _GATE_DO,
        lines(
            """
            i = {wrong:z[0:H]}
            f = {wrong:z[H:2*H]}
            g = np.tanh(z[2*H:3*H])
            o = {wrong:z[3*H:4*H]}
            """,
            """
            i = {right:z[0:H]}
            f = {right:z[H:2*H]}
            g = np.tanh(z[2*H:3*H])
            o = {right:z[3*H:4*H]}
            """,
        ),
        lines(
            """
            i = {wrong:z(1:H)};
            f = {wrong:z(H+1:2*H)};
            g = tanh(z(2*H+1:3*H));
            o = {wrong:z(3*H+1:4*H)};
            """,
            """
            i = {right:z(1:H)};
            f = {right:z(H+1:2*H)};
            g = tanh(z(2*H+1:3*H));
            o = {right:z(3*H+1:4*H)};
            """,
        ),
        _GATE_MET,
    ),
    "gate-activation:gru": Remedy(
        _GATE,
        _GATE_DO,
        lines(
            """
            r = {wrong:a[0:H] + v[0:H]}
            z = {wrong:a[H:2*H] + v[H:2*H]}
            """,
            """
            r = {right:a[0:H] + v[0:H]}
            z = {right:a[H:2*H] + v[H:2*H]}
            """,
        ),
        lines(
            """
            r = {wrong:a(1:H) + v(1:H)};
            z = {wrong:a(H+1:2*H) + v(H+1:2*H)};
            """,
            """
            r = {right:a(1:H) + v(1:H)};
            z = {right:a(H+1:2*H) + v(H+1:2*H)};
            """,
        ),
        _GATE_MET,
    ),
    "state-activation": Remedy(
        _STATE,
        _STATE_DO,
        lines(
            """
            g = {wrong:z[2*H:3*H]}
            o = sigmoid(z[3*H:4*H])
            c = f * c + i * g
            h = o * {wrong:c}
            """,
            """
            g = {right:z[2*H:3*H]}
            o = sigmoid(z[3*H:4*H])
            c = f * c + i * g
            h = o * {right:c}
            """,
        ),
        lines(
            """
            g = {wrong:z(2*H+1:3*H)};
            o = sigmoid(z(3*H+1:4*H));
            c = f.*c + i.*g;
            h = o.*{wrong:c};
            """,
            """
            g = {right:z(2*H+1:3*H)};
            o = sigmoid(z(3*H+1:4*H));
            c = f.*c + i.*g;
            h = o.*{right:c};
            """,
        ),
        _STATE_MET,
    ),
    "state-activation:gru": Remedy(
        _STATE, _STATE_DO, _CANDIDATE_GRU, _CANDIDATE_GRU_MATLAB, _STATE_MET
    ),
    "candidate-activation": Remedy(
        _CANDIDATE,
        _CANDIDATE_DO,
        lines("g = {wrong:z[2*H:3*H]}", "g = {right:z[2*H:3*H]}"),
        lines("g = {wrong:z(2*H+1:3*H)};", "g = {right:z(2*H+1:3*H)};"),
        _STATE_MET,
    ),
    "candidate-activation:gru": Remedy(
        _CANDIDATE, _CANDIDATE_DO, _CANDIDATE_GRU, _CANDIDATE_GRU_MATLAB, _STATE_MET
    ),
    "cell-activation": Remedy(
        "the cell state of {layers} leaves through {wrong} instead of {right}",
        "Apply the state activation a second time, to c, before the output gate.",
        lines("h = o * {wrong:c}", "h = o * {right:c}"),
        lines("h = o.*{wrong:c};", "h = o.*{right:c};"),
        _LSTM,
    ),
    "old-cell-state": Remedy(
        "the output h of {layers} is computed from the cell state c before its update",
        "Compute the new cell state first, and the output from it.",
        lines(
            """
            h = o * np.tanh(c)
            c = f * c + i * g
            """,
            """
            c = f * c + i * g
            h = o * np.tanh(c)
            """,
        ),
        lines(
            """
            h = o.*tanh(c);
            c = f.*c + i.*g;
            """,
            """
            c = f.*c + i.*g;
            h = o.*tanh(c);
            """,
        ),
        _LSTM,
    ),
    "coupled-gates": Remedy(
        "the forget gate of {layers} is one minus the input gate (coupled gates)",
        "Compute the forget gate from its own rows of W, R and b.",
        lines("f = 1 - i", "f = sigmoid(z[H:2*H])"),
        lines("f = 1 - i;", "f = sigmoid(z(H+1:2*H));"),
        _LSTM,
    ),
    "update-inverted": Remedy(
        "the update gate of {layers} acts the other way round: it lets the candidate "
        "in where it should keep the state",
        "In MATLAB, torch and Keras the update gate z keeps the previous output; some "
        "papers and Haiku write it the other way.",
        lines("h = z * n + (1 - z) * h", "h = (1 - z) * n + z * h"),
        lines("h = z.*n + (1 - z).*h;", "h = (1 - z).*n + z.*h;"),
        "https://gitcode.net/paddlepaddle/Paddle/-/issues/5493",
    ),
    "reset-mode": Remedy(
        "the reset gate of {layers} acts {wrong_words} (reset gate mode {mode})",
        "Read ResetGateMode of the layer: the reset gate multiplies R h, or h, or R h "
        "together with its own bias.",
        lines("n = {wrong_n}", "n = {right_n}"),
        lines("n = {wrong_n};", "n = {right_n};"),
        GITHUB + "Tencent/ncnn/issues/1745",
    ),
    "activation-inserted": Remedy(
        "{wrong} is applied after {layers}, where the network has no such layer",
        "Look at the list of layers: a dropoutLayer does nothing in a prediction, and "
        "only a reluLayer is a relu.",
        lines("a1 = {wrong:h1}", "a1 = h1"),
        lines("a1 = {wrong:h1};", "a1 = h1;"),
        ANSWERS + "2068661",
    ),
    "activation-omitted": Remedy(
        "{right} is left out, in {layers}",
        "Apply the function of every activation layer between two others.",
        lines("a1 = h1", "a1 = {right:h1}"),
        lines("a1 = h1;", "a1 = {right:h1};"),
        GITHUB + "keras-team/keras/issues/13399",
    ),
    "activation-replaced": Remedy(
        "{wrong} is computed instead of {right} in {layers}",
        "Use the function that the layer in the file has.",
        lines("a1 = {wrong:h1}", "a1 = {right:h1}"),
        lines("a1 = {wrong:h1};", "a1 = {right:h1};"),
        _STATE_MET,
    ),
    "dropout-scaled": Remedy(
        "{layers} multiplies its input by {factor} (dropout in a prediction)",
        "Let a dropoutLayer pass its input unchanged: the scaling is done in training.",
        lines("a1 = {factor} * h1", "a1 = h1"),
        lines("a1 = {factor}*h1;", "a1 = h1;"),
        DOC + "nnet.cnn.layer.dropoutlayer.html",
    ),
    "normalisation-layer-omitted": Remedy(
        "{layers} is left out (a normalisation layer)",
        "Apply the saved offset, scale and statistics of the layer where it stands.",
        lines("a = h", "a = gamma * (h - m) / np.sqrt(v + 1e-05) + beta"),
        lines("A = h;", "A = gamma.*(h - m)./sqrt(v + 1e-05) + beta;"),
        DOC + "nnet.cnn.layer.layernormalizationlayer.html",
    ),
    "normalisation-over-time": Remedy(
        "{layers} takes mean and variance over time as well (layer normalisation)",
        "Take mean and variance over the features of each step; releases before R2023a "
        "took them over time too, so ask which one trained the network.",
        lines(
            """
            m = h.mean()
            v = h.var()
            """,
            """
            m = h.mean(axis=1, keepdims=True)
            v = h.var(axis=1, keepdims=True)
            """,
        ),
        lines(
            """
            m = mean(h(:));
            v = var(h(:), 1);
            """,
            """
            m = mean(h, 1);
            v = var(h, 1, 1);
            """,
        ),
        DOC + "nnet.cnn.layer.layernormalizationlayer.html",
    ),
    "epsilon": Remedy(
        "{layers} adds {value} to the variance instead of {right_value} (epsilon)",
        "Read Epsilon of the layer: the default is 1e-05 in MATLAB and torch, 0.001 in "
        "Keras.",
        lines(
            "a = gamma * (h - m) / np.sqrt(v + {value}) + beta",
            "a = gamma * (h - m) / np.sqrt(v + {right_value}) + beta",
        ),
        lines(
            "A = gamma.*(h - m)./sqrt(v + {value}) + beta;",
            "A = gamma.*(h - m)./sqrt(v + {right_value}) + beta;",
        ),
        DOC + "nnet.cnn.layer.layernormalizationlayer.html",
    ),
}
