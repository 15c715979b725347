"""Folders of sequences, and runs whose answers are known without a network."""

from contextlib import contextmanager
from pathlib import Path

import numpy as np

from jlstm.dataset.kinds import Want
from jlstm.pytree import Shape
from jlstm.shards import manifest
from jlstm.shards.job import Job, asked
from jlstm.shards.manifest import Folder, Net, Options
from jlstm.shards.results import Layout
from jlstm.shards.sources import Source

FEATURES, OUTPUTS = 3, 2
LENGTHS = (7, 1, 12, 5)
NAMES = ("b", "a", "d 1", "7")


def want(once=False, classes=(), features=FEATURES):
    channels = len(classes) or OUTPUTS
    return Want(
        Shape(True, (), features),
        Shape(not once, (), channels),
        classes,
        np.dtype("float32"),
        1,
    )


def sequences(rng, lengths=LENGTHS):
    """Inputs and targets, in single precision: every file holds them exactly."""
    return [
        (
            rng.normal(size=(n, FEATURES)).astype("f4"),
            rng.normal(size=(n, OUTPUTS)).astype("f4"),
        )
        for n in lengths
    ]


def answers(x):
    """What stands in for a network: sums since the first step."""
    return np.cumsum(x[:, :OUTPUTS], axis=0, dtype="f4")


def job(options, once=False, run=None):
    over_time = not once
    return Job(
        run or (lambda xs: [answers(x) if over_time else x[-1, :OUTPUTS] for x in xs]),
        want(once),
        asked(options),
        Layout(("y1", "y2"), (), over_time, None, np.dtype("float32")),
        1,
        3,
    )


@contextmanager
def begun(out: Path, data: Path, **options):
    """A folder in which a run has begun, what it was begun with, and the options."""
    given = Options(**options)
    net = Net(file="net", sha256="0")
    evaluation = manifest.of([net], data, Source.of(data), given)
    folder = Folder(out)
    folder.begin(evaluation)
    yield folder, evaluation, given


def write_table(path: Path, named, header=True):
    """A CSV file: sequence, inputs a b c, targets u v."""
    lines = ["id,a,b,c,u,v"] if header else []
    for name, (x, y) in named:
        for row in np.concatenate([x, y], axis=1):
            lines.append(",".join([name, *(str(float(v)) for v in row)]))
    path.write_text("\n".join(lines) + "\n")
