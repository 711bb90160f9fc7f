"""Letting a layer know of rewrites, by a generated subclass of its class; and taking that back."""

from __future__ import annotations

import functools
from typing import Any

import keras

from steelyard.live import as_default, is_default
from steelyard.refs import build_once
from steelyard.substitutes._ledger import LEDGER, Ledger, ledger_of
from steelyard.substitutes._storage import Added

# The name of an attribute, and so of a part of a weights file.
ADDED = "steelyard_added"

_register = keras.saving.register_keras_serializable(package="steelyard", name="Rewritten")
_MIXIN: list[Any] = []


def mixin(rewritten: Any) -> Any:
    """Makes a class the one that is put before the class of each adopted layer."""
    _MIXIN.append(_register(rewritten))
    return rewritten


def adopt(layer: keras.Layer) -> Ledger:
    """Lets a layer know of rewrites; the same ledger if it does already."""
    ledger = ledger_of(layer)
    if ledger is None:
        ledger = Ledger(layer)
        vars(layer)[LEDGER] = ledger
        vars(layer)[ADDED] = Added(layer)
        base: Any = ledger.base
        layer.__class__ = _class_for(base)
        vars(layer)["build"] = build_once(layer)
        _watch_quantize(layer)
    return ledger


def release(layer: keras.Layer) -> None:
    """Makes a layer of which nothing is rewritten any more what it was."""
    ledger = ledger_of(layer)
    if ledger is None or not ledger.is_empty():
        return
    del vars(layer)[LEDGER], vars(layer)[ADDED]
    layer.__class__ = ledger.base
    layer.built = ledger.built
    vars(layer)["quantize"] = vars(layer)["quantize"].__wrapped__


@functools.cache
def _class_for(base: Any) -> Any:
    (rewritten,) = _MIXIN

    # Wrapped, as Keras reads the names of its arguments.
    @functools.wraps(base.call)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        return rewritten.call(self, *args, **kwargs)

    def get_config(self: Any) -> dict[str, Any]:
        return rewritten.get_config(self)

    def new(cls: Any, *args: Any, **kwargs: Any) -> Any:
        """A layer of the class of before: only `adopt` makes what this class is for."""
        return base(*args, **kwargs)

    names = {
        "__new__": new,
        "__module__": base.__module__,
        "__qualname__": base.__qualname__,
        "__doc__": base.__doc__,
        "call": call,
        # Where the class has none of its own, Keras writes the arguments of `__init__`.
        "get_config": as_default(get_config) if is_default(base.get_config) else get_config,
        "base_of_rewritten": base,
    }
    made = type(base)(base.__name__, (rewritten, base), names)
    _register(made)
    _register(rewritten)  # the name leads here again; its `from_config` finds the base
    return made


def _watch_quantize(layer: Any) -> None:
    """Keras puts its wrapper of `quantize` on the layer, where no class can come before it."""
    quantize = layer.quantize

    @functools.wraps(quantize)
    def quantize_rewritten(*args: Any, **kwargs: Any) -> Any:
        if ledger_of(layer) is None or layer.is_ready_to_quantize():
            return quantize(*args, **kwargs)
        return None

    vars(layer)["quantize"] = quantize_rewritten
