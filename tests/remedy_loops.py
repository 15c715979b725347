"""Hand-written loops of two recurrent layers, as an engineer writes them.

Arrays are `(time, features)`. The lines of a remedy are excerpts of these programs, or
of the same in MATLAB, remedy_loops_matlab.py: `swap` puts others in their place.
"""

from __future__ import annotations

import textwrap

GAPS = ("# ...", "% ...")


def swap(program: str, old: str, new: str) -> str:
    """The program with an excerpt replaced, part by part where lines are left out."""
    parts = [_parts(old), _parts(new)]
    assert len(parts[0]) == len(parts[1]), "excerpts with different gaps"
    for out, into in zip(*parts, strict=True):
        program = _swap(program.splitlines(), out, into)
    return program


def _parts(excerpt: str) -> list[list[str]]:
    parts: list[list[str]] = [[]]
    for line in excerpt.splitlines():
        if line.strip() in GAPS:
            parts.append([])
        else:
            parts[-1].append(line)
    return parts


def _swap(lines: list[str], old: list[str], new: list[str]) -> str:
    wanted = "\n".join(old)
    found = [
        k
        for k in range(len(lines) - len(old) + 1)
        if textwrap.dedent("\n".join(lines[k : k + len(old)])) == wanted
    ]
    assert len(found) == 1, f"{len(found)} places for\n{wanted}\nin\n" + "\n".join(
        lines
    )
    k = found[0]
    indent = lines[k][: len(lines[k]) - len(lines[k].lstrip())]
    lines[k : k + len(old)] = [indent + line for line in new]
    return "\n".join(lines)


# --- NumPy ----------------------------------------------------------------------------

FUNCTIONS = """
def sigmoid(z): return 1 / (1 + np.exp(-z))
def hard_sigmoid(z): return np.clip(0.2 * z + 0.5, 0, 1)
def hard_sigmoid_keras3(z): return np.clip(z / 6 + 0.5, 0, 1)
def relu(z): return np.maximum(z, 0)
def softsign(z): return z / (1 + abs(z))
def softmax(z): return np.exp(z) / np.exp(z).sum()
"""
CELLS = {
    "lstm": """
def lstm(x, h, c, W, R, b):
    z = W @ x + R @ h + b
    i = sigmoid(z[0:H])
    f = sigmoid(z[H:2*H])
    g = np.tanh(z[2*H:3*H])
    o = sigmoid(z[3*H:4*H])
    c = f * c + i * g
    h = o * np.tanh(c)
    return h, c
""",
    "lstm-rows": """
def lstm(x, h, c, W, R, b):
    i = sigmoid(W[0:H] @ x + R[0:H] @ h + b[0:H])
    f = sigmoid(W[H:2*H] @ x + R[H:2*H] @ h + b[H:2*H])
    g = np.tanh(W[2*H:3*H] @ x + R[2*H:3*H] @ h + b[2*H:3*H])
    o = sigmoid(W[3*H:4*H] @ x + R[3*H:4*H] @ h + b[3*H:4*H])
    c = f * c + i * g
    h = o * np.tanh(c)
    return h, c
""",
    "peephole": """
def lstm(x, h, c, W, R, b):
    z = W @ x + R @ h + b
    i = sigmoid(z[0:H] + p_i * c)
    f = sigmoid(z[H:2*H] + p_f * c)
    g = np.tanh(z[2*H:3*H])
    c = f * c + i * g
    o = sigmoid(z[3*H:4*H] + p_o * c)
    h = o * np.tanh(c)
    return h, c
""",
    "gru": """
def gru(x, h, W, R, b):
    a, v = W @ x + b, R @ h
    r = sigmoid(a[0:H] + v[0:H])
    z = sigmoid(a[H:2*H] + v[H:2*H])
    n = np.tanh(a[2*H:3*H] + r * v[2*H:3*H])
    h = (1 - z) * n + z * h
    return h
""",
    "gru-rows": """
def gru(x, h, W, R, b):
    r = sigmoid(W[0:H] @ x + b[0:H] + R[0:H] @ h)
    z = sigmoid(W[H:2*H] @ x + b[H:2*H] + R[H:2*H] @ h)
    n = np.tanh(W[2*H:3*H] @ x + b[2*H:3*H] + r * (R[2*H:3*H] @ h))
    h = (1 - z) * n + z * h
    return h
""",
    "gru-modes": """
def gru(x, h, W, R, b):
    W_r, W_z, W_n = np.split(W, 3)
    R_r, R_z, R_n = np.split(R, 3)
    b_r, b_z, b_n = np.split(b, 3)
    r = sigmoid(W_r @ x + b_r + R_r @ h)
    z = sigmoid(W_z @ x + b_z + R_z @ h)
    n = np.tanh(W_n @ x + b_n + r * (R_n @ h))
    h = (1 - z) * n + z * h
    return h
""",
    "gru-biased": """
def gru(x, h, W, R, b):
    W_r, W_z, W_n = np.split(W, 3)
    R_r, R_z, R_n = np.split(R, 3)
    b_r, b_z, b_n = np.split(b, 3)
    bR_r, bR_z, bR_n = np.split(bR, 3)
    r = sigmoid(W_r @ x + b_r + R_r @ h + bR_r)
    z = sigmoid(W_z @ x + b_z + R_z @ h + bR_z)
    n = np.tanh(W_n @ x + b_n + r * (R_n @ h + bR_n))
    h = (1 - z) * n + z * h
    return h
""",
}
_READ = """
W1 = w1.reshape(4*H, C, order="F")
R1 = r1.reshape(4*H, H, order="F")
W3 = w3.reshape(O, H, order="F")
W1 = W1.astype(float)
R1 = R1.astype(float)
b1 = b1.astype(float)
mu = train.mean(axis=0)
sigma = train.std(axis=0, ddof=1)
"""
_ZERO = """
h1, c1 = np.zeros(H), np.zeros(H)
h2, c2 = np.zeros(H), np.zeros(H)
"""
_STEPS = """
for t in range(T):
    x = X[t]
    x = (x - mu) / sigma
    h1, c1 = lstm(x, h1, c1, W1, R1, b1)
    a1 = relu(h1)
    h2, c2 = lstm(a1, h2, c2, W2, R2, b2)
    a2 = relu(h2)
    y[t] = W3 @ a2 + b3
"""
_ONE_LAYER = """
X = recording
h1, c1 = np.zeros(H), np.zeros(H)
h = np.zeros((len(X), H))
for t in range(len(X)):
    h1, c1 = lstm(X[t], h1, c1, W1, R1, b1)
    h[t] = h1
"""
_BOTH_WAYS = """
X = recording
W_fw, W_bw = np.split(W, 2)
R_fw, R_bw = np.split(R, 2)
b_fw, b_bw = np.split(b, 2)
def run(X, W, R, b):
    h, c = np.zeros(H), np.zeros(H)
    y = []
    for x in X:
        h, c = lstm(x, h, c, W, R, b)
        y.append(h)
    return np.stack(y)
fw = run(X, W_fw, R_fw, b_fw)
bw = run(X[::-1], W_bw, R_bw, b_bw)
bw = bw[::-1]
"""


def within(header: str, body: str, indent: str = "    ", end: str = "") -> str:
    return f"{header}\n{textwrap.indent(body.strip(), indent)}\n{end}"


MAINS = {
    "regression": _READ
    + "X = recording\ny = np.zeros((T, O))\na1 = np.zeros(H)"
    + _ZERO.rstrip()
    + _STEPS
    + "prediction = y",
    "runs": _READ
    + "X = recording\ny = np.zeros((T, O))\n"
    + within("for run in range(2):", _ZERO.rstrip() + _STEPS)
    + "prediction = y",
    "sequences": _READ
    + within(
        "for X in sequences:",
        _ZERO + "T = len(X)\ny = np.zeros((T, O))" + _STEPS,
    )
    + "prediction = y",
    "last": _READ
    + _ONE_LAYER
    + "a = h[-1]\nscores = W3 @ a + b3\nprediction = softmax(scores)",
    "answers": _READ
    + "prediction = []\nrecordings = sequences\n"
    + within(
        "for recording in recordings:",
        _ONE_LAYER
        + "a = h[-1]\nscores = W3 @ a + b3\nprediction.append(softmax(scores))",
    )
    + "prediction = np.stack(prediction)",
    "labels": _READ
    + _ONE_LAYER
    + "scores = h @ W3.T + b3\ne = np.exp(scores)\n"
    + "prediction = e / e.sum(axis=1, keepdims=True)",
    "norm": _READ
    + _ONE_LAYER
    + "m = h.mean(axis=1, keepdims=True)\nv = h.var(axis=1, keepdims=True)\n"
    + "a = gamma * (h - m) / np.sqrt(v + 1e-05) + beta\nprediction = a @ W3.T + b3",
    "bidirectional": _BOTH_WAYS + "a = np.hstack([fw, bw])\nprediction = a @ W4.T + b3",
    "bidirectional-last": _BOTH_WAYS
    + "a = np.concatenate([fw[-1], bw[0]])\nprediction = W4 @ a + b3",
}
_GRU = {
    "4*H": "3*H",
    "h1, c1 = lstm(x, h1, c1, ": "h1 = gru(x, h1, ",
    "h2, c2 = lstm(a1, h2, c2, ": "h2 = gru(a1, h2, ",
    "h, c = lstm(x, h, c, ": "h = gru(x, h, ",
    "h1, c1 = np.zeros(H), np.zeros(H)": "h1 = np.zeros(H)",
    "h2, c2 = np.zeros(H), np.zeros(H)": "h2 = np.zeros(H)",
}


def python(cell: str, main: str) -> str:
    """The program in NumPy."""
    text = MAINS[main]
    if cell.startswith("gru"):
        for old, new in _GRU.items():
            text = text.replace(old, new)
    return FUNCTIONS + CELLS[cell] + text
