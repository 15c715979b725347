"""One reader for each layer class of MATLAB's Deep Learning Toolbox.

A reader gets the saved fields of a layer (see `fields.Fields`) and the shapes of its
inputs, and returns a `Built`. Every field is taken, ignored by name, or refused. Field
names are the same from struct version to struct version; later versions only add some,
whose defaults are what the earlier releases computed.

`registry` is the table of all readers; the other modules fill it, family by family.
"""

from . import attention as attention
from . import convolution as convolution
from . import dense as dense
from . import inputs as inputs
from . import joining as joining
from . import normalisation as normalisation
from . import outputs as outputs
from . import pooling as pooling
from . import recurrent as recurrent
from .outputs import custom_output as custom_output
from .registry import READERS as READERS
from .registry import Built as Built
from .registry import is_layer as is_layer
from .registry import read as read
