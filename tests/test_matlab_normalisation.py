"""Normalisation layers against the judge."""

from __future__ import annotations

import matlab_structs as m
import pytest
from agreement import assert_branches_agree
from matlab_files import number

C = 6
INPUTS = {
    "vectors over time": m.sequence_input("in", C),
    "lines over time": m.sequence_input("in", 7, C),
    "images over time": m.sequence_input("in", 4, 5, C),
    "a vector": m.feature_input("in", C),
    "an image": m.image_input("in", 4, 5, C),
}
DIMENSIONS = ("auto", "channel-only", "spatial-channel", "batch-excluded")


@pytest.mark.parametrize("given", INPUTS)
def test_normalisation(tmp_path, rng, given):
    space = {"lines": 1, "images": 2, "an": 2}.get(given.split()[0], 0)
    layers = {
        f"batch {version}": m.batch_normalization(rng, "", C, version, space)
        for version in (1, 2, 3)
    }
    for over in DIMENSIONS:
        layers[over] = m.normalization(rng, "Layer", "", C, OperationDimension=over)
    layers["old"] = m.normalization(rng, "Layer", "", C)
    for groups in (number(3), "all-channels", "channel-wise"):
        layers[f"group {groups}"] = m.normalization(
            rng, "Group", "", C, NumGroups=groups
        )
    layers["instance"] = m.normalization(rng, "Instance", "", C)
    if given == "a vector":
        del layers["instance"], layers["group channel-wise"]  # one value has no spread
    net = assert_branches_agree(tmp_path, [INPUTS[given]], layers, rng)
    told = [notice for notice in net.origin.notices if "before R2023a" in notice]
    assert len(told) == ("time" in given)
