"""Which mistakes can be made together: those that concern different things."""

from __future__ import annotations

from wrong_changes import Wrong

ALL = ("W", "R", "b")
ENDS = (
    "/steps", "/time", "/x", "/scale", "/features", "/y", "/offset", "/columns",
)  # fmt: skip
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
    "update-inverted": ("update",),
    "reset-mode": ("mode", "b"),
    "backward-last": ("backward", "/last"),
    "backward-not-reversed": ("backward",),
    "backward-forwards": ("backward",),
    "halves-swapped": ("halves",),
    "activation-inserted": ("after",),
    "activation-omitted": ("function",),
    "activation-replaced": ("function",),
    "softmax-over-time": ("function", "/steps", "/time"),
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
    "standardised": ("/scale", "/x"),
    "input-affine": ("/scale", "/x"),
    "std-ddof": ("/scale",),
    "time-reversed": ("/time",),
    "features-reversed": ("/features",),
    "features-permuted": ("/features",),
    "transposed": ("/features", "/time", "/x", "/scale"),
    "time-shift": ("/time", "/x"),
    "padding": ("/time", "/x", "/last"),
    "steps-dropped": ("/time", "/x", "/last"),
    "output-affine": ("/y", "/offset", "/columns"),
    "output-shift": ("/time", "/y"),
    "output-reversed": ("/time", "/y"),
    "first-instead-of-last": ("/last", "/time"),
    "mean-instead-of-last": ("/last", "/time"),
    "columns-permuted": ("/columns",),
}
"""What each mistake lays its hands on: a part of its layers, or, with a slash, of the
whole computation. "/x" is what is given to the network, "/scale" its scale."""


def compatible(a: Wrong, b: Wrong) -> bool:
    """Whether two mistakes concern different things and so make a pair of mistakes.

    Rounded weights go with nothing: a mistake hides them.
    """
    return "weights-rounded" not in (a.name, b.name) and not _touched(a) & _touched(b)


def _touched(wrong: Wrong) -> set[str]:
    parts = TOUCHES.get(wrong.name, ())
    if wrong.name == "memory-order":
        which = wrong.parameters["which"]
        parts = {"input": ("W",), "recurrent": ("R",), "both": ("W", "R")}[which]
    own = {f"{n}.{p}" for n in wrong.layers for p in parts if not p.startswith("/")}
    return own | {part for part in parts if part.startswith("/")}
