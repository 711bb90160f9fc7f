"""Layers and variables that the model computes with, held where Keras does not look."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras

from steelyard.findings._held import Held, is_of_a_framework, is_raw
from steelyard.findings._subject import Found, Subject, described, may_have_weights, some
from steelyard.live import Place, Substitute, is_graph_model, is_initialized, own_weights, walk

_HOLD = (
    "Hold it in an attribute of a layer that is part of the model (`self.{name} = ...` in "
    "`__init__`, or a list or dictionary that is one); if it is not to be trained, say so by "
    "`trainable = False`."
)


def untracked_layers(subject: Subject) -> Iterator[Found]:
    """Layers with weights that an object, a function or a hidden attribute holds."""
    seen: set[int] = set()
    for place, held in _held(subject, keras.Layer):
        layer = held.value
        if id(layer) in seen or not _is_lost(subject, layer, place.layer):
            continue
        seen.add(id(layer))
        names = [name for part in walk(layer) for name, _ in own_weights(part.layer)]
        whose = f"its weights ({some(names)})" if names else "the weights that it will make"
        yield Found(
            subject.address(place.layer, *held.way),
            f"{described(layer)} is held where Keras does not look, so {whose} are neither "
            "counted, trained nor saved.",
            _HOLD.format(name=held.way[-1] if held.way[-1].isidentifier() else layer.name),
        )


def _is_lost(subject: Subject, layer: keras.Layer, holder: keras.Layer) -> bool:
    # Frozen by its user: a teacher, or a network that only measures.
    if subject.has(layer) or not layer.trainable or subject.leads_back(layer, holder):
        return False
    if layer.weights:
        return any(id(weight) not in subject.tracked for weight in layer.weights)
    return may_have_weights(layer)


def untracked_variables(subject: Subject) -> Iterator[Found]:
    """Variables, and states of metrics and seed generators, that are held so."""
    seen: set[int] = set(subject.tracked)
    for place, held in _held(subject, (keras.Variable, keras.Metric, keras.random.SeedGenerator)):
        for variable in _variables(held.value):
            if id(variable) in seen or isinstance(variable, Substitute):
                continue
            seen.add(id(variable))
            what = f"Variable '{variable.path}' of shape {tuple(variable.shape)}"
            if not isinstance(held.value, keras.Variable):
                what += f", the state of a {type(held.value).__name__},"
            yield Found(
                subject.address(place.layer, *held.way),
                f"{what} is held where Keras does not look, so it is neither counted, trained, "
                "updated by a compiled step nor saved.",
                _MAKE,
            )
    yield from _of_the_backend(subject)
    yield from _in_graphs(subject, seen)


_MAKE = (
    "Make it by `self.add_weight` in `build`, or hold it as a `keras.Variable` in an attribute of "
    "a layer that is part of the model."
)


def _of_the_backend(subject: Subject) -> Iterator[Found]:
    stores = {id(row.variable.value) for row in subject.rows if is_initialized(row.variable)}
    for place in subject.places:
        for held in subject.held[id(place.layer)]:
            by_keras = len(held.way) == 1 and is_of_a_framework(type(place.layer))
            if is_raw(held.value) and not by_keras and id(held.value) not in stores:
                kind = f"{type(held.value).__module__.partition('.')[0]}'s own"
                yield Found(
                    subject.address(place.layer, *held.way),
                    f"A {type(held.value).__name__} of {kind} is held here, which Keras does not "
                    "track: it is neither counted, trained by `fit` nor saved.",
                    _MAKE,
                )


def _in_graphs(subject: Subject, seen: set[int]) -> Iterator[Found]:
    for operation, _, variable in subject.constants:
        if isinstance(variable, keras.Variable) and id(variable) not in seen:
            seen.add(id(variable))
            yield Found(
                operation,
                f"Variable '{variable.path}' of shape {tuple(variable.shape)} is an argument of "
                "this operation, and belongs to no layer of the model, so it is neither counted, "
                "trained nor saved.",
                "Make it a weight of a layer of the model (`self.add_weight` in `build`) that does "
                "the operation in its `call`.",
            )


def _variables(value: Any) -> list[keras.Variable]:
    if isinstance(value, keras.random.SeedGenerator):
        return [value.state]
    return [value] if isinstance(value, keras.Variable) else list(value.variables)


def _held(subject: Subject, kind: Any) -> Iterator[tuple[Place, Held]]:
    for place in subject.places:
        for held in subject.held[id(place.layer)]:
            if isinstance(held.value, kind):
                yield place, held


def replaced_layers(subject: Subject) -> Iterator[Found]:
    """Layers that Keras goes on tracking, though another one took their place."""
    reached = {id(held.value) for place in subject.places for held in subject.held[id(place.layer)]}
    for place in subject.places:
        if is_graph_model(place.layer):
            reached |= {id(layer) for layer in place.layer.layers}
    for place in subject.places[1:]:
        layer = place.layer
        parents = subject.parents.get(id(layer), [])
        if id(layer) in reached or not layer.weights:
            continue
        if any(is_of_a_framework(type(p)) and not is_graph_model(p) for p in parents):
            continue
        yield Found(
            subject.address(layer),
            f"Nothing holds {described(layer)} any more, as another one took its place, and Keras "
            "still counts and saves its weights and hands them to the optimizer.",
            "Make a new model with the layer that is wanted, and move the other weights to it "
            "(`sy.copy_weights`).",
        )
