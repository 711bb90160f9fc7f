"""The config of a model, mended: what is one layer in the model is read back as one layer.

Keras has what it takes to read a layer back as one: configs with the same `shared_object_id` give
one object. It falls short in two ways, which are made good here.

1. It loses the mark on the first config of a layer where that was copied, as it is inside models
   and wrappers. Here each config is marked as it is written.
2. A Functional model knows a call by its number among the calls of the layer *within the model*,
   but looks that number up among *all* calls of the layer. Models that are read before it, and call
   the layer too, shift the numbers. Here the calls are numbered as they will be when they are read.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import keras

from steelyard.live import calls_within, children, identified, operations, walk

ID = "shared_object_id"
Config = dict[str, Any]


def identifiable(model: keras.Layer) -> list[Any]:
    """The layers and operations of a model that may be shared, each once.

    Input layers are left to Keras: it makes no difference whether two of them are one.
    """
    layers = [place.layer for place in walk(model)]
    found = {id(held): held for held in layers}
    found |= {id(op): op for layer in layers for op in operations(layer)}
    return [held for held in found.values() if not isinstance(held, keras.layers.InputLayer)]


def marked_config(model: keras.Layer, parts: list[Any]) -> Config:
    """The config of a model as a file gets it, in which each part has the `id` of its object."""
    with identified(parts, others=True):
        config = keras.saving.serialize_keras_object(model)
    # What a file gives back, where no two places are one dictionary.
    read_back: Config = json.loads(json.dumps(config))
    return read_back


def mend(config: Config, parts: list[Any]) -> None:
    """Makes a marked config say, in Keras's own words, which of its parts are one."""
    known = {id(part): part for part in parts}
    _Numbering(known).read(config)
    several = {id(part) for part in shared(config, parts)}
    for found in objects(config):
        if found.get(ID) in known and found[ID] not in several:
            del found[ID]


def shared(config: Config, parts: list[Any]) -> list[Any]:
    """The parts that a marked config speaks of more than once."""
    met = Counter(found.get(ID) for found in objects(config))
    return [part for part in parts if met[id(part)] > 1]


def ids_inside(config: Any) -> set[int]:
    """The marks of all objects that a config was written of."""
    return {found[ID] for found in objects(config) if ID in found}


def contents(config: Config) -> dict[int, set[int]]:
    """For each mark in a config, the marks inside of it."""
    return {found[ID]: ids_inside(found["config"]) for found in objects(config) if ID in found}


def _is_object(value: Any) -> bool:
    return isinstance(value, dict) and "class_name" in value and "config" in value


def objects(config: Any) -> Iterator[Config]:
    """The configs of objects in a config, the outer ones first."""
    stack = [config]
    while stack:
        value = stack.pop()
        if isinstance(value, dict):
            if _is_object(value):
                yield value
            stack += reversed(value.values())
        elif isinstance(value, list):
            stack += reversed(value)


def is_functional(config: Any) -> bool:
    """Whether this is the inner config of a Functional model."""
    return isinstance(config, dict) and {"layers", "input_layers", "output_layers"} <= set(config)


def mentions(config: Config) -> Iterator[tuple[list[Any], bool]]:
    """Each mention of a call in the inner config of a Functional model, to be changed in place.

    Yields:
        `[name of the layer, number of the call, index of the output]`, and whether this is where
        the inputs and outputs of the model are listed.
    """
    for layer in config["layers"]:
        for found in objects(layer["inbound_nodes"]):
            if found["class_name"] == "__keras_tensor__":
                yield found["config"]["keras_history"], False
    for tensors in (config["input_layers"], config["output_layers"]):
        for mention in _leaves(tensors):
            yield mention, True


def _leaves(tensors: Any) -> Iterator[list[Any]]:
    if isinstance(tensors, dict):
        tensors = list(tensors.values())
    if len(tensors) == 3 and isinstance(tensors[0], str):
        yield tensors
    else:
        for item in tensors:
            yield from _leaves(item)


class _Numbering:
    """Reads a config in the order in which Keras makes objects of it, and counts the calls.

    Attributes:
        known: the objects behind the marks.
        calls: how often each object was called so far.
        made: the objects that are there already: Keras takes them, and reads no further.
    """

    def __init__(self, known: dict[int, Any]) -> None:
        self.known = known
        self.calls: Counter[int] = Counter()
        self.made: set[int] = set()

    def read(self, value: Any) -> None:
        """Reads one value of a config, and numbers the calls in it."""
        if isinstance(value, list):
            for item in value:
                self.read(item)
        elif _is_object(value):
            if value.get(ID) not in self.made:
                self._make(value)
                self.made |= {value[ID]} if ID in value else set()
        elif isinstance(value, dict):
            self.read(list(value.values()))

    def _make(self, config: Config) -> None:
        inner = config["config"]
        if not isinstance(inner, dict):
            return
        model = self.known.get(config.get(ID, 0))
        if is_functional(inner):
            self.read(inner["layers"])
            self._functional(inner)
        elif isinstance(model, keras.Sequential) and "layers" in inner:
            self._sequential(inner["layers"])
        else:
            self.read(list(inner.values()))
            if isinstance(model, keras.Layer):
                self._class(model, ids_inside(inner))

    def _functional(self, config: Config) -> None:
        layers = config["layers"]
        earlier = {layer["name"]: self.calls[layer[ID]] if ID in layer else 0 for layer in layers}
        for mention, _ in mentions(config):
            mention[1] += earlier[mention[0]]
        self.calls.update({x[ID]: len(x["inbound_nodes"]) for x in layers if ID in x})

    def _sequential(self, layers: list[Config]) -> None:
        """Each layer that is added calls all those before it again, once the input is known."""
        known = layers[0]["class_name"] == "InputLayer"
        for count, layer in enumerate(layers):
            self.read(layer)
            for called in layers[1 : count + 1] if known else ():
                if ID in called:
                    self.calls[called[ID]] += 1

    def _class(self, layer: keras.Layer, given: set[int]) -> None:
        """A class calls what it is given in the models that it makes, as it did in this process."""
        queue, seen = [layer], {id(layer)}
        while queue:
            holder = queue.pop()
            self.calls.update({id(op): times for op, times in calls_within(holder)})
            for _, child in children(holder):
                if id(child) not in given | seen:
                    seen.add(id(child))
                    queue.append(child)
