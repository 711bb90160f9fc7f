"""Makes a model from a mended config step by step, and looks where each call ended up.

What `_config.py` writes foretells how often a layer will have been called when a model that uses
it is read. That may fail: another version of Keras goes about it in another way, or a class calls
what it is given in a way of its own. Then the calls are counted here, on the layers themselves.
"""

from __future__ import annotations

from itertools import count
from typing import Any

import keras

from steelyard.live import calls, calls_within, identified, is_graph_model, walk
from steelyard.saving._config import ID, Config, is_functional, mentions, objects

Calls = list[list[Any]]


def calls_made(model: keras.Layer) -> Calls:
    """For each graph model in a model its path and how many calls it is made of.

    If a number leads to another call than was meant, some are left out: nothing leads to them.
    """
    return [
        [list(place.path), sum(times for _, times in calls_within(place.layer))]
        for place in walk(model)
        if is_graph_model(place.layer)
    ]


def rebuilt(config: Config) -> Any:
    """The model of a mended config, uncompiled; inside the scopes of custom objects and safe mode.

    Args:
        config: as a file has it; it is changed.
    """
    new = count(-1, -1)
    for found in objects(config):
        found.setdefault(ID, next(new))  # so that each object can be asked for what it became
    with identified([], others=False) as made:
        return _Rebuilding(made).make({**config, "compile_config": None})


class _Rebuilding:
    """One run: what was made already, by its mark. Keras looks there, too."""

    def __init__(self, made: dict[int, Any]) -> None:
        self.made = made

    def make(self, config: Config) -> Any:
        """The object of a config, made after the models inside of it."""
        if config[ID] not in self.made:
            inner = config["config"]
            if is_functional(inner):
                for layer in inner["layers"]:
                    self.make(layer)
                self._number(inner)
            else:
                self._models_in(inner)
            self.made[config[ID]] = keras.saving.deserialize_keras_object(config)
        return self.made[config[ID]]

    def _models_in(self, value: Any) -> None:
        if isinstance(value, dict) and ID in value and is_functional(value["config"]):
            self.make(value)
        elif isinstance(value, dict) and value.get(ID) not in self.made:
            self._models_in(list(value.values()))
        elif isinstance(value, list):
            for item in value:
                self._models_in(item)

    def _number(self, config: Config) -> None:
        """Moves the numbers of calls behind the calls that there are by now."""
        layers = {layer["name"]: layer for layer in config["layers"] if layer["inbound_nodes"]}
        found: dict[str, list[tuple[list[Any], int]]] = {}
        for mention, at_end in mentions(config):
            if mention[0] in layers:
                # Where outputs are listed, the calls of a Functional model are counted from one.
                made = self.made[layers[mention[0]][ID]]
                functional = is_graph_model(made) and not isinstance(made, keras.Sequential)
                found.setdefault(mention[0], []).append((mention, int(at_end and functional)))
        for name, numbered in found.items():
            first = min(mention[1] - base for mention, base in numbered)
            before = len(calls(self.made[layers[name][ID]]))
            for mention, _ in numbered:
                mention[1] += before - first
