"""Hand-written loops of two recurrent layers, as an engineer writes them.

In NumPy, arrays `(time, features)`, and in the language of MATLAB, features x time. The
lines of a remedy are excerpts of these programs: `swap` puts others in their place.
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
    assert len(found) == 1, f"{len(found)} places for\n{wanted}\nin\n" + "\n".join(lines)
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


def _within(header: str, body: str, indent: str = "    ", end: str = "") -> str:
    return f"{header}\n{textwrap.indent(body.strip(), indent)}\n{end}"


MAINS = {
    "regression": _READ
    + "X = recording\ny = np.zeros((T, O))\na1 = np.zeros(H)"
    + _ZERO.rstrip()
    + _STEPS
    + "prediction = y",
    "runs": _READ
    + "X = recording\ny = np.zeros((T, O))\n"
    + _within("for run in range(2):", _ZERO.rstrip() + _STEPS)
    + "prediction = y",
    "sequences": _READ
    + _within(
        "for X in sequences:",
        _ZERO + "T = len(X)\ny = np.zeros((T, O))" + _STEPS,
    )
    + "prediction = y",
    "last": _READ
    + _ONE_LAYER
    + "a = h[-1]\nscores = W3 @ a + b3\nprediction = softmax(scores)",
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


# --- MATLAB ---------------------------------------------------------------------------

FUNCTIONS_MATLAB = """
1;
function y = sigmoid(z), y = 1./(1 + exp(-z)); end
function y = hard_sigmoid(z), y = max(0, min(1, 0.2*z + 0.5)); end
function y = hard_sigmoid_keras3(z), y = max(0, min(1, z/6 + 0.5)); end
function y = relu(z), y = max(z, 0); end
function y = softsign(z), y = z./(1 + abs(z)); end
function y = softmax(z), y = exp(z)./sum(exp(z)); end
function y = half(v)
  [~, e] = log2(v);
  y = pow2(round(pow2(v, 11 - e)), e - 11);
end
"""
CELLS_MATLAB = {
    "lstm": """
function [h, c] = lstm(x, h, c, W, R, b)
  H = numel(h);
  z = W*x + R*h + b;
  i = sigmoid(z(1:H));
  f = sigmoid(z(H+1:2*H));
  g = tanh(z(2*H+1:3*H));
  o = sigmoid(z(3*H+1:4*H));
  c = f.*c + i.*g;
  h = o.*tanh(c);
end
""",
    "lstm-rows": """
function [h, c] = lstm(x, h, c, W, R, b)
  H = numel(h);
  i = sigmoid(W(1:H,:)*x + R(1:H,:)*h + b(1:H));
  f = sigmoid(W(H+1:2*H,:)*x + R(H+1:2*H,:)*h + b(H+1:2*H));
  g = tanh(W(2*H+1:3*H,:)*x + R(2*H+1:3*H,:)*h + b(2*H+1:3*H));
  o = sigmoid(W(3*H+1:4*H,:)*x + R(3*H+1:4*H,:)*h + b(3*H+1:4*H));
  c = f.*c + i.*g;
  h = o.*tanh(c);
end
""",
    "peephole": """
function [h, c] = lstm(x, h, c, W, R, b)
  global p_i p_f p_o
  H = numel(h);
  z = W*x + R*h + b;
  i = sigmoid(z(1:H) + p_i.*c);
  f = sigmoid(z(H+1:2*H) + p_f.*c);
  g = tanh(z(2*H+1:3*H));
  c = f.*c + i.*g;
  o = sigmoid(z(3*H+1:4*H) + p_o.*c);
  h = o.*tanh(c);
end
""",
    "gru": """
function h = gru(x, h, W, R, b)
  H = numel(h);
  a = W*x + b;  v = R*h;
  r = sigmoid(a(1:H) + v(1:H));
  z = sigmoid(a(H+1:2*H) + v(H+1:2*H));
  n = tanh(a(2*H+1:3*H) + r.*v(2*H+1:3*H));
  h = (1 - z).*n + z.*h;
end
""",
    "gru-rows": """
function h = gru(x, h, W, R, b)
  H = numel(h);
  r = sigmoid(W(1:H,:)*x + b(1:H) + R(1:H,:)*h);
  z = sigmoid(W(H+1:2*H,:)*x + b(H+1:2*H) + R(H+1:2*H,:)*h);
  n = tanh(W(2*H+1:3*H,:)*x + b(2*H+1:3*H) + r.*(R(2*H+1:3*H,:)*h));
  h = (1 - z).*n + z.*h;
end
""",
    "gru-modes": """
function h = gru(x, h, W, R, b)
  global bR_n
  H = numel(h);
  W_r = W(1:H,:);  W_z = W(H+1:2*H,:);  W_n = W(2*H+1:3*H,:);
  R_r = R(1:H,:);  R_z = R(H+1:2*H,:);  R_n = R(2*H+1:3*H,:);
  b_r = b(1:H);    b_z = b(H+1:2*H);    b_n = b(2*H+1:3*H);
  r = sigmoid(W_r*x + b_r + R_r*h);
  z = sigmoid(W_z*x + b_z + R_z*h);
  n = tanh(W_n*x + b_n + r.*(R_n*h));
  h = (1 - z).*n + z.*h;
end
""",
}
_READ_MATLAB = """
W1 = reshape(w1, 4*H, C);
R1 = reshape(r1, 4*H, H);
W3 = reshape(w3, O, H);
W1 = double(W1);
R1 = double(R1);
b1 = double(b1);
mu = mean(train, 2);
sigma = std(train, 0, 2);
"""
_ZERO_MATLAB = """
h1 = zeros(H,1);  c1 = zeros(H,1);
h2 = zeros(H,1);  c2 = zeros(H,1);
"""
_STEPS_MATLAB = """
for t = 1:T
  x = X(:,t);
  x = (x - mu)./sigma;
  [h1, c1] = lstm(x, h1, c1, W1, R1, b1);
  a1 = relu(h1);
  [h2, c2] = lstm(a1, h2, c2, W2, R2, b2);
  a2 = relu(h2);
  Y(:,t) = W3*a2 + b3;
end
"""
_ONE_LAYER_MATLAB = """
X = recording;
h1 = zeros(H,1);  c1 = zeros(H,1);
h = zeros(H, size(X,2));
for t = 1:size(X,2)
  [h1, c1] = lstm(X(:,t), h1, c1, W1, R1, b1);
  h(:,t) = h1;
end
"""
_BOTH_WAYS_MATLAB = """
function y = run(X, W, R, b)
  h = zeros(size(R,2),1);  c = h;
  for t = 1:size(X,2)
    [h, c] = lstm(X(:,t), h, c, W, R, b);
    y(:,t) = h;
  end
end
X = recording;
W_fw = W(1:4*H,:);  W_bw = W(4*H+1:8*H,:);
R_fw = R(1:4*H,:);  R_bw = R(4*H+1:8*H,:);
b_fw = b(1:4*H);    b_bw = b(4*H+1:8*H);
fw = run(X, W_fw, R_fw, b_fw);
bw = run(fliplr(X), W_bw, R_bw, b_bw);
bw = fliplr(bw);
"""
MAINS_MATLAB = {
    "regression": _READ_MATLAB
    + "X = recording;\nY = zeros(O, T);\na1 = zeros(H,1);"
    + _ZERO_MATLAB.rstrip()
    + _STEPS_MATLAB
    + "prediction = Y;",
    "runs": _READ_MATLAB
    + "X = recording;\nY = zeros(O, T);\n"
    + _within("for run = 1:2", _ZERO_MATLAB.rstrip() + _STEPS_MATLAB, "  ", "end\n")
    + "prediction = Y;",
    "sequences": _READ_MATLAB
    + _within(
        "for k = 1:numel(sequences)",
        _ZERO_MATLAB
        + "X = sequences{k};  T = size(X,2);\nY = zeros(O, T);"
        + _STEPS_MATLAB,
        "  ",
        "end\n",
    )
    + "prediction = Y;",
    "last": _READ_MATLAB
    + _ONE_LAYER_MATLAB
    + "a = h(:,end);\nscores = W3*a + b3;\nprediction = softmax(scores);",
    "labels": _READ_MATLAB
    + _ONE_LAYER_MATLAB
    + "E = exp(W3*h + b3);\nprediction = E./sum(E, 1);",
    "norm": _READ_MATLAB
    + _ONE_LAYER_MATLAB
    + "m = mean(h, 1);\nv = var(h, 1, 1);\n"
    + "A = gamma.*(h - m)./sqrt(v + 1e-05) + beta;\nprediction = W3*A + b3;",
    "bidirectional": _BOTH_WAYS_MATLAB + "A = [fw; bw];\nprediction = W4*A + b3;",
    "bidirectional-last": _BOTH_WAYS_MATLAB
    + "a = [fw(:,end); bw(:,1)];\nprediction = W4*a + b3;",
}
_GRU_MATLAB = {
    "4*H": "3*H",
    "[h1, c1] = lstm(x, h1, c1, ": "h1 = gru(x, h1, ",
    "[h2, c2] = lstm(a1, h2, c2, ": "h2 = gru(a1, h2, ",
    "h1 = zeros(H,1);  c1 = zeros(H,1);": "h1 = zeros(H,1);",
    "h2 = zeros(H,1);  c2 = zeros(H,1);": "h2 = zeros(H,1);",
}


def matlab(cell: str, main: str) -> str:
    """The program in the language of MATLAB."""
    text = MAINS_MATLAB[main]
    if cell.startswith("gru"):
        for old, new in _GRU_MATLAB.items():
            text = text.replace(old, new)
    return FUNCTIONS_MATLAB + CELLS_MATLAB[cell] + text
