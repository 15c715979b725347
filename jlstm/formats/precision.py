"""The precision in which MATLAB computes a network."""

from __future__ import annotations

import jax
import numpy as np

from ..errors import Unsupported
from ..network import Network


def one_precision(net: Network, single: bool) -> tuple[Network, str]:
    """Give every array the precision that MATLAB computes in.

    SeriesNetwork and DAGNetwork compute in single, whatever is stored; a dlnetwork in
    the precision of its learnable parameters, which is single where there are both.
    Statistics follow the parameters.

    Arguments:
        net: the network, its arrays in the precisions of the file.
        single: whether it is of a kind that always computes in single.

    Returns:
        the network, and what the user should know, if anything.

    Raises:
        Unsupported: a number that single precision does not hold.
    """
    learnable = {
        np.dtype(leaf.dtype)
        for layer in net.layers.values()
        for path, leaf in jax.tree_util.tree_leaves_with_path(layer)
        if getattr(path[0], "name", None) not in layer.statistics
    }
    if not single and learnable == {np.dtype("float64")}:
        return net.astype(np.float64), ""
    _check_range(net)
    if np.dtype("float64") not in learnable:
        return net.astype(np.float32), ""
    lossless = all(
        np.array_equal(np.float32(leaf), leaf, equal_nan=True)
        for leaf in jax.tree.leaves(net)
    )
    return net.astype(np.float32), (
        ""
        if lossless
        else "some weights were stored in double precision; MATLAB "
        "computes this network in single, and so does jlstm"
    )


def _check_range(net: Network) -> None:
    """Refuse numbers that single precision does not hold."""
    largest = np.finfo(np.float32).max
    for path, leaf in jax.tree_util.tree_leaves_with_path(net):
        if np.any(np.isfinite(leaf) & (np.abs(leaf) > largest)):
            raise Unsupported(
                "a number too large for the single precision MATLAB computes in",
                place=jax.tree_util.keystr(path),
                found=np.abs(leaf).max(),
                expected=f"at most {largest}",
            )
