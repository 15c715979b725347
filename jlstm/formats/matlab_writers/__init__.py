"""One writer for each kind of layer: the inverse of `matlab_layers`.

A writer says what a layer is in MATLAB: its class and public properties, as
`jlstm_export.m` writes them, and the call of the constructor that makes it again. What
MATLAB has no constructor for is refused by name.

`registry` is the table of all writers; the other modules fill it, family by family.
"""

from . import inputs as inputs
from . import joining as joining
from . import pointwise as pointwise
from . import recurrent as recurrent
from . import tables as tables
from . import windows as windows
from .registry import WRITERS as WRITERS
from .registry import Expression as Expression
from .registry import Parameter as Parameter
from .registry import Place as Place
from .registry import Written as Written
from .registry import input_ports as input_ports
from .registry import write as write
