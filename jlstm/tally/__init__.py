"""Scores of more sequences than any memory holds: what is kept of them can be merged.

`tallied` is given the sequences that lie in memory at the moment; its tallies are
merged in any order to the measures of `jlstm.metrics` on all data. Only what is drawn,
the ten worst sequences, is kept whole, in `Worst`.
"""

from __future__ import annotations

from .rows import row_columns, sequence_row
from .tallying import Tally, tallied
from .worst import Worst

__all__ = ["Tally", "Worst", "row_columns", "sequence_row", "tallied"]
