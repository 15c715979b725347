"""Which mistakes can be made together: those that concern different things."""

from __future__ import annotations

from wrong_plan import Wrong

ALL = ("W", "R", "b")
TOUCHES: dict[str, tuple[str, ...]] = {
    "gate-order": ALL,
    "interleaved": ALL,
    "recurrent-transposed": ("R",),
    "input-transposed": ("W",),
    "bias-doubled": ("b",),
    "bias-omitted": ("b",),
    "forget-bias": ("b", "forget"),
    "weights-of-another-layer": ALL,
    "directions-swapped": (*ALL, "halves"),
    "one-direction-twice": (*ALL, "peephole"),
    "peephole-omitted": ("peephole",),
    "dense-transposed": ("W",),
    "dense-bias-omitted": ("b", "/offset"),
    "dense-memory-order": ("W",),
    "shared-state": ("state", "/steps"),
    "state-reset": ("state",),
    "start-state": ("state",),
    "gate-activation": ("gate",),
    "state-activation": ("candidate", "squash"),
    "candidate-activation": ("candidate",),
    "cell-activation": ("squash",),
    "layer-delayed": ("delay",),
    "coupled-gates": ("forget",),
    "old-cell-state": ("cell",),
    "state-swapped": ("state", "cell"),
    "update-inverted": ("update",),
    "reset-mode": ("mode", "b"),
    "backward-last": ("backward", "/last"),
    "backward-not-reversed": ("backward",),
    "backward-forwards": ("backward",),
    "backward-omitted": ("backward",),
    "halves-swapped": ("halves",),
    "halves-interleaved": ("halves",),
    "activation-inserted": ("after",),
    "activation-omitted": ("function",),
    "activation-replaced": ("function",),
    "softmax-over-time": ("function", "/steps", "/time"),
    "softmax-twice": ("function",),
    "softmax-log": ("function",),
    "dropout-scaled": ("dropout",),
    "closed-loop": (
        "/steps",
        "/x",
        "/features",
        "/scale",
        "/time",
        "/y",
        "/offset",
        "/columns",
    ),
    "normalisation-layer-omitted": ("norm",),
    "normalisation-over-time": ("norm", "/steps", "/time"),
    "epsilon": ("norm",),
    "normalisation-omitted": ("/scale",),
    "normalisation-twice": ("/scale",),
    "normalisation-partial": ("/scale",),
    "standardised": ("/scale", "/x"),
    "input-affine": ("/scale", "/x"),
    "std-ddof": ("/scale",),
    "time-reversed": ("/time",),
    "features-reversed": ("/features",),
    "features-permuted": ("/features",),
    "input-memory-order": ("/features", "/time", "/x", "/scale"),
    "transposed": ("/features", "/time", "/x", "/scale"),
    "time-shift": ("/time", "/x"),
    "input-frozen": ("/time", "/x"),
    "padding": ("/time", "/x", "/last"),
    "steps-dropped": ("/time", "/x", "/last"),
    "fixed-length": ("/time", "/x", "/last"),
    "sequences-reordered": ("/sequences",),
    "output-affine": ("/y", "/offset", "/columns"),
    "output-shift": ("/time", "/y"),
    "output-reversed": ("/time", "/y"),
    "first-instead-of-last": ("/last", "/time"),
    "mean-instead-of-last": ("/last", "/time"),
    "max-instead-of-last": ("/last", "/time"),
    "columns-permuted": ("/columns",),
}
"""What each mistake lays its hands on: a part of its layers, or, with a slash, of the
whole computation. "/x" is what is given to the network, "/scale" its scale."""
PARTS: dict[str, tuple[str, ...]] = {
    "input": ("W",),
    "recurrent": ("R",),
    "both": ("W", "R"),
    "bias": ("b",),
}


def compatible(a: Wrong, b: Wrong) -> bool:
    """Whether two mistakes concern different things and so make a pair of mistakes.

    Rounded weights go with nothing: a mistake hides them.
    """
    return "weights-rounded" not in (a.name, b.name) and not _touched(a) & _touched(b)


def _touched(wrong: Wrong) -> set[str]:
    parts, p = TOUCHES.get(wrong.name, ()), wrong.parameters
    if wrong.name == "memory-order":
        parts = PARTS[p["which"]]
    if wrong.name == "gate-order" and "of" in p:
        parts = PARTS[p["of"]]
    if wrong.name == "bias-omitted" and p.get("gate") == "f":
        parts += ("forget",)
    if "neutral" in (p.get("fill"), p.get("value")):
        parts += ("/scale",)
    if wrong.name == "start-state" and p["from"] == "previous-sequence":
        parts += ("/sequences",)
    own = {f"{n}.{p}" for n in wrong.layers for p in parts if not p.startswith("/")}
    return own | {part for part in parts if part.startswith("/")}
