"""Remedies for layers that run over the sequence in both directions."""

from __future__ import annotations

from .remedy import DOC, GITHUB, Remedy, lines

_BILSTM = DOC + "nnet.cnn.layer.bilstmlayer.html"
_TWICE = "both directions of {layers} have the weights of the {direction} one"
_TWICE_DO = (
    "Give each direction its own half of the rows of W, R and b: the first half is the "
    "forward one, the second half the backward one."
)
_TWICE_MET = GITHUB + "fordDeepDSP/deepSpeech/issues/20"

BIDIRECTIONAL = {
    "directions-swapped": Remedy(
        "in {layers} the forward direction has the weights of the backward one and the "
        "other way round",
        "The first half of the rows of a bilstmLayer belongs to the forward direction, "
        "the second half to the backward one.",
        lines(
            """
            W_bw, W_fw = np.split(W, 2)
            R_bw, R_fw = np.split(R, 2)
            b_bw, b_fw = np.split(b, 2)
            """,
            """
            W_fw, W_bw = np.split(W, 2)
            R_fw, R_bw = np.split(R, 2)
            b_fw, b_bw = np.split(b, 2)
            """,
        ),
        lines(
            """
            W_bw = W(1:{gates}*H,:);  W_fw = W({gates}*H+1:{twice}*H,:);
            R_bw = R(1:{gates}*H,:);  R_fw = R({gates}*H+1:{twice}*H,:);
            b_bw = b(1:{gates}*H);    b_fw = b({gates}*H+1:{twice}*H);
            """,
            """
            W_fw = W(1:{gates}*H,:);  W_bw = W({gates}*H+1:{twice}*H,:);
            R_fw = R(1:{gates}*H,:);  R_bw = R({gates}*H+1:{twice}*H,:);
            b_fw = b(1:{gates}*H);    b_bw = b({gates}*H+1:{twice}*H);
            """,
        ),
        _BILSTM,
    ),
    "one-direction-twice": Remedy(
        _TWICE,
        _TWICE_DO,
        lines(
            "bw = run(X[::-1], W_fw, R_fw, b_fw)",
            "bw = run(X[::-1], W_bw, R_bw, b_bw)",
        ),
        lines(
            "bw = run(fliplr(X), W_fw, R_fw, b_fw);",
            "bw = run(fliplr(X), W_bw, R_bw, b_bw);",
        ),
        _TWICE_MET,
    ),
    "one-direction-twice:backward": Remedy(
        _TWICE,
        _TWICE_DO,
        lines("fw = run(X, W_bw, R_bw, b_bw)", "fw = run(X, W_fw, R_fw, b_fw)"),
        lines("fw = run(X, W_bw, R_bw, b_bw);", "fw = run(X, W_fw, R_fw, b_fw);"),
        _TWICE_MET,
    ),
    "backward-omitted": Remedy(
        "the backward half of the output of {layers} is zeros: only the forward "
        "direction is computed",
        "Run the layer over the reversed sequence too, with the second half of the "
        "weights, and put these outputs after the forward ones.",
        lines(
            "a = np.hstack([fw, np.zeros_like(fw)])",
            "a = np.hstack([fw, bw])",
        ),
        lines("A = [fw; zeros(size(fw))];", "A = [fw; bw];"),
        _BILSTM,
    ),
    "backward-last": Remedy(
        "the backward half of {layers} is taken at the last step, where it has seen "
        "one step only",
        "Take the forward half at the last step and the backward half at the first.",
        lines(
            "a = np.concatenate([fw[-1], bw[-1]])",
            "a = np.concatenate([fw[-1], bw[0]])",
        ),
        lines("a = [fw(:,end); bw(:,end)];", "a = [fw(:,end); bw(:,1)];"),
        "https://discuss.pytorch.org/t/49825",
    ),
    "backward-not-reversed": Remedy(
        "the backward outputs of {layers} stay in the order in which they are "
        "computed, last step first",
        "Turn the backward outputs round again before they are put beside the forward "
        "ones.",
        lines(
            "bw = run(X[::-1], W_bw, R_bw, b_bw)",
            """
            bw = run(X[::-1], W_bw, R_bw, b_bw)
            bw = bw[::-1]
            """,
        ),
        lines(
            "bw = run(fliplr(X), W_bw, R_bw, b_bw);",
            """
            bw = run(fliplr(X), W_bw, R_bw, b_bw);
            bw = fliplr(bw);
            """,
        ),
        "https://discuss.pytorch.org/t/119521",
    ),
    "backward-forwards": Remedy(
        "the backward direction of {layers} runs forwards in time like the other",
        "Run it over the reversed sequence and turn its outputs round again.",
        lines(
            "bw = run(X, W_bw, R_bw, b_bw)",
            """
            bw = run(X[::-1], W_bw, R_bw, b_bw)
            bw = bw[::-1]
            """,
        ),
        lines(
            "bw = run(X, W_bw, R_bw, b_bw);",
            """
            bw = run(fliplr(X), W_bw, R_bw, b_bw);
            bw = fliplr(bw);
            """,
        ),
        _BILSTM,
    ),
    "halves-swapped": Remedy(
        "the two halves of the output of {layers} have changed places, backward first",
        "Put the forward outputs first and the backward ones after them.",
        lines("a = np.hstack([bw, fw])", "a = np.hstack([fw, bw])"),
        lines("A = [bw; fw];", "A = [fw; bw];"),
        GITHUB + "apple/coremltools/issues/824",
    ),
    "halves-interleaved": Remedy(
        "the outputs of {layers} stand by turns, forward unit 1, backward unit 1, "
        "forward unit 2 and so on, and not one half after the other",
        "Put all forward outputs first and all backward ones after them.",
        lines(
            """
            a = np.zeros((len(X), 2 * H))
            a[:, 0::2], a[:, 1::2] = fw, bw
            """,
            "a = np.hstack([fw, bw])",
        ),
        lines(
            """
            A = zeros(2*H, size(X,2));
            A(1:2:end,:) = fw;  A(2:2:end,:) = bw;
            """,
            "A = [fw; bw];",
        ),
        _BILSTM,
    ),
}
