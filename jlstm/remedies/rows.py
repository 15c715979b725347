"""Remedies for rows of the weights that are given to the wrong gate or turned."""

from __future__ import annotations

from .remedy import ANSWERS, GITHUB, Remedy, lines

_LSTM_ROWS = (
    "i = sigmoid(W[0:H] @ x + R[0:H] @ h + b[0:H])\n"
    "f = sigmoid(W[H:2*H] @ x + R[H:2*H] @ h + b[H:2*H])\n"
    "g = np.tanh(W[2*H:3*H] @ x + R[2*H:3*H] @ h + b[2*H:3*H])\n"
    "o = sigmoid(W[3*H:4*H] @ x + R[3*H:4*H] @ h + b[3*H:4*H])"
)
_LSTM_ROWS_MATLAB = (
    "i = sigmoid(W(1:H,:)*x + R(1:H,:)*h + b(1:H));\n"
    "f = sigmoid(W(H+1:2*H,:)*x + R(H+1:2*H,:)*h + b(H+1:2*H));\n"
    "g = tanh(W(2*H+1:3*H,:)*x + R(2*H+1:3*H,:)*h + b(2*H+1:3*H));\n"
    "o = sigmoid(W(3*H+1:4*H,:)*x + R(3*H+1:4*H,:)*h + b(3*H+1:4*H));"
)
_GRU_ROWS = (
    "r = sigmoid(W[0:H] @ x + b[0:H] + R[0:H] @ h)\n"
    "z = sigmoid(W[H:2*H] @ x + b[H:2*H] + R[H:2*H] @ h)\n"
    "n = np.tanh(W[2*H:3*H] @ x + b[2*H:3*H] + r * (R[2*H:3*H] @ h))"
)
_GRU_ROWS_MATLAB = (
    "r = sigmoid(W(1:H,:)*x + b(1:H) + R(1:H,:)*h);\n"
    "z = sigmoid(W(H+1:2*H,:)*x + b(H+1:2*H) + R(H+1:2*H,:)*h);\n"
    "n = tanh(W(2*H+1:3*H,:)*x + b(2*H+1:3*H) + r.*(R(2*H+1:3*H,:)*h));"
)
# The same with the rows that the reader took, array by array, transposed or not.
_LSTM_READ = lines(
    """
    i = sigmoid(W[{iW}]{Wt} @ x + R[{iR}]{Rt} @ h + b[{ib}])
    f = sigmoid(W[{fW}]{Wt} @ x + R[{fR}]{Rt} @ h + b[{fb}])
    g = np.tanh(W[{gW}]{Wt} @ x + R[{gR}]{Rt} @ h + b[{gb}])
    o = sigmoid(W[{oW}]{Wt} @ x + R[{oR}]{Rt} @ h + b[{ob}])
    """,
    _LSTM_ROWS,
)
_LSTM_READ_MATLAB = lines(
    """
    i = sigmoid(W({iW},:){Wt}*x + R({iR},:){Rt}*h + b({ib}));
    f = sigmoid(W({fW},:){Wt}*x + R({fR},:){Rt}*h + b({fb}));
    g = tanh(W({gW},:){Wt}*x + R({gR},:){Rt}*h + b({gb}));
    o = sigmoid(W({oW},:){Wt}*x + R({oR},:){Rt}*h + b({ob}));
    """,
    _LSTM_ROWS_MATLAB,
)
_GRU_READ = lines(
    """
    r = sigmoid(W[{rW}]{Wt} @ x + b[{rb}] + R[{rR}]{Rt} @ h)
    z = sigmoid(W[{zW}]{Wt} @ x + b[{zb}] + R[{zR}]{Rt} @ h)
    n = np.tanh(W[{nW}]{Wt} @ x + b[{nb}] + r * (R[{nR}]{Rt} @ h))
    """,
    _GRU_ROWS,
)
_GRU_READ_MATLAB = lines(
    """
    r = sigmoid(W({rW},:){Wt}*x + b({rb}) + R({rR},:){Rt}*h);
    z = sigmoid(W({zW},:){Wt}*x + b({zb}) + R({zR},:){Rt}*h);
    n = tanh(W({nW},:){Wt}*x + b({nb}) + r.*(R({nR},:){Rt}*h));
    """,
    _GRU_ROWS_MATLAB,
)

_ORDER = (
    "the blocks of rows in {layers} are read in another order than they lie: "
    "as {order}, while the file has {lying} (gate order)"
)
_ONE_ORDER = (
    "in {layers} the blocks of rows of {array} alone are read in another order than "
    "they lie: as {order}, while the file has {lying} (gate order)"
)
_ONE_ORDER_DO = "Take the row blocks of W, R and b in one order: {lying} in MATLAB."
_LSTM_ORDER = (
    "Take the row blocks of MATLAB in the order i, f, g, o: input, forget, "
    "candidate, output."
)
_GRU_ORDER = (
    "Take the row blocks of MATLAB in the order r, z, n: reset, update, candidate."
)
_RECURRENT = (
    "the matrix that multiplies the previous output h is turned on its side in "
    "{layers} (R transposed, in every gate)"
)
_RECURRENT_DO = (
    "Multiply R @ h with a row of R for each unit that is computed; weights "
    "stored for h @ U, as Keras does, are transposed once, U.T."
)
_INPUT = (
    "the matrix that multiplies the input is turned on its side in {layers} "
    "(W transposed{and_R}, in every gate)"
)
_INPUT_DO = (
    "Multiply W @ x with a row of W for each unit that is computed; no error "
    "warns you, because here W is square in every gate."
)
_KERAS_TRANSPOSED = GITHUB + "keras-team/keras/issues/8440"
ROWS = {
    "gate-order": Remedy(
        _ORDER,
        _LSTM_ORDER,
        lines(
            """
            i = sigmoid(z[{i}])
            f = sigmoid(z[{f}])
            g = np.tanh(z[{g}])
            o = sigmoid(z[{o}])
            """,
            """
            i = sigmoid(z[0:H])
            f = sigmoid(z[H:2*H])
            g = np.tanh(z[2*H:3*H])
            o = sigmoid(z[3*H:4*H])
            """,
        ),
        lines(
            """
            i = sigmoid(z({i}));
            f = sigmoid(z({f}));
            g = tanh(z({g}));
            o = sigmoid(z({o}));
            """,
            """
            i = sigmoid(z(1:H));
            f = sigmoid(z(H+1:2*H));
            g = tanh(z(2*H+1:3*H));
            o = sigmoid(z(3*H+1:4*H));
            """,
        ),
        GITHUB + "keras-team/keras/issues/3088",
    ),
    "gate-order:gru": Remedy(
        _ORDER,
        _GRU_ORDER,
        lines(
            """
            r = sigmoid(a[{r}] + v[{r}])
            z = sigmoid(a[{z}] + v[{z}])
            n = np.tanh(a[{n}] + r * v[{n}])
            """,
            """
            r = sigmoid(a[0:H] + v[0:H])
            z = sigmoid(a[H:2*H] + v[H:2*H])
            n = np.tanh(a[2*H:3*H] + r * v[2*H:3*H])
            """,
        ),
        lines(
            """
            r = sigmoid(a({r}) + v({r}));
            z = sigmoid(a({z}) + v({z}));
            n = tanh(a({n}) + r.*v({n}));
            """,
            """
            r = sigmoid(a(1:H) + v(1:H));
            z = sigmoid(a(H+1:2*H) + v(H+1:2*H));
            n = tanh(a(2*H+1:3*H) + r.*v(2*H+1:3*H));
            """,
        ),
        GITHUB + "keras-team/keras/issues/15915",
    ),
    "gate-order:transposed": Remedy(
        _ORDER + ", and {matrices} transposed",
        _LSTM_ORDER,
        _LSTM_READ,
        _LSTM_READ_MATLAB,
        GITHUB + "keras-team/keras/issues/3088",
    ),
    "gate-order:gru-transposed": Remedy(
        _ORDER + ", and {matrices} transposed",
        _GRU_ORDER,
        _GRU_READ,
        _GRU_READ_MATLAB,
        GITHUB + "keras-team/keras/issues/15915",
    ),
    "gate-order:of": Remedy(
        _ONE_ORDER,
        _ONE_ORDER_DO,
        _LSTM_READ,
        _LSTM_READ_MATLAB,
        GITHUB + "keras-team/keras/issues/3088",
    ),
    "gate-order:gru-of": Remedy(
        _ONE_ORDER,
        _ONE_ORDER_DO,
        _GRU_READ,
        _GRU_READ_MATLAB,
        GITHUB + "keras-team/keras/issues/15915",
    ),
    "interleaved": Remedy(
        "the rows in {layers} are taken as all gates of unit 1, all gates of unit 2 "
        "and so on, while each gate has one block of rows (interleaved gates)",
        "Take the first H rows for the gate i, the next H for f, then g, then o.",
        lines(
            """
            i = sigmoid(z[0::4])
            f = sigmoid(z[1::4])
            g = np.tanh(z[2::4])
            o = sigmoid(z[3::4])
            """,
            """
            i = sigmoid(z[0:H])
            f = sigmoid(z[H:2*H])
            g = np.tanh(z[2*H:3*H])
            o = sigmoid(z[3*H:4*H])
            """,
        ),
        lines(
            """
            i = sigmoid(z(1:4:end));
            f = sigmoid(z(2:4:end));
            g = tanh(z(3:4:end));
            o = sigmoid(z(4:4:end));
            """,
            """
            i = sigmoid(z(1:H));
            f = sigmoid(z(H+1:2*H));
            g = tanh(z(2*H+1:3*H));
            o = sigmoid(z(3*H+1:4*H));
            """,
        ),
        ANSWERS + "2005887",
    ),
    "interleaved:gru": Remedy(
        "the rows in {layers} are taken as all gates of unit 1, all gates of unit 2 "
        "and so on, while each gate has one block of rows (interleaved gates)",
        "Take the first H rows for the gate r, the next H for z, then n.",
        lines(
            """
            r = sigmoid(a[0::3] + v[0::3])
            z = sigmoid(a[1::3] + v[1::3])
            n = np.tanh(a[2::3] + r * v[2::3])
            """,
            """
            r = sigmoid(a[0:H] + v[0:H])
            z = sigmoid(a[H:2*H] + v[H:2*H])
            n = np.tanh(a[2*H:3*H] + r * v[2*H:3*H])
            """,
        ),
        lines(
            """
            r = sigmoid(a(1:3:end) + v(1:3:end));
            z = sigmoid(a(2:3:end) + v(2:3:end));
            n = tanh(a(3:3:end) + r.*v(3:3:end));
            """,
            """
            r = sigmoid(a(1:H) + v(1:H));
            z = sigmoid(a(H+1:2*H) + v(H+1:2*H));
            n = tanh(a(2*H+1:3*H) + r.*v(2*H+1:3*H));
            """,
        ),
        ANSWERS + "2005887",
    ),
    "recurrent-transposed": Remedy(
        _RECURRENT, _RECURRENT_DO, _LSTM_READ, _LSTM_READ_MATLAB, _KERAS_TRANSPOSED
    ),
    "recurrent-transposed:gru": Remedy(
        _RECURRENT, _RECURRENT_DO, _GRU_READ, _GRU_READ_MATLAB, _KERAS_TRANSPOSED
    ),
    "input-transposed": Remedy(
        _INPUT, _INPUT_DO, _LSTM_READ, _LSTM_READ_MATLAB, _KERAS_TRANSPOSED
    ),
    "input-transposed:gru": Remedy(
        _INPUT, _INPUT_DO, _GRU_READ, _GRU_READ_MATLAB, _KERAS_TRANSPOSED
    ),
}
