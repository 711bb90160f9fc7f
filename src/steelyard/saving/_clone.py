"""`clone_model`: Keras's own, with each layer cloned once, wherever it is used."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import keras

from steelyard.errors import SharingError, SourceError
from steelyard.live import children, identified, is_graph_model, is_remade_from_layers, walk
from steelyard.saving._config import identifiable, ids_inside
from steelyard.saving._notes import noted, put_back

Path = tuple[str, ...]


def clone_model(
    model: keras.Model,
    input_tensors: Any = None,
    clone_function: Callable[[Any], Any] | None = None,
    call_function: Callable[..., Any] | None = None,
) -> keras.Model:
    """A new model like `model`, with weights of its own, in which all that is shared is shared.

    Keras's own `clone_model` makes two layers of one that is used in two models inside of the
    model, or in a wrapper and outside of it. Here each layer is cloned once. What was put on a
    built variable (`layer.kernel.constraint = …`) is on the clone's, too.

    Args:
        model: the model; it stays as it is.
        input_tensors: symbolic tensors to build the clone upon; new inputs if None.
        clone_function: `fn(layer) -> layer`, asked once for each layer, those of models inside of
            the model included. Wrappers and layers with layers in them are handed over whole.
        call_function: `fn(layer, *args, **kwargs)`, which calls each new layer. As in Keras, for
            Functional models only.

    Returns:
        The clone, freshly initialized; compiled as the model is.

    Raises:
        SharingError: something is shared in a way that cannot be cloned.
        SourceError: this is no model.
        ValueError: a model that is no graph of layers was to be cloned with one of the options.
    """
    if not isinstance(model, keras.Model):
        raise SourceError(f"A Keras model is wanted here. Received: {type(model).__name__}.")
    parts = identifiable(model)
    with identified(parts, others=False) as made:
        cloning = _Cloning(model, parts, made, clone_function, call_function)
        clone = cloning.top(input_tensors)
    if clone_function is None and call_function is None:
        _check_shared(model, clone)
        _give_flags(model, clone)
        if put_back(clone, noted(model)) and clone.compiled:
            clone.compile_from_config(model.get_compile_config())
    return clone


class _Cloning:
    """One run: what was cloned already, by the id of the original.

    Attributes:
        parts: the layers and operations of the model by id.
        made: the clones; Keras looks here, too, when it makes the layers inside a layer.
    """

    def __init__(
        self,
        model: keras.Model,
        parts: list[Any],
        made: dict[int, Any],
        clone_function: Callable[[Any], Any] | None,
        call_function: Callable[..., Any] | None,
    ) -> None:
        self.model = model
        self.parts = {id(part): part for part in parts}
        self.made = made
        self.clone_function = clone_function
        self.call_function = call_function
        held = Counter(id(child) for part in parts for child in _held_in(part))
        self.several = {key for key, times in held.items() if times > 1}

    def top(self, input_tensors: Any) -> keras.Model:
        """The clone of the whole model."""
        if is_graph_model(self.model):
            return self._graph(self.model, input_tensors)
        self._first(self.model.get_config())
        return keras.models.clone_model(
            self.model, input_tensors, self.clone_function, self.call_function
        )

    def one(self, part: Any) -> Any:
        """The clone of a layer or operation, the same one each time."""
        if id(part) not in self.made:
            new = self._new(part)
            self.made[id(part)] = new
        return self.made[id(part)]

    def _new(self, part: Any) -> Any:
        if is_remade_from_layers(part):
            return self._graph(part)
        config = part.get_config()
        self._first(config)
        if self.clone_function is not None:
            return self.clone_function(part)
        with keras.saving.custom_object_scope(_classes(self.parts.values())):
            return type(part).from_config(config)

    def _graph(self, model: keras.Model, input_tensors: Any = None) -> keras.Model:
        calls = self.call_function if not isinstance(model, keras.Sequential) else None
        if model is self.model:
            calls = self.call_function  # Keras says what is wrong with it
        return keras.models.clone_model(model, input_tensors, self.one, calls)

    def _first(self, config: Any) -> None:
        """Clones the models, and all that is used elsewhere too, that a config has inside of it."""
        for key in ids_inside(config):
            part = self.parts.get(key)
            elsewhere = key in self.several or is_remade_from_layers(part)
            if part is not None and part is not self.model and elsewhere:
                self.one(part)


def _held_in(part: Any) -> list[Any]:
    return [child for _, child in children(part)] if isinstance(part, keras.Layer) else []


def _classes(parts: Any) -> dict[str, type]:
    """The users' own classes by name: a clone is made in the process that has them."""
    kinds = {type(part) for part in parts}
    own = [kind for kind in kinds if kind.__module__.partition(".")[0] != "keras"]
    names = Counter(kind.__name__ for kind in own)
    return {kind.__name__: kind for kind in own if names[kind.__name__] == 1}


# --- the clone, held against the model ------------------------------------------------------------


def _by_path(model: keras.Layer) -> dict[Path, keras.Layer]:
    return {path: place.layer for place in walk(model) for path in (place.path, *place.aliases)}


def _check_shared(model: keras.Model, clone: keras.Model) -> None:
    there = _by_path(clone)
    first: dict[int, tuple[Path, keras.Layer]] = {}
    for path, layer in _by_path(model).items():
        if path not in there:
            continue
        before, new = first.setdefault(id(layer), (path, there[path]))
        if new is not there[path]:
            raise SharingError(
                f"'{'/'.join(before)}' and '{'/'.join(path)}' are one layer in '{model.name}', but "
                "would be two in a clone: the class that holds one of them makes its layers anew. "
                "Hand the layer to that class as an argument that its `get_config` writes down, or "
                "give each place a layer of its own and tie their weights by `sy.tie`."
            )


def _give_flags(model: keras.Model, clone: keras.Model) -> None:
    """Makes trainable what is so in the model: Keras drops the flags of models it takes apart."""
    there = _by_path(clone)
    places = [place for place in walk(model) if place.path in there]
    # Setting a flag sets those of all layers inside, so the inner ones come last.
    for place in sorted(places, key=lambda place: len(place.path)):
        new = there[place.path]
        if new.trainable != place.layer.trainable:
            new.trainable = place.layer.trainable
