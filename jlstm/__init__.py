"""jlstm: trained recurrent networks out of MATLAB into JAX, proven equal.

    import jlstm as jl

    net = jl.load("net.mat")
    print(net)
    y = jl.predict(net, x)                    # x (time, features)
    print(jl.validate(net, x, y_recorded))

Names are imported when they are first used: `import jlstm` does not import jax.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .auditing import Audit as Audit
    from .auditing import audit as audit
    from .conversion import Conversion as Conversion
    from .conversion import convert as convert
    from .diagnosis import Diagnosis as Diagnosis
    from .diagnosis import diagnose as diagnose
    from .ensemble import Ensemble as Ensemble
    from .ensemble import finetune_ensemble as finetune_ensemble
    from .errors import Ambiguous as Ambiguous
    from .errors import DamagedFile as DamagedFile
    from .errors import InputError as InputError
    from .errors import JlstmError as JlstmError
    from .errors import Unsupported as Unsupported
    from .evaluation import MatlabPadding as MatlabPadding
    from .evaluation import evaluate as evaluate
    from .finetuning import FineTuning as FineTuning
    from .finetuning import finetune as finetune
    from .forecasting import Forecast as Forecast
    from .forecasting import forecast as forecast
    from .formats import matlab_arrays as matlab_arrays
    from .formats import save as save
    from .formats.trees import from_equinox as from_equinox
    from .formats.trees import from_flax as from_flax
    from .formats.trees import from_haiku as from_haiku
    from .formats.trees import from_tensorflow1 as from_tensorflow1
    from .golden import Golden as Golden
    from .linearization import linearize as linearize
    from .linearization import sensitivity as sensitivity
    from .loading import load as load
    from .network import Network as Network
    from .network import Node as Node
    from .network import init_state as init_state
    from .network import predict as predict
    from .network import step as step
    from .recurrent import GRU as GRU
    from .recurrent import LSTM as LSTM
    from .recurrent import RNN as RNN
    from .recurrent import Bidirectional as Bidirectional
    from .recurrent import Gate as Gate
    from .recurrent import GRUState as GRUState
    from .recurrent import LSTMState as LSTMState
    from .statespace import StateSpace as StateSpace
    from .stream import Stream as Stream
    from .validation import Validation as Validation
    from .validation import validate as validate

_HOME = {
    "auditing": ("Audit", "audit"),
    "conversion": ("Conversion", "convert"),
    "diagnosis": ("Diagnosis", "diagnose"),
    "errors": ("JlstmError", "DamagedFile", "Unsupported", "Ambiguous", "InputError"),
    "ensemble": ("Ensemble", "finetune_ensemble"),
    "evaluation": ("MatlabPadding", "evaluate"),
    "finetuning": ("FineTuning", "finetune"),
    "forecasting": ("Forecast", "forecast"),
    "formats": ("matlab_arrays", "save"),
    "formats.trees": ("from_equinox", "from_flax", "from_haiku", "from_tensorflow1"),
    "golden": ("Golden",),
    "linearization": ("linearize", "sensitivity"),
    "loading": ("load",),
    "network": ("Network", "Node", "init_state", "predict", "step"),
    "recurrent": (
        "LSTM",
        "GRU",
        "RNN",
        "Bidirectional",
        "Gate",
        "LSTMState",
        "GRUState",
    ),
    "statespace": ("StateSpace",),
    "stream": ("Stream",),
    "validation": ("Validation", "validate"),
}
_MODULE = {name: module for module, names in _HOME.items() for name in names}
_PACKAGES = ("layers",)

__version__ = "0.1.0"
__all__ = sorted([*_MODULE, *_PACKAGES])


def __getattr__(name: str) -> Any:
    if name in _MODULE:
        value = getattr(import_module(f".{_MODULE[name]}", __name__), name)
    elif name in _PACKAGES:
        value = import_module(f".{name}", __name__)
    else:
        raise AttributeError(f"module 'jlstm' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
