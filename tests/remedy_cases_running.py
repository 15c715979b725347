"""Mistakes in the loop, and in layers that run in both directions."""

from __future__ import annotations

import numpy as np
from oracles import Weights
from remedy_case import SQUARE, Case, Swap, World, gated
from remedy_world import closed, exchanged, reset, shared

ONLY_H: Swap = (
    "h1, c1 = np.zeros(H), np.zeros(H)\nh2, c2 = np.zeros(H), np.zeros(H)",
    "c1, c2 = np.zeros(H), np.zeros(H)\nh1 = np.zeros(H)\nh2 = np.zeros(H)",
    "h1 = zeros(H,1);  c1 = zeros(H,1);\nh2 = zeros(H,1);  c2 = zeros(H,1);",
    "c1 = zeros(H,1);  c2 = c1;\nh1 = zeros(H,1);\nh2 = zeros(H,1);",
)
ONLY_C: Swap = (
    ONLY_H[0],
    "h1, h2 = np.zeros(H), np.zeros(H)\nc1 = np.zeros(H)\nc2 = np.zeros(H)",
    ONLY_H[2],
    "h1 = zeros(H,1);  h2 = h1;\nc1 = zeros(H,1);\nc2 = zeros(H,1);",
)

GIVEN = ("saved", "given", "unknown")
RUNNING = [
    Case("shared-state", shared),
    gated("shared-state", shared),
    Case("state-reset", lambda d: reset(d, 1, "both"), {"every": 1, "what": "both"}),
    Case("state-reset", lambda d: reset(d, 3, "both"), {"every": 3, "what": "both"}),
    Case("state-reset", lambda d: reset(d, 1, "h"), {"every": 1, "what": "h"},
         swaps=(ONLY_H,)),
    Case("state-reset", lambda d: reset(d, 2, "c"), {"every": 2, "what": "c"},
         swaps=(ONLY_C,)),
    gated("state-reset", lambda d: reset(d, 1, "both"), {"every": 1, "what": "both"}),
    *(
        Case("start-state", lambda d: d.regression(start=tuple(d.start)),
             {"from": origin})
        for origin in GIVEN
    ),
    gated("start-state", lambda d: d.regression(start=tuple(d.start)),
          {"from": "saved"}),
    Case("start-state", lambda d: d.regression(starts=d.ends(d.x)),
         {"from": "previous-run"}, main="runs"),
    Case("start-state", lambda d: d.regression(starts=d.ends(d.longer)),
         {"from": "previous-sequence"}, main="sequences"),
    Case("layer-delayed", lambda d: d.regression(delay=True)),
    gated("layer-delayed", lambda d: d.regression(delay=True)),
    Case("state-swapped", exchanged),
    Case("closed-loop", closed, world=SQUARE),
    Case("closed-loop", lambda d: closed(d, 3), {"after": 3}, world=World(3, 5, 3, 7)),
]  # fmt: skip


def directions(d: World, ahead: Weights, behind: Weights) -> np.ndarray:
    """With these weights forwards and those backwards."""
    return d.joined(d.layer(ahead, d.x)["h"], d.layer(behind, d.x[::-1])["h"][::-1])


def interleaved(d: World) -> np.ndarray:
    ahead, behind = d.halves()
    each = [np.ravel(pair, "F") for pair in zip(ahead, behind[::-1], strict=True)]
    return np.stack(each) @ d.W4.T + d.b3


BOTH_WAYS = [
    Case("directions-swapped",
         lambda d: d.joined(*(half[::s] for half, s in
                              zip(d.halves(True), (1, -1), strict=True)))),
    Case("one-direction-twice", lambda d: directions(d, d.first, d.first),
         {"direction": "forward"}),
    Case("one-direction-twice", lambda d: directions(d, d.backward, d.backward),
         {"direction": "backward"}),
    Case("backward-omitted",
         lambda d: d.halves()[0] @ d.W4[:, : d.H].T + d.b3),
    Case("halves-interleaved", interleaved),
    Case("backward-not-reversed", lambda d: d.joined(*d.halves())),
    Case("backward-forwards",
         lambda d: d.joined(d.halves()[0], d.layer(d.backward, d.x)["h"])),
    Case("halves-swapped", lambda d: d.joined(d.halves()[1][::-1], d.halves()[0])),
    gated("directions-swapped", lambda d: directions(d, d.backward, d.first)),
]  # fmt: skip
BOTH_WAYS = [
    case._replace(
        main="bidirectional",
        right=lambda d: d.joined(d.halves()[0], d.halves()[1][::-1]),
    )
    for case in BOTH_WAYS
] + [
    Case(
        "backward-last",
        lambda d: d.joined(d.halves()[0][-1], d.halves()[1][0]),
        main="bidirectional-last",
        right=lambda d: d.joined(d.halves()[0][-1], d.halves()[1][-1]),
    )
]
