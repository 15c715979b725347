"""What is suspicious about a network, seen from its weights alone.

No output of the original is needed. A healthy network gets no remark; each remark says
what was seen, what it does to predictions, and what to do about it.
"""

from __future__ import annotations

from typing import Any

from ..network import Network
from . import gates, inputs, learning, saved
from .parts import Part, parts
from .remarks import Audit, Remark

__all__ = ["Audit", "Part", "Remark", "audit", "parts"]


def audit(net: Network, x: Any = None) -> Audit:
    """Look for what deserves a second look before a network is trusted.

    Arguments:
        net: the network.
        x: an input as `predict` takes it, or a list of such; then the scale of the
            input is judged too, against the normalisation of the network and the
            range in which its gates work.

    Returns:
        the remarks, the gravest first.

    Raises:
        InputError: `x` does not fit the network.
    """
    found = parts(net)
    # Of a layer with NaN in its weights nothing else can be said.
    sound = [part for part in found if part.finite]
    given = None if x is None else inputs.collect(net, x)
    remarks = [
        *saved.broken_numbers(net),
        *learning.untrained(net, sound),
        *learning.copies(found),
        *learning.unlearned_recurrence(net, sound),
        *(inputs.judge(net, sound, given) if given is not None else ()),
        *saved.saved_state(net),
        *saved.constant_features(net),
        *saved.missing_classes(net),
        *gates.dead_units(sound),
        *gates.unused_inputs(sound),
        *gates.pinned(net, sound),
        *saved.denormals(net),
    ]
    advice = inputs.advise(net, sound) if given is None else []
    return Audit(tuple(remarks), tuple(advice))
