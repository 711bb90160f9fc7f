"""Who borrows what in a model, and binding it by hand."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import keras

from steelyard.errors import SteelyardError, TargetError, UnbuiltOwnerError
from steelyard.live import Place, still_held, walk
from steelyard.records import Borrowing
from steelyard.refs._readings import held_references
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
    for place, reference in _held_in(model):
        moved |= reference.target.rebind(place.layer, model)
        if not reference.is_bound:
            raise reference.target.not_found(place.layer, model)
        with contextlib.suppress(UnbuiltOwnerError):
            reference.check()
        _finish(place.layer)
    if moved:
        for name in ("train_function", "test_function", "predict_function"):
            # What was compiled reads the layer of before.
            if hasattr(model, name):
                setattr(model, name, None)
    return model


def _finish(holder: keras.Layer) -> None:
    """Builds a layer that was told its input shape, but had to wait for its owner."""
    config = holder.get_build_config()
    if config and not holder.built:
        holder.build_from_config(config)


def references(model: keras.Layer) -> list[Borrowing]:
    """Who borrows what in a model.

    Args:
        model: the model, or layer, to look through.

    Returns:
        One record a reference: the address of the holder, the address of the weight, whether the
        owner is known, and, if not, why.
    """
    _check(model)
    return [_record(model, place, reference) for place, reference in _held_in(model)]


def _record(model: keras.Layer, place: Place, reference: WeightRef) -> Borrowing:
    target, reason = reference.target, ""
    try:
        layer = target.resolve(place.layer, model)
        if layer is None:
            reason = str(target.not_found(place.layer, model))
        elif still_held(model, layer):
            target.remember(place.layer, model)
        else:
            reason = f"{target.described()} is no part of '{model.name}'"
    except SteelyardError as error:
        reason = str(error)
    return Borrowing("/".join(place.path), reference.address, reference.is_bound, reason)


def _held_in(model: keras.Layer) -> Iterator[tuple[Place, WeightRef]]:
    """Each reference that a layer of the model holds."""
    for place in walk(model):
        yield from ((place, reference) for reference in held_references(place.layer))


def _check(model: Any) -> None:
    if not isinstance(model, keras.Layer):
        raise TargetError(
            f"A Keras model or layer is wanted here. Received an object of type "
            f"{type(model).__name__}."
        )
