"""Trees of layers: two kinds of layers never share a compiled program."""

from __future__ import annotations

import itertools

import jax

from jlstm import layers as L


def test_kinds_of_layers_are_told_apart():
    kinds = (L.Addition, L.Multiplication, L.Subtraction, L.Division, L.Maximum)
    for one, other in itertools.permutations(kinds, 2):
        assert jax.tree.structure(one()) != jax.tree.structure(other())
    assert jax.tree.structure(L.Addition()) == jax.tree.structure(L.Addition())
    assert jax.tree.structure(L.Addition((0, 1))) != jax.tree.structure(L.Addition())
