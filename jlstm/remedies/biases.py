"""Remedies for biases, peepholes, and the weights of fully connected layers."""

from __future__ import annotations

from .remedy import DOC, GITHUB, Remedy, lines

_BIAS_DOUBLED = "the bias of {layers} is added twice"
_BIAS_DOUBLED_DO = (
    "Add the one bias of a MATLAB layer once; torch and cuDNN have two, "
    "one of which is then zero."
)
_BIAS_DOUBLED_MET = "https://forums.developer.nvidia.com/t/110569"
_BIAS_OMITTED = "the bias of {layers} is left out"
_BIAS_OMITTED_DO = "Add the bias b to W x + R h; where two biases are saved, add both."
_BIAS_OMITTED_MET = GITHUB + "google/flax/issues/3746"
_GATE_OMITTED = (
    "in {layers} {missing} left out, while the other gates have theirs (gate bias)"
)
_GATE_OMITTED_DO = (
    "Give every gate its own rows of the bias; where two biases are saved, add both."
)
_TWO_BIASES_DO = (
    "Add both biases of a layer whose ResetGateMode is "
    '"recurrent-bias-after-multiplication": one to W x, the other to R h.'
)
_TWO_BIASES_MET = GITHUB + "google/flax/issues/5594"
_FORGET_MET = GITHUB + "tensorflow/tensorflow/issues/29622"

BIASES = {
    "bias-doubled": Remedy(
        _BIAS_DOUBLED,
        _BIAS_DOUBLED_DO,
        lines("z = (W @ x + b) + (R @ h + b)", "z = W @ x + R @ h + b"),
        lines("z = (W*x + b) + (R*h + b);", "z = W*x + R*h + b;"),
        _BIAS_DOUBLED_MET,
    ),
    "bias-doubled:gru": Remedy(
        _BIAS_DOUBLED,
        _BIAS_DOUBLED_DO,
        lines("a, v = W @ x + b + b, R @ h", "a, v = W @ x + b, R @ h"),
        lines("a = W*x + b + b;  v = R*h;", "a = W*x + b;  v = R*h;"),
        _BIAS_DOUBLED_MET,
    ),
    "bias-omitted": Remedy(
        _BIAS_OMITTED,
        _BIAS_OMITTED_DO,
        lines("z = W @ x + R @ h", "z = W @ x + R @ h + b"),
        lines("z = W*x + R*h;", "z = W*x + R*h + b;"),
        _BIAS_OMITTED_MET,
    ),
    "bias-omitted:gru": Remedy(
        _BIAS_OMITTED,
        _BIAS_OMITTED_DO,
        lines("a, v = W @ x, R @ h", "a, v = W @ x + b, R @ h"),
        lines("a = W*x;  v = R*h;", "a = W*x + b;  v = R*h;"),
        _BIAS_OMITTED_MET,
    ),
    "bias-omitted:gate": Remedy(
        _GATE_OMITTED,
        _GATE_OMITTED_DO,
        lines(
            "{gate} = {squash:W[{rows}] @ x + R[{rows}] @ h}",
            "{gate} = {squash:W[{rows}] @ x + R[{rows}] @ h + b[{rows}]}",
        ),
        lines(
            "{gate} = {squash:W({rows},:)*x + R({rows},:)*h};",
            "{gate} = {squash:W({rows},:)*x + R({rows},:)*h + b({rows})};",
        ),
        _BIAS_OMITTED_MET,
    ),
    "bias-omitted:gate-gru": Remedy(
        _GATE_OMITTED,
        _GATE_OMITTED_DO,
        lines(
            "{gate} = sigmoid(W_{gate} @ x + R_{gate} @ h)",
            "{gate} = sigmoid(W_{gate} @ x + b_{gate} + R_{gate} @ h{plus_bR})",
        ),
        lines(
            "{gate} = sigmoid(W_{gate}*x + R_{gate}*h);",
            "{gate} = sigmoid(W_{gate}*x + b_{gate} + R_{gate}*h{plus_bR});",
        ),
        _BIAS_OMITTED_MET,
    ),
    "bias-omitted:candidate": Remedy(
        _GATE_OMITTED,
        _GATE_OMITTED_DO,
        lines(
            "n = np.tanh(W_n @ x + {reset})",
            "n = np.tanh(W_n @ x + b_n + {reset_bR})",
        ),
        lines(
            "n = tanh(W_n*x + {reset});",
            "n = tanh(W_n*x + b_n + {reset_bR});",
        ),
        _TWO_BIASES_MET,
    ),
    "bias-omitted:recurrent": Remedy(
        "in {layers} the recurrent bias is left out, the one that belongs to R h",
        _TWO_BIASES_DO,
        lines("a, v = W @ x + b, R @ h", "a, v = W @ x + b, R @ h + bR"),
        lines("a = W*x + b;  v = R*h;", "a = W*x + b;  v = R*h + bR;"),
        _TWO_BIASES_MET,
    ),
    "bias-omitted:input": Remedy(
        "in {layers} the input bias is left out, the one that belongs to W x",
        _TWO_BIASES_DO,
        lines("a, v = W @ x, R @ h + bR", "a, v = W @ x + b, R @ h + bR"),
        lines("a = W*x;  v = R*h + bR;", "a = W*x + b;  v = R*h + bR;"),
        _TWO_BIASES_MET,
    ),
    "forget-bias": Remedy(
        "in {layers} a further {amount} is added to the bias of the forget gate",
        "Use the saved bias as it is: the 1 with which training begins is already "
        "in it.",
        lines("f = sigmoid(z[H:2*H] + {amount})", "f = sigmoid(z[H:2*H])"),
        lines("f = sigmoid(z(H+1:2*H) + {amount});", "f = sigmoid(z(H+1:2*H));"),
        _FORGET_MET,
    ),
    "forget-bias:missing": Remedy(
        "in {layers} the bias of the forget gate is too small by {amount}",
        "Use the saved bias as it is; only cells of TensorFlow 1 add their "
        "forget_bias while they run.",
        lines("f = sigmoid(z[H:2*H] - {amount})", "f = sigmoid(z[H:2*H])"),
        lines("f = sigmoid(z(H+1:2*H) - {amount});", "f = sigmoid(z(H+1:2*H));"),
        _FORGET_MET,
    ),
    "peephole-omitted": Remedy(
        "in {layers} the gates do not look at the cell state c (peephole weights left "
        "out)",
        "Add p_i * c and p_f * c with the cell state before the step, and p_o * c with "
        "the one after it.",
        lines(
            """
            i = sigmoid(z[0:H])
            f = sigmoid(z[H:2*H])
            g = np.tanh(z[2*H:3*H])
            c = f * c + i * g
            o = sigmoid(z[3*H:4*H])
            """,
            """
            i = sigmoid(z[0:H] + p_i * c)
            f = sigmoid(z[H:2*H] + p_f * c)
            g = np.tanh(z[2*H:3*H])
            c = f * c + i * g
            o = sigmoid(z[3*H:4*H] + p_o * c)
            """,
        ),
        lines(
            """
            i = sigmoid(z(1:H));
            f = sigmoid(z(H+1:2*H));
            g = tanh(z(2*H+1:3*H));
            c = f.*c + i.*g;
            o = sigmoid(z(3*H+1:4*H));
            """,
            """
            i = sigmoid(z(1:H) + p_i.*c);
            f = sigmoid(z(H+1:2*H) + p_f.*c);
            g = tanh(z(2*H+1:3*H));
            c = f.*c + i.*g;
            o = sigmoid(z(3*H+1:4*H) + p_o.*c);
            """,
        ),
        GITHUB + "clab/dynet/issues/1646",
    ),
    "dense-transposed": Remedy(
        "the weights of {layers} are turned on their side (transposed)",
        "Multiply W @ x with a row of W for each output; a square W gives no error.",
        lines("y[t] = W3.T @ a2 + b3", "y[t] = W3 @ a2 + b3"),
        lines("Y(:,t) = W3'*a2 + b3;", "Y(:,t) = W3*a2 + b3;"),
        GITHUB + "keras-team/keras/issues/8440",
    ),
    "dense-bias-omitted": Remedy(
        "the bias of {layers} is left out",
        "Add the bias of the fully connected layer after the product.",
        lines("y[t] = W3 @ a2", "y[t] = W3 @ a2 + b3"),
        lines("Y(:,t) = W3*a2;", "Y(:,t) = W3*a2 + b3;"),
        DOC + "nnet.cnn.layer.fullyconnectedlayer.html",
    ),
    "dense-memory-order": Remedy(
        "the numbers of the weights of {layers}, written column by column, are filled "
        "in row by row (memory order)",
        'MATLAB stores arrays column by column: reshape with order="F" in NumPy, '
        "and without a transpose in MATLAB.",
        lines("W3 = w3.reshape(O, H)", 'W3 = w3.reshape(O, H, order="F")'),
        lines("W3 = reshape(w3, H, O)';", "W3 = reshape(w3, O, H);"),
        "https://www.mathworks.com/help/matlab/ref/reshape.html",
    ),
}
