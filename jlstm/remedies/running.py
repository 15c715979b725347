"""Remedies for mistakes in the loop: states, and which step reads what."""

from __future__ import annotations

from .remedy import ANSWERS, DOC, GITHUB, Lines, Remedy, lines

_RESET_DO = (
    "Set the state to zero once, before the first step; in MATLAB call predict "
    "once with the whole sequence, or keep the network that [net,y] = "
    "predictAndUpdateState(net,x) returns."
)
_RESET_MET = ANSWERS + "2068661"
_START_DO = (
    "Begin every sequence at zero, or give the same start to both sides: "
    "resetState(net) in MATLAB, states= in jlstm."
)
_START_MET = DOC + "seriesnetwork.resetstate.html"
_LOOP_DO = (
    "Give the network the recorded input at every step, or compare with a forecast "
    "that is fed back in the same way."
)
_LOOP_MET = (
    "https://www.mathworks.com/help/deeplearning/ug/"
    "time-series-forecasting-using-deep-learning.html"
)
_ZERO = "h1, c1 = np.zeros(H), np.zeros(H)"
_ZERO_MATLAB = "h1 = zeros(H,1);  c1 = zeros(H,1);"

# The state is set to zero before the loop over the sequences, not in it.
_CARRIED = lines(
    """
    h1, c1 = np.zeros(H), np.zeros(H)
    h2, c2 = np.zeros(H), np.zeros(H)
    for {each}:
    """,
    """
    for {each}:
        h1, c1 = np.zeros(H), np.zeros(H)
        h2, c2 = np.zeros(H), np.zeros(H)
    """,
)
_CARRIED_MATLAB = lines(
    """
    h1 = zeros(H,1);  c1 = zeros(H,1);
    h2 = zeros(H,1);  c2 = zeros(H,1);
    for {each}
    """,
    """
    for {each}
      h1 = zeros(H,1);  c1 = zeros(H,1);
      h2 = zeros(H,1);  c2 = zeros(H,1);
    """,
)

RUNNING = {
    "shared-state": Remedy(
        "one {pair} is shared by {layers}: each layer starts its step from what the "
        "other has just written",
        "In your loop keep {pairs} for each layer.",
        lines(
            """
            h, c = np.zeros(H), np.zeros(H)
            # ...
            h, c = lstm(x, h, c, W1, R1, b1)
            a1 = relu(h)
            h, c = lstm(a1, h, c, W2, R2, b2)
            a2 = relu(h)
            """,
            """
            h1, c1 = np.zeros(H), np.zeros(H)
            h2, c2 = np.zeros(H), np.zeros(H)
            # ...
            h1, c1 = lstm(x, h1, c1, W1, R1, b1)
            a1 = relu(h1)
            h2, c2 = lstm(a1, h2, c2, W2, R2, b2)
            a2 = relu(h2)
            """,
        ),
        lines(
            """
            h = zeros(H,1);  c = zeros(H,1);
            % ...
            [h, c] = lstm(x, h, c, W1, R1, b1);
            a1 = relu(h);
            [h, c] = lstm(a1, h, c, W2, R2, b2);
            a2 = relu(h);
            """,
            """
            h1 = zeros(H,1);  c1 = zeros(H,1);
            h2 = zeros(H,1);  c2 = zeros(H,1);
            % ...
            [h1, c1] = lstm(x, h1, c1, W1, R1, b1);
            a1 = relu(h1);
            [h2, c2] = lstm(a1, h2, c2, W2, R2, b2);
            a2 = relu(h2);
            """,
        ),
        ANSWERS + "2068661",
    ),
    "state-reset": Remedy(
        "{state} of {layers} starts at zero again at every step",
        _RESET_DO,
        lines(
            """
            for t in range(T):
                {zero_1}
                {zero_2}
            """,
            """
            {zero_1}
            {zero_2}
            for t in range(T):
            """,
        ),
        lines(
            """
            for t = 1:T
              {zero_1}
              {zero_2}
            """,
            """
            {zero_1}
            {zero_2}
            for t = 1:T
            """,
        ),
        _RESET_MET,
    ),
    "state-reset:every": Remedy(
        "{state} of {layers} starts at zero again after every {every} steps",
        _RESET_DO,
        lines(
            """
            for t in range(T):
                if t % {every} == 0:
                    {zero_1}
                    {zero_2}
            """,
            """
            {zero_1}
            {zero_2}
            for t in range(T):
            """,
        ),
        lines(
            """
            for t = 1:T
              if mod(t-1, {every}) == 0
                {zero_1}
                {zero_2}
              end
            """,
            """
            {zero_1}
            {zero_2}
            for t = 1:T
            """,
        ),
        _RESET_MET,
    ),
    "start-state": Remedy(
        "the sequence does not begin at zero in {layers}, but at a state that is not "
        "in the file",
        _START_DO,
        Lines("h1, c1 = h1_other, c1_other", _ZERO),
        Lines("h1 = h1_other;  c1 = c1_other;", _ZERO_MATLAB),
        _START_MET,
    ),
    "start-state:saved": Remedy(
        "the sequence begins at the state that the file has in {layers}, left there "
        "by an earlier prediction, and not at zero",
        _START_DO,
        Lines("h1, c1 = h1_saved, c1_saved", _ZERO),
        Lines("h1 = h1_saved;  c1 = c1_saved;", _ZERO_MATLAB),
        _START_MET,
    ),
    "start-state:given": Remedy(
        "the sequence begins at a given state in {layers}, and not at zero",
        _START_DO,
        Lines("h1, c1 = h1_given, c1_given", _ZERO),
        Lines("h1 = h1_given;  c1 = c1_given;", _ZERO_MATLAB),
        _START_MET,
    ),
    "start-state:previous-run": Remedy(
        "the sequence begins at the state in which an earlier run of the same sequence "
        "ended in {layers}",
        _START_DO,
        _CARRIED,
        _CARRIED_MATLAB,
        GITHUB + "keras-team/keras/issues/10231",
    ),
    "start-state:previous-sequence": Remedy(
        "every sequence begins at the state in which the one before it ended in "
        "{layers}",
        _START_DO,
        _CARRIED,
        _CARRIED_MATLAB,
        GITHUB + "keras-team/keras/issues/15232",
    ),
    "layer-delayed": Remedy(
        "{layers} is given what the layer before it computed one step earlier",
        "Compute the layers of one step in their order, from the input to the output.",
        lines(
            """
            h2, c2 = lstm(a1, h2, c2, W2, R2, b2)
            h1, c1 = lstm(x, h1, c1, W1, R1, b1)
            a1 = relu(h1)
            """,
            """
            h1, c1 = lstm(x, h1, c1, W1, R1, b1)
            a1 = relu(h1)
            h2, c2 = lstm(a1, h2, c2, W2, R2, b2)
            """,
        ),
        lines(
            """
            [h2, c2] = lstm(a1, h2, c2, W2, R2, b2);
            [h1, c1] = lstm(x, h1, c1, W1, R1, b1);
            a1 = relu(h1);
            """,
            """
            [h1, c1] = lstm(x, h1, c1, W1, R1, b1);
            a1 = relu(h1);
            [h2, c2] = lstm(a1, h2, c2, W2, R2, b2);
            """,
        ),
        DOC + "nnet.cnn.layer.lstmlayer.html",
    ),
    "state-swapped": Remedy(
        "h and c of {layers} change places at every step: what was the output enters "
        "as the cell state, and the other way round",
        "Hand the two states on in the order in which they come back: h first and then "
        "c in MATLAB and torch, while some cells of TensorFlow give c first.",
        lines(
            "h1, c1 = lstm(x, c1, h1, W1, R1, b1)",
            "h1, c1 = lstm(x, h1, c1, W1, R1, b1)",
        ),
        lines(
            "[h1, c1] = lstm(x, c1, h1, W1, R1, b1);",
            "[h1, c1] = lstm(x, h1, c1, W1, R1, b1);",
        ),
        GITHUB + "microsoft/nni/issues/2839",
    ),
    "closed-loop": Remedy(
        "from the second step on the input is the previous output, not the recorded "
        "one (closed loop)",
        _LOOP_DO,
        lines("x = X[t] if t == 0 else y[t-1]", "x = X[t]"),
        lines(
            """
            if t == 1, x = X(:,t); else, x = Y(:,t-1); end
            """,
            "x = X(:,t);",
        ),
        _LOOP_MET,
    ),
    "closed-loop:after": Remedy(
        "the first {after} steps of the recording are given, and from step {after} on, "
        "counted from 0, the network is fed its own output of the step before (closed "
        "loop)",
        _LOOP_DO,
        lines("x = X[t] if t < {after} else y[t-1]", "x = X[t]"),
        lines(
            """
            if t <= {after}, x = X(:,t); else, x = Y(:,t-1); end
            """,
            "x = X(:,t);",
        ),
        _LOOP_MET,
    ),
}
