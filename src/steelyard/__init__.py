"""Steelyard: reach, weigh and rewrite the weights of Keras models.

This file is the map from each public name to the module that holds it. A module is opened when
one of its names is first used, so `import steelyard` loads neither Keras nor a backend. The one
thing that it does is to have our layers made known to Keras once Keras is there.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from steelyard.registration import register

__version__ = "0.1.0"

_NAMES = {
    "SteelyardError": "errors",
    "Weight": "selection",
    "WeightRef": "refs",
    "Weights": "selection",
    "bind": "refs",
    "ref": "refs",
    "references": "refs",
    "weights": "opening",
}
_ROOMS = ("errors", "layers", "metrics")

if TYPE_CHECKING:
    from steelyard import errors, layers, metrics
    from steelyard.errors import SteelyardError
    from steelyard.opening import weights
    from steelyard.refs import WeightRef, bind, ref, references
    from steelyard.selection import Weight, Weights

__all__ = [
    "SteelyardError",
    "Weight",
    "WeightRef",
    "Weights",
    "__version__",
    "bind",
    "errors",
    "layers",
    "metrics",
    "ref",
    "references",
    "weights",
]


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return import_module(f"{__name__}.{name}")
    if name in _NAMES:
        value = getattr(import_module(f"{__name__}.{_NAMES[name]}"), name)
        globals()[name] = value
        return value
    # Late: it is needed only for the hint, and costs as much as the rest of this import.
    from difflib import get_close_matches

    near = get_close_matches(name, __all__, n=3)
    hint = f" Did you mean {' or '.join(repr(n) for n in near)}?" if near else ""
    # AttributeError's own `name` is left unset: Python would append a second suggestion.
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}.{hint}")


def __dir__() -> list[str]:
    return sorted(__all__)


register()
