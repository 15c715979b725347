"""Layers as MATLAB saves them, with random weights of trained scale.

One function a layer class; `version` is the version of its struct. Which field came
with which version was read off real files where there are any, and otherwise follows
the public properties of the class. `custom` makes the layers that have no `saveobj`:
their properties lie in the file one by one, those of their base class qualified.
"""

from .attention import self_attention as self_attention
from .attention import word_embedding as word_embedding
from .base import affine as affine
from .base import custom as custom
from .base import layer as layer
from .base import learnable as learnable
from .base import normal as normal
from .base import positive as positive
from .dense import batch_normalization as batch_normalization
from .dense import classification as classification
from .dense import dense as dense
from .dense import normalization as normalization
from .dense import regression as regression
from .dense import softmax as softmax
from .inputs import feature_input as feature_input
from .inputs import image_input as image_input
from .inputs import sequence_input as sequence_input
from .inputs import statistics as statistics
from .recurrent import bilstm as bilstm
from .recurrent import gru as gru
from .recurrent import lstm as lstm
from .recurrent import projected as projected
from .windows import convolution1 as convolution1
from .windows import convolution2 as convolution2
from .windows import grouped_convolution2 as grouped_convolution2
from .windows import pooling as pooling
