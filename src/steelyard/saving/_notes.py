"""What Keras leaves out of a model's config: noted down, and put back on a model made from it.

Two things are. One variable in two layers, where one layer was given the other's. And a constraint
or a regularizer that was put on a variable later than its layer was made: Keras writes down what
the layer was made with.
"""

from __future__ import annotations

from typing import Any

import keras

from steelyard.errors import SharingError
from steelyard.live import (
    Substitute,
    attributes,
    let_go,
    list_for_torch,
    own_variables,
    own_weights,
    place_of,
    put_at,
    walk,
)

Notes = dict[str, Any]
VERSION = 1
# What can be put on a variable, and how a layer calls what it was made with: `kernel_constraint`.
_PUT_ON = ("constraint", "regularizer")


def noted(model: keras.Layer) -> Notes:
    """What a config of the model leaves out, as JSON; nothing of an ordinary model.

    Returns:
        Under "variables" a list for each variable that several layers hold, of where each does;
        under "constraint" and "regularizer" a list of where and what.
    """
    places = [(list(place.path), place.layer) for place in walk(model)]
    found: Notes = {"variables": _shared(places)}
    for kind in _PUT_ON:
        found[kind] = [
            [path, name, keras.saving.serialize_keras_object(getattr(variable, kind))]
            for path, layer in places
            for name, variable in own_weights(layer)
            if not isinstance(variable, Substitute) and _was_put_on(layer, variable, kind)
        ]
    return {key: value for key, value in found.items() if value}


def put_back(model: keras.Layer, notes: Notes) -> bool:
    """Makes a model what the notes say; tells whether layers share variables that did not before.

    Raises:
        SharingError: the model has not what the notes speak of.
    """
    layers = {place.path: place.layer for place in walk(model)}
    shared = [_share(model, layers, holders) for holders in notes.get("variables", ())]
    for kind in _PUT_ON:
        for path, name, config in notes.get(kind, ()):
            variable = dict(own_weights(_at(model, layers, path))).get(name)
            if variable is None:
                raise SharingError(_missing(model, [*path, name]))
            setattr(variable, kind, keras.saving.deserialize_keras_object(config))
    if any(shared):
        for layer in layers.values():
            list_for_torch(layer)
    return any(shared)


# --- constraints and regularizers -----------------------------------------------------------------


def _was_put_on(layer: keras.Layer, variable: keras.Variable, kind: str) -> bool:
    """Whether a variable has another constraint, say, than the layer would give it again."""
    put = getattr(variable, kind)
    if put is not None:
        return not any(held is put for held in attributes(layer).values())
    # Layers say `depthwise_constraint` of their `depthwise_kernel`.
    names = (variable.name, variable.name.removesuffix("_kernel"))
    return any(getattr(layer, f"{name}_{kind}", None) is not None for name in names)


# --- variables in several layers ------------------------------------------------------------------

# Where a layer holds a variable: the layer's path, the attribute, and the place among its own.
_Holder = list[Any]


def _shared(places: list[tuple[list[str], keras.Layer]]) -> list[list[_Holder]]:
    """The holders of each variable that is in several layers, an owner first."""
    holders: dict[int, list[_Holder]] = {}
    for path, layer in places:
        held = {id(variable): variable for variable in own_variables(layer)}
        names = {
            id(value): name
            for name, value in attributes(layer).items()
            if isinstance(value, keras.Variable) and not isinstance(value, Substitute)
        }
        for key in {**names, **held}:
            place = place_of(layer, held[key]) if key in held else None
            holders.setdefault(key, []).append([path, names.get(key), place and list(place)])
    return [
        sorted(found, key=lambda holder: holder[2] is None)
        for found in holders.values()
        if len(found) > 1
    ]


def _share(model: keras.Layer, layers: dict[Any, keras.Layer], holders: list[_Holder]) -> bool:
    shared, changed = _held(model, layers, holders[0]), False
    for path, name, place in holders[1:]:
        before = _held(model, layers, [path, name, place])
        if before is shared:
            continue  # the class of the layer sees to it
        if name is None or tuple(before.shape) != tuple(shared.shape):
            raise SharingError(_missing(model, path))
        _replace(layers[tuple(path)], name, before, shared, owns=place is not None)
        changed = True
    return changed


def _held(model: keras.Layer, layers: dict[Any, keras.Layer], holder: _Holder) -> keras.Variable:
    path, name, place = holder
    layer = _at(model, layers, path)
    found = attributes(layer).get(name)
    if place is not None and name is None:
        own = own_variables(layer)
        found = next((x for x in own if place_of(layer, x) == tuple(place)), None)
    if not isinstance(found, keras.Variable):
        raise SharingError(_missing(model, path))
    return found


def _replace(
    layer: keras.Layer, name: str, old: keras.Variable, new: keras.Variable, owns: bool
) -> None:
    place = place_of(layer, old)
    if owns and place is not None:
        let_go(layer, old)
        put_at(layer, new, place)
        setattr(layer, name, new)
    else:
        object.__setattr__(layer, name, new)  # past Keras, as it was done: the layer owns it not


def _at(model: keras.Layer, layers: dict[Any, keras.Layer], path: list[str]) -> keras.Layer:
    if tuple(path) not in layers:
        raise SharingError(_missing(model, path))
    return layers[tuple(path)]


def _missing(model: keras.Layer, path: list[str]) -> str:
    return (
        f"The file says that '{'/'.join(path)}' of '{model.name}' shares a variable, or has a "
        "constraint or regularizer of its own, but the model made from it has no such weight. Load "
        "it with the classes that it was saved with, or by `keras.saving.load_model`, without "
        "what is shared."
    )
