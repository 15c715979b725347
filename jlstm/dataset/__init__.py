"""Recordings to learn from: read, checked, split into parts, cut into windows, batched.

    parts = split(recordings("run.csv", net, data), data)
    for batch in batches(windows(parts.train, data), config, epoch, drop_last=True): ...

Everything is NumPy, in the precision of the network, and nothing is transposed unless
the kind of file says so.
"""

from .batching import batches as batches
from .kinds import Batch as Batch
from .kinds import Parts as Parts
from .kinds import Recording as Recording
from .parts import folds as folds
from .parts import split as split
from .parts import windows as windows
from .reading import recordings as recordings
from .units import recorded as recorded
