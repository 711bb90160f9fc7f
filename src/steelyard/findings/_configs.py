"""Which layers stand in the config of a model, where, and which of them are read back as one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras

from steelyard.live import is_graph_model, is_remade_from_layers, operations, written

Keys = tuple[Any, ...]


class Configs:
    """The places in the config of a model at which its layers are written out.

    Raises:
        Exception: what the `get_config` of a user's layer raises; Keras would raise it on saving.
    """

    def __init__(self, model: keras.Layer) -> None:
        self._saved, stamped = written(model)
        self._at: dict[int, list[Keys]] = {}
        for keys, identity in _marked(stamped, ()):
            self._at.setdefault(identity, []).append(keys)

    def places(self, layer: keras.Layer) -> list[Keys]:
        """Where a layer is written out."""
        return self._at.get(id(layer), [])

    def are_one(self, layer: keras.Layer) -> bool:
        """Whether a file tells that all the places of a layer mean one layer."""
        found = [_get(self._saved, keys).get("shared_object_id") for keys in self.places(layer)]
        return len(found) == 1 or (None not in found and len(set(found)) == 1)


def _marked(config: Any, keys: Keys) -> Iterator[tuple[Keys, int]]:
    if isinstance(config, dict):
        if "shared_object_id" in config and "class_name" in config:
            yield keys, config["shared_object_id"]
        items: Any = config.items()
    elif isinstance(config, (list, tuple)):
        items = enumerate(config)
    else:
        return
    for key, item in items:
        yield from _marked(item, (*keys, key))


def _get(config: Any, keys: Keys) -> Any:
    for key in keys:
        config = config[key]
    return config


def slots(configs: Configs, model: keras.Layer, root: keras.Layer) -> dict[int, Keys] | None:
    """Where each layer of a graph model is written out, if it is remade from these configs."""
    if not is_graph_model(model) or not is_remade_from_layers(model):
        return None
    start: Keys | None = (
        () if model is root else next(((*keys, "config") for keys in configs.places(model)), None)
    )
    if start is None:
        return None
    return {
        id(operation): keys
        for operation in operations(model) or model.layers
        for keys in configs.places(operation)
        if keys[: len(start)] == start and len(keys) == len(start) + 2
    }
