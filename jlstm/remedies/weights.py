"""Remedies for mistakes in reading the weights of recurrent layers."""

from __future__ import annotations

from .remedy import GITHUB, Remedy, lines

_MEMORY = (
    "the numbers of {arrays} in {layers}, written column by column, are filled in row "
    "by row (memory order)"
)
_MEMORY_DO = (
    'MATLAB stores arrays column by column: reshape with order="F" in NumPy, '
    "and without a transpose in MATLAB."
)
_RESHAPE = "https://www.mathworks.com/help/matlab/ref/reshape.html"

WEIGHTS = {
    "memory-order": Remedy(
        _MEMORY,
        _MEMORY_DO,
        lines(
            """
            W1 = w1.reshape({gates}*H, C)
            R1 = r1.reshape({gates}*H, H)
            """,
            """
            W1 = w1.reshape({gates}*H, C, order="F")
            R1 = r1.reshape({gates}*H, H, order="F")
            """,
        ),
        lines(
            """
            W1 = reshape(w1, C, {gates}*H)';
            R1 = reshape(r1, H, {gates}*H)';
            """,
            """
            W1 = reshape(w1, {gates}*H, C);
            R1 = reshape(r1, {gates}*H, H);
            """,
        ),
        _RESHAPE,
    ),
    "memory-order:input": Remedy(
        _MEMORY,
        _MEMORY_DO,
        lines(
            "W1 = w1.reshape({gates}*H, C)",
            'W1 = w1.reshape({gates}*H, C, order="F")',
        ),
        lines(
            "W1 = reshape(w1, C, {gates}*H)';",
            "W1 = reshape(w1, {gates}*H, C);",
        ),
        _RESHAPE,
    ),
    "memory-order:recurrent": Remedy(
        _MEMORY,
        _MEMORY_DO,
        lines(
            "R1 = r1.reshape({gates}*H, H)",
            'R1 = r1.reshape({gates}*H, H, order="F")',
        ),
        lines(
            "R1 = reshape(r1, H, {gates}*H)';",
            "R1 = reshape(r1, {gates}*H, H);",
        ),
        _RESHAPE,
    ),
    "weights-of-another-layer": Remedy(
        "in {layers} the weights of {source} are used",
        "Give every layer its own W, R and b; equal shapes hide the mix-up.",
        lines(
            "h2, c2 = lstm(a1, h2, c2, W1, R1, b1)",
            "h2, c2 = lstm(a1, h2, c2, W2, R2, b2)",
        ),
        lines(
            "[h2, c2] = lstm(a1, h2, c2, W1, R1, b1);",
            "[h2, c2] = lstm(a1, h2, c2, W2, R2, b2);",
        ),
        GITHUB + "jatinchowdhury18/RTNeural/issues/148",
    ),
    "weights-rounded": Remedy(
        "the weights in {layers} are kept with fewer digits than the file has ({to})",
        "Keep the weights in single precision or better from the file to the product.",
        lines(
            """
            W1 = W1.astype(np.float16).astype(float)
            R1 = R1.astype(np.float16).astype(float)
            b1 = b1.astype(np.float16).astype(float)
            """,
            """
            W1 = W1.astype(float)
            R1 = R1.astype(float)
            b1 = b1.astype(float)
            """,
        ),
        lines(
            """
            W1 = double(half(W1));
            R1 = double(half(R1));
            b1 = double(half(b1));
            """,
            """
            W1 = double(W1);
            R1 = double(R1);
            b1 = double(b1);
            """,
        ),
        GITHUB + "apple/coremltools/issues/497",
    ),
    "weights-rounded:bfloat16": Remedy(
        "the weights in {layers} are kept with fewer digits than the file has ({to})",
        "Keep the weights in single precision or better from the file to the product.",
        lines(
            """
            W1 = W1.astype(ml_dtypes.bfloat16).astype(float)
            R1 = R1.astype(ml_dtypes.bfloat16).astype(float)
            b1 = b1.astype(ml_dtypes.bfloat16).astype(float)
            """,
            """
            W1 = W1.astype(float)
            R1 = R1.astype(float)
            b1 = b1.astype(float)
            """,
        ),
        lines(
            """
            keep = @(v, e) pow2(round(pow2(v, 8 - e)), e - 8);  % 8 bits
            [~, e] = log2(W1);  W1 = keep(W1, e);
            [~, e] = log2(R1);  R1 = keep(R1, e);
            [~, e] = log2(b1);  b1 = keep(b1, e);
            """,
            """
            W1 = double(W1);
            R1 = double(R1);
            b1 = double(b1);
            """,
        ),
        GITHUB + "apple/coremltools/issues/497",
    ),
}
