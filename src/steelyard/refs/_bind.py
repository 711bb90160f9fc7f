"""Who borrows what in a model, and binding it by hand."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras

from steelyard.errors import SteelyardError, TargetError
from steelyard.live import attributes, holds, walk
from steelyard.records import Borrowing
from steelyard.refs._ref import WeightRef


def bind(model: keras.Layer) -> keras.Layer:
    """Finds the owners of all references in a model: those not found yet, and those replaced.

    Models bind their references by themselves when they are called. This does it at once, and
    again after a layer was replaced by another one at the same address. Safe to repeat.

    Args:
        model: the model, or layer, that holds both borrowers and owners.

    Returns:
        The same model.

    Raises:
        SteelyardError: a reference leads nowhere in this model; the message says which.
        TargetError: `model` is no Keras model or layer.
    """
    _check(model)
    moved = False
    for holder, reference in _held_in(model):
        moved |= reference.target.rebind(holder, model)
        if not reference.is_bound:
            raise reference.target.not_found(holder, model)
    if moved:
        for name in ("train_function", "test_function", "predict_function"):
            # What was compiled reads the layer of before.
            if hasattr(model, name):
                setattr(model, name, None)
    return model


def references(model: keras.Layer) -> list[Borrowing]:
    """Who borrows what in a model.

    Args:
        model: the model, or layer, to look through.

    Returns:
        One record a reference: the address of the holder, the address of the weight, whether the
        owner is known, and, if not, why.
    """
    _check(model)
    return [_record(model, holder, reference) for holder, reference in _held_in(model)]


def _record(model: keras.Layer, holder: keras.Layer, reference: WeightRef) -> Borrowing:
    where = next(place for place in walk(model) if place.layer is holder)
    reason = ""
    try:
        if reference.target.resolve(holder, model) is None:
            reason = str(reference.target.not_found(holder, model))
        elif holds(model, reference.target.layer):
            reference.target.remember(holder, model)
    except SteelyardError as error:
        reason = str(error)
    return Borrowing("/".join(where.path), reference.address, reference.is_bound, reason)


def _held_in(model: keras.Layer) -> Iterator[tuple[keras.Layer, WeightRef]]:
    """Each reference that an attribute of a layer holds, also in lists and dictionaries."""
    for place in walk(model):
        seen: set[int] = set()
        for value in attributes(place.layer).values():
            for reference in _references_in(value):
                if id(reference) not in seen:
                    seen.add(id(reference))
                    yield place.layer, reference


def _references_in(value: Any, depth: int = 8) -> Iterator[WeightRef]:
    if isinstance(value, WeightRef):
        yield value
    elif depth and isinstance(value, dict):
        for item in value.values():
            yield from _references_in(item, depth - 1)
    elif depth and isinstance(value, (list, tuple, set, frozenset)):
        for item in value:
            yield from _references_in(item, depth - 1)


def _check(model: Any) -> None:
    if not isinstance(model, keras.Layer):
        raise TargetError(
            f"A Keras model or layer is wanted here. Received an object of type "
            f"{type(model).__name__}."
        )
