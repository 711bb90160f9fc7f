"""The model under audit: what all checks ask of it, worked out once. Reads no values."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any, NamedTuple

import keras

from steelyard.findings._held import Held, held_by, is_array, is_of_a_framework
from steelyard.live import (
    Place,
    call_arguments,
    children,
    holds,
    is_graph_model,
    is_remade_from_layers,
    operations,
    own_weights,
    walk,
)


class Row(NamedTuple):
    """A weight, and the layer that holds it itself."""

    address: str
    name: str
    layer: keras.Layer
    variable: keras.Variable


class Found(NamedTuple):
    """What a check found: a `Finding` that does not know its code yet."""

    address: str
    message: str
    fix: str


class Subject:
    """A model or layer, and what is known of it without building, calling or tracing anything.

    Attributes:
        model: The model or layer.
        places: Its layers and itself, in the order of the model.
    """

    def __init__(self, model: keras.Layer) -> None:
        self.model = model
        self.places: list[Place] = walk(model)
        self._addresses = {id(place.layer): "/".join(place.path) for place in self.places}

    def address(self, layer: keras.Layer, *more: str) -> str:
        """The address of a layer of the model, or of what it holds."""
        return "/".join(part for part in (self._addresses[id(layer)], *more) if part)

    def has(self, layer: keras.Layer) -> bool:
        """Whether Keras tracks a layer as part of the model."""
        return id(layer) in self._addresses

    @functools.cached_property
    def rows(self) -> list[Row]:
        """The weights, each once for each layer that holds it."""
        return [
            Row(self.address(place.layer, name), name, place.layer, variable)
            for place in self.places
            for name, variable in own_weights(place.layer)
        ]

    @functools.cached_property
    def tracked(self) -> set[int]:
        """The identities of all variables that the model trains, saves or updates."""
        known = {id(row.variable) for row in self.rows}
        for place in self.places:
            known |= {id(variable) for variable in place.layer.variables}
            if isinstance(place.layer, keras.Model):
                known |= {id(variable) for variable in place.layer.metrics_variables}
                optimizer = getattr(place.layer, "optimizer", None)
                known |= {id(variable) for variable in getattr(optimizer, "variables", ())}
        return known

    @functools.cached_property
    def held(self) -> dict[int, list[Held]]:
        """What each layer holds at any depth, by the identity of the layer."""
        return {id(place.layer): held_by(place.layer) for place in self.places}

    @functools.cached_property
    def constants(self) -> list[tuple[str, str, Any]]:
        """The variables and arrays that operations of a graph were given.

        Each with the address of the operation and its class.
        """
        return [
            (self.address(place.layer, operation.name), type(operation).__name__, value)
            for place in self.places
            if is_graph_model(place.layer)
            for operation in operations(place.layer)
            for value in call_arguments(operation)
            if isinstance(value, keras.Variable) or is_array(value)
        ]

    @functools.cached_property
    def parents(self) -> dict[int, list[keras.Layer]]:
        """The layers that track a layer directly, by the identity of that."""
        found: dict[int, list[keras.Layer]] = {}
        for place in self.places:
            for _, child in children(place.layer):
                found.setdefault(id(child), []).append(place.layer)
        return found

    def above(self, layer: keras.Layer) -> list[keras.Layer]:
        """The layers that track a layer at any depth."""
        found: dict[int, keras.Layer] = {}
        queue = [layer]
        while queue:
            for parent in self.parents.get(id(queue.pop()), ()):
                if id(parent) not in found:
                    found[id(parent)] = parent
                    queue.append(parent)
        return list(found.values())

    @functools.cached_property
    def remade(self) -> set[int]:
        """The identities of the layers that a load or a clone makes anew from their own config.

        Other layers are made by the code of the layer that holds them, which may do to them again
        what was done to these.
        """
        found = {id(self.model)} if is_graph_model(self.model) else set()
        for place in self.places:
            if id(place.layer) not in found:
                continue
            if is_remade_from_layers(place.layer):
                found |= {id(child) for child in place.layer.layers}
            elif is_of_a_framework(type(place.layer)) and not is_graph_model(place.layer):
                found |= {id(child) for _, child in children(place.layer)}
        return found

    def leads_back(self, found: keras.Layer, holder: keras.Layer) -> bool:
        """Whether a layer that `holder` holds is one that `holder` itself is a part of.

        A handle on the model, to look things up, is nothing that Keras should track.
        """
        return found is self.model or holds(found, holder)


def may_have_weights(layer: keras.Layer) -> bool:
    """Whether a layer has weights, or would make some when it is built."""
    return bool(layer.weights) or any(
        not part.built and type(part).build not in _MAKE_NONE for part in _parts(layer)
    )


_MAKE_NONE = (keras.Layer.build, keras.Model.build, keras.Sequential.build)


def _parts(layer: keras.Layer) -> Iterator[keras.Layer]:
    return (place.layer for place in walk(layer))


def described(layer: keras.Layer) -> str:
    """A layer in words."""
    return f"{type(layer).__name__} '{layer.name}'"


def some(names: list[Any], most: int = 4) -> str:
    """A few names, and how many more there are."""
    shown = ", ".join(str(name) for name in names[:most])
    return shown + (f" and {len(names) - most:,} more" if len(names) > most else "")
