"""The loops of remedy_loops.py in the language of MATLAB, arrays features x time."""

from __future__ import annotations

from remedy_loops import within

FUNCTIONS = """
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
CELLS = {
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
  global bR
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
    "gru-biased": """
function h = gru(x, h, W, R, b)
  global bR
  H = numel(h);
  W_r = W(1:H,:);  W_z = W(H+1:2*H,:);  W_n = W(2*H+1:3*H,:);
  R_r = R(1:H,:);  R_z = R(H+1:2*H,:);  R_n = R(2*H+1:3*H,:);
  b_r = b(1:H);    b_z = b(H+1:2*H);    b_n = b(2*H+1:3*H);
  bR_r = bR(1:H);  bR_z = bR(H+1:2*H);  bR_n = bR(2*H+1:3*H);
  r = sigmoid(W_r*x + b_r + R_r*h + bR_r);
  z = sigmoid(W_z*x + b_z + R_z*h + bR_z);
  n = tanh(W_n*x + b_n + r.*(R_n*h + bR_n));
  h = (1 - z).*n + z.*h;
end
""",
}
_READ = """
W1 = reshape(w1, 4*H, C);
R1 = reshape(r1, 4*H, H);
W3 = reshape(w3, O, H);
W1 = double(W1);
R1 = double(R1);
b1 = double(b1);
mu = mean(train, 2);
sigma = std(train, 0, 2);
"""
_ZERO = """
h1 = zeros(H,1);  c1 = zeros(H,1);
h2 = zeros(H,1);  c2 = zeros(H,1);
"""
_STEPS = """
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
_ONE_LAYER = """
X = recording;
h1 = zeros(H,1);  c1 = zeros(H,1);
h = zeros(H, size(X,2));
for t = 1:size(X,2)
  [h1, c1] = lstm(X(:,t), h1, c1, W1, R1, b1);
  h(:,t) = h1;
end
"""
_BOTH_WAYS = """
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
MAINS = {
    "regression": _READ
    + "X = recording;\nY = zeros(O, T);\na1 = zeros(H,1);"
    + _ZERO.rstrip()
    + _STEPS
    + "prediction = Y;",
    "runs": _READ
    + "X = recording;\nY = zeros(O, T);\n"
    + within("for run = 1:2", _ZERO.rstrip() + _STEPS, "  ", "end\n")
    + "prediction = Y;",
    "sequences": _READ
    + within(
        "for k = 1:numel(sequences)",
        _ZERO + "X = sequences{k};  T = size(X,2);\nY = zeros(O, T);" + _STEPS,
        "  ",
        "end\n",
    )
    + "prediction = Y;",
    "last": _READ
    + _ONE_LAYER
    + "a = h(:,end);\nscores = W3*a + b3;\nprediction = softmax(scores);",
    "answers": _READ
    + "recordings = sequences;\nprediction = zeros(O, numel(recordings));\n"
    + within(
        "for k = 1:numel(recordings)",
        "recording = recordings{k};"
        + _ONE_LAYER
        + "a = h(:,end);\nscores = W3*a + b3;\nprediction(:,k) = softmax(scores);",
        "  ",
        "end\n",
    ),
    "labels": _READ + _ONE_LAYER + "E = exp(W3*h + b3);\nprediction = E./sum(E, 1);",
    "norm": _READ
    + _ONE_LAYER
    + "m = mean(h, 1);\nv = var(h, 1, 1);\n"
    + "A = gamma.*(h - m)./sqrt(v + 1e-05) + beta;\nprediction = W3*A + b3;",
    "bidirectional": _BOTH_WAYS + "A = [fw; bw];\nprediction = W4*A + b3;",
    "bidirectional-last": _BOTH_WAYS
    + "a = [fw(:,end); bw(:,1)];\nprediction = W4*a + b3;",
}
_GRU = {
    "4*H": "3*H",
    "8*H": "6*H",
    "[h, c] = lstm(X(:,t), h, c, ": "h = gru(X(:,t), h, ",
    "[h1, c1] = lstm(x, h1, c1, ": "h1 = gru(x, h1, ",
    "[h2, c2] = lstm(a1, h2, c2, ": "h2 = gru(a1, h2, ",
    "h1 = zeros(H,1);  c1 = zeros(H,1);": "h1 = zeros(H,1);",
    "h2 = zeros(H,1);  c2 = zeros(H,1);": "h2 = zeros(H,1);",
}


def matlab(cell: str, main: str) -> str:
    """The program in the language of MATLAB."""
    text = MAINS[main]
    if cell.startswith("gru"):
        for old, new in _GRU.items():
            text = text.replace(old, new)
    return FUNCTIONS + CELLS[cell] + text
