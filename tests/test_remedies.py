"""The lines that a user reads, run: the wrong ones err as said, the right ones mend.

Every line is an excerpt of a loop in remedy_loops.py or remedy_loops_matlab.py. What it
computes is compared with remedy_cases.py: in NumPy and, in one run of GNU Octave, in
the language of MATLAB.
"""

from __future__ import annotations

import os
import re
import shutil
import string
import subprocess
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from remedy_case import PLAIN, Case, World
from remedy_cases import CASES
from remedy_loops import python, swap
from remedy_loops_matlab import matlab
from scipy.io import loadmat, savemat

from jlstm.remedies import REMEDIES, Remedy, explain, names
from jlstm.remedies.wording import variant

CONTRACT = [
    "gate-order",
    "interleaved",
    "recurrent-transposed",
    "input-transposed",
    "memory-order",
    "bias-doubled",
    "bias-omitted",
    "forget-bias",
    "weights-of-another-layer",
    "directions-swapped",
    "one-direction-twice",
    "backward-omitted",
    "peephole-omitted",
    "dense-transposed",
    "dense-bias-omitted",
    "dense-memory-order",
    "weights-rounded",
    "shared-state",
    "state-swapped",
    "state-reset",
    "start-state",
    "gate-activation",
    "state-activation",
    "candidate-activation",
    "cell-activation",
    "old-cell-state",
    "layer-delayed",
    "coupled-gates",
    "update-inverted",
    "reset-mode",
    "backward-last",
    "backward-not-reversed",
    "backward-forwards",
    "halves-swapped",
    "halves-interleaved",
    "activation-inserted",
    "activation-omitted",
    "activation-replaced",
    "softmax-over-time",
    "softmax-twice",
    "softmax-log",
    "dropout-scaled",
    "closed-loop",
    "normalisation-layer-omitted",
    "normalisation-over-time",
    "epsilon",
    "normalisation-omitted",
    "normalisation-twice",
    "normalisation-partial",
    "standardised",
    "input-affine",
    "std-ddof",
    "time-reversed",
    "features-reversed",
    "features-permuted",
    "transposed",
    "input-memory-order",
    "sequences-reordered",
    "input-frozen",
    "time-shift",
    "padding",
    "fixed-length",
    "steps-dropped",
    "output-affine",
    "output-shift",
    "output-reversed",
    "first-instead-of-last",
    "mean-instead-of-last",
    "max-instead-of-last",
    "columns-permuted",
]


def world_of(case: Case) -> World:
    return case.world or PLAIN


def explained(case: Case) -> Remedy:
    return explain(case.name, "lstm_1", case.parameters, cell=case.kind, right=case.own)


def programs(case: Case, language: str) -> tuple[str, str]:
    """The program with the right lines, and with the wrong ones in their place."""
    text = {"python": python, "matlab": matlab}[language](case.cell, case.main)
    for lines in case.swaps:
        old, new = lines[:2] if language == "python" else lines[2:]
        text = swap(text, old, new)
    lines = getattr(explained(case), language)
    return text, swap(text, lines.right, lines.wrong)


def expected(case: Case) -> tuple[np.ndarray, np.ndarray]:
    world = world_of(case)
    return case.right(world), case.wrong(world)


def check(case: Case, right: np.ndarray, wrong: np.ndarray) -> None:
    mended, mistaken = expected(case)
    # The lines make a difference that a user sees.
    assert np.abs(mended - mistaken).max() > (1e-6 if "to" in case.parameters else 1e-3)
    np.testing.assert_allclose(right, mended, rtol=0, atol=1e-10)
    np.testing.assert_allclose(wrong, mistaken, rtol=0, atol=1e-10)


def run(program: str, case: Case) -> np.ndarray:
    workspace = {"np": np, "ml_dtypes": ml_dtypes, **world_of(case).workspace()}
    exec(program, workspace)
    return workspace["prediction"]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_numpy_lines(case):
    check(case, *(run(program, case) for program in programs(case, "python")))


# --- the language of MATLAB -----------------------------------------------------------

# The functions of a program replace those of the one before.
DRIVER = """
function out = run_one(file, workspace)
  global p_i p_f p_o bR_n bR
  names = fieldnames(workspace);
  for n = 1:numel(names)
    eval([names{n} ' = workspace.' names{n} ';']);
  end
  source(file);
  out = prediction;
end
function run_all(folder, count)
  worlds = load(fullfile(folder, 'worlds.mat'));
  for k = 1:count
    name = sprintf('program_%d', k);
    world = worlds.(worlds.of{k});
    results.(name) = run_one(fullfile(folder, [name '.m']), world);
  end
  save('-v7', fullfile(folder, 'results.mat'), '-struct', 'results');
end
"""


def matlab_workspace(world: World) -> dict[str, Any]:
    """Vectors as columns, sequences features x time."""
    names = world.workspace()
    given = [x.T.copy() for x in names.pop("sequences")]
    sequences = np.empty((1, len(given)), object)
    sequences[0, :] = given
    for key, value in names.items():
        if key in ("recording", "train"):
            names[key] = value.T
        elif np.ndim(value) == 1:
            names[key] = value[:, None]
        elif np.ndim(value) == 0:
            names[key] = float(value)
    return {**names, "sequences": sequences}


@pytest.fixture(scope="module")
def octave(tmp_path_factory) -> dict[str, np.ndarray]:
    """What every program computes in one run of GNU Octave, by its text and world."""
    command = shutil.which("octave-cli")
    if command is None:
        if os.environ.get("CI"):
            pytest.fail("octave-cli is missing from the continuous integration image")
        pytest.skip("GNU Octave (octave-cli) is not installed")
    folder: Path = tmp_path_factory.mktemp("remedies")
    worlds: dict[str, Any] = {}
    jobs: dict[tuple[str, str], str] = {}
    for case in CASES:
        world = world_of(case)
        name = f"world_{id(world)}"
        worlds[name] = matlab_workspace(world)
        for text in programs(case, "matlab"):
            jobs.setdefault((name, text), f"program_{len(jobs) + 1}")
    for (_, text), name in jobs.items():
        (folder / f"{name}.m").write_text(text + "\n", "utf-8")
    of = np.empty((1, len(jobs)), object)
    of[0, :] = [name for name, _ in jobs]
    savemat(folder / "worlds.mat", {**worlds, "of": of}, long_field_names=True)
    (folder / "driver.m").write_text(
        f"1;\n{DRIVER}\nrun_all('{folder}', {len(jobs)});\n", "utf-8"
    )
    done = subprocess.run(
        [command, "--no-init-file", "--quiet", str(folder / "driver.m")],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert not done.stdout, done.stdout
    assert "warning" not in done.stderr, done.stderr
    results = loadmat(folder / "results.mat")
    return {name + text: results[job] for (name, text), job in jobs.items()}


@pytest.mark.parametrize("case", CASES, ids=str)
def test_matlab_lines(case, octave):
    name = f"world_{id(world_of(case))}"
    found = [octave[name + text].T for text in programs(case, "matlab")]
    shape = case.right(world_of(case)).shape
    check(case, *(y.reshape(shape) for y in found))


# --- all of them, and their words -----------------------------------------------------


def test_every_mistake_has_a_remedy_and_a_case():
    assert sorted(names()) == sorted(CONTRACT)
    assert {case.name for case in CASES} == set(CONTRACT)


def test_every_form_is_reached_by_a_case():
    keys = set()
    for case in CASES:
        known = {**case.parameters, "right": case.own}
        key = f"{case.name}:{variant(case.name, known, case.kind)}"
        keys.add(key if key in REMEDIES else case.name)
    assert keys == set(REMEDIES)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_words(case):
    remedy = explained(case)
    assert remedy.finding[0] not in string.ascii_uppercase
    assert not remedy.finding.endswith(".")
    assert remedy.do.endswith(".") and remedy.do.count(". ") == 0
    assert re.fullmatch(r"https://\S+", remedy.reference)
    for text in (remedy.finding, *remedy.python, *remedy.matlab):
        assert "{" not in text and "}" not in text and "None" not in text
    for text in (*remedy.python, *remedy.matlab):
        assert text == text.strip() and 1 <= len(text.splitlines()) <= 7
        assert all(len(line) <= 79 for line in text.splitlines())


@pytest.mark.parametrize("name", CONTRACT)
def test_layers_are_named_where_a_mistake_has_layers(name):
    without = {"normalisation-omitted", "normalisation-twice", "standardised",
               "input-affine", "std-ddof", "time-reversed", "features-reversed",
               "features-permuted", "transposed", "time-shift", "padding",
               "steps-dropped", "output-affine", "output-shift", "output-reversed",
               "columns-permuted", "closed-loop", "normalisation-partial",
               "input-memory-order", "sequences-reordered", "input-frozen",
               "fixed-length"}  # fmt: skip
    cases = [case for case in CASES if case.name == name]
    for case in cases:
        finding = explain(
            name, "LAYERS", case.parameters, cell=case.kind, right=case.own
        ).finding
        assert ("LAYERS" in finding) == (name not in without)


def test_unknown_mistakes_are_no_remedy():
    with pytest.raises(KeyError):
        explain("nonsense", "lstm_1", {})


@pytest.mark.parametrize(
    ("name", "parameters", "finding"),
    [
        (
            "shared-state",
            {},
            "one h, c pair is shared by lstm_1 and lstm_2: each layer starts its step "
            "from what the other has just written",
        ),
        (
            "gate-order",
            {"order": "iofg"},
            "the blocks of rows in lstm_1 and lstm_2 are read in another order than "
            "they lie: as i, o, f, g, while the file has i, f, g, o (gate order)",
        ),
        (
            "time-shift",
            {"steps": -1, "fill": "edge"},
            "the input comes 1 step too early, the last row repeated",
        ),
        (
            "padding",
            {"side": "right", "steps": 1},
            "1 step of 0 stands after the sequence and the network runs over the "
            "padding too",
        ),
        (
            "padding",
            {"side": "left", "steps": 2, "value": "neutral"},
            "2 steps of 0 (put in after the normalisation by hand) stand before the "
            "sequence and the network runs over the padding too",
        ),
        (
            "closed-loop",
            {"after": 5},
            "the first 5 steps of the recording are given, and from step 5 on, counted "
            "from 0, the network is fed its own output of the step before (closed "
            "loop)",
        ),
        (
            "sequences-reordered",
            {"order": (*range(1, 300), 0)},
            "the sequences are given in another order than the answers: 1, 2, 3, 4, 5, "
            "6, 7, 8, 9, 10, ..., counted from 0 (each comes one place too early)",
        ),
        (
            "fixed-length",
            {"length": 20, "side": "right", "cut": "left", "value": 0.0},
            "sequences are brought to 20 steps: longer ones lose their first steps and "
            "shorter ones are filled up with 0 after their last step",
        ),
        (
            "output-affine",
            {"slope": np.array([2.0, -0.5]), "offset": 3},
            "the output is multiplied by 2, -0.5 and moved by 3, as if its units were "
            "changed once too often or not at all",
        ),
    ],
)
def test_findings(name, parameters, finding):
    assert explain(name, "lstm_1 and lstm_2", parameters).finding == finding
