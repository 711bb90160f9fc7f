"""Steelyard: reach, weigh and rewrite the weights of Keras models.

This file is the map from each public name to the module that holds it. A module is opened when
one of its names is first used, so `import steelyard` loads neither Keras nor a backend. The one
thing that it does is to have our layers made known to Keras once Keras is there.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from steelyard.registration import finish, register

__version__ = "0.1.0"

_NAMES = {
    "Change": "records",
    "Changes": "selection",
    "Finding": "records",
    "Metric": "records",
    "Monitor": "monitor",
    "Reading": "records",
    "Readings": "readings",
    "Run": "readings",
    "SteelyardError": "errors",
    "Weight": "selection",
    "WeightRef": "refs",
    "Weights": "selection",
    "audit": "findings",
    "bake": "substitutes",
    "bind": "refs",
    "call": "symbolic",
    "catalog": "metrics",
    "clone_model": "saving",
    "convert": "converting",
    "copy_weights": "rewrite",
    "diff": "diffing",
    "load_model": "saving",
    "measure": "measuring",
    "parametrizations_of": "substitutes",
    "parametrize": "substitutes",
    "penalize": "substitutes",
    "ref": "refs",
    "references": "refs",
    "save_model": "saving",
    "tie": "substitutes",
    "value": "symbolic",
    "weights": "opening",
}
_ROOMS = ("errors", "layers", "metrics", "parametrizations")

if TYPE_CHECKING:
    from steelyard import errors, layers, metrics, parametrizations
    from steelyard.converting import convert
    from steelyard.diffing import diff
    from steelyard.errors import SteelyardError
    from steelyard.findings import audit
    from steelyard.measuring import measure
    from steelyard.metrics import catalog
    from steelyard.monitor import Monitor
    from steelyard.opening import weights
    from steelyard.readings import Readings, Run
    from steelyard.records import Change, Finding, Metric, Reading
    from steelyard.refs import WeightRef, bind, ref, references
    from steelyard.rewrite import copy_weights
    from steelyard.saving import clone_model, load_model, save_model
    from steelyard.selection import Changes, Weight, Weights
    from steelyard.substitutes import bake, parametrizations_of, parametrize, penalize, tie
    from steelyard.symbolic import call, value

__all__ = [
    "Change",
    "Changes",
    "Finding",
    "Metric",
    "Monitor",
    "Reading",
    "Readings",
    "Run",
    "SteelyardError",
    "Weight",
    "WeightRef",
    "Weights",
    "__version__",
    "audit",
    "bake",
    "bind",
    "call",
    "catalog",
    "clone_model",
    "convert",
    "copy_weights",
    "diff",
    "errors",
    "layers",
    "load_model",
    "measure",
    "metrics",
    "parametrizations",
    "parametrizations_of",
    "parametrize",
    "penalize",
    "ref",
    "references",
    "save_model",
    "tie",
    "value",
    "weights",
]


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        room = import_module(f"{__name__}.{name}")
        finish()
        return room
    if name in _NAMES:
        value = getattr(import_module(f"{__name__}.{_NAMES[name]}"), name)
        finish()
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
