"""Networks as self-contained C99: one file and its header, no allocation.

`spelling.py` writes numbers and names, `functions.py` takes functions from the
templates in `data/c`. One writer a layer, entered in `registry.py`: `pointwise.py`,
`combining.py`, `normalising.py`, `windows.py`, `cells.py`. `writing.py` puts them
together as a `program.py`: `wiring.py` is what the graph says, `stateless.py` and
`running.py` the calls, `buffers.py` the arrays between them, `interface.py` what the
caller sees. `source.py`, `header.py` and `selftest.py` are the text; `compiling.py`
proves it.
"""

from .compiling import Rerun as Rerun
from .compiling import rerun as rerun
from .saving import require_free as require_free
from .saving import save as save
