"""Whether a config says all that is shared in a model, or some of it cannot be said there."""

from __future__ import annotations

from collections import deque

import keras

from steelyard.errors import SharingError
from steelyard.live import children, is_remade_from_layers
from steelyard.saving._config import Config, contents

# By id of a layer: a path for each of the makers that it would come from. None is the config;
# otherwise it is a layer whose own class makes it anew.
_Makers = dict[int | None, tuple[str, ...]]


def check_carried(model: keras.Layer, config: Config) -> None:
    """Refuses a model in which a layer that a class makes anew is used outside of that class.

    Args:
        model: the model.
        config: its config, in which each layer is marked.

    Raises:
        SharingError: the layer would come back as two; the message says where both would be.
    """
    layers, makers = _makers(model, config)
    for key, found in makers.items():
        if len(found) > 1 and layers[key].weights:
            raise SharingError(_not_carried(model, layers, layers[key], found))


def _makers(
    model: keras.Layer, config: Config
) -> tuple[dict[int, keras.Layer], dict[int, _Makers]]:
    written = contents(config)
    layers: dict[int, keras.Layer] = {id(model): model}
    makers: dict[int, _Makers] = {id(model): {None: ()}}
    queue = deque([model])
    while queue:
        parent = queue.popleft()
        here = makers[id(parent)]
        by_itself = id(parent) in written
        for segment, child in children(parent):
            if by_itself and is_remade_from_layers(parent) and id(child) not in written[id(parent)]:
                continue  # held beside the graph: Keras leaves such an attribute out
            via: _Makers = {}
            for maker, path in here.items():
                key = id(parent) if by_itself else maker
                # What a class was given, it has from the config, wherever it puts it.
                given = key is None or id(child) in written[key]
                via.setdefault(None if given else key, path)
            layers[id(child)] = child
            known = makers.setdefault(id(child), {})
            new = {maker: (*path, segment) for maker, path in via.items() if maker not in known}
            known |= new
            if new:
                queue.append(child)
    return layers, makers


def _not_carried(
    model: keras.Layer, layers: dict[int, keras.Layer], layer: keras.Layer, found: _Makers
) -> str:
    paths = " and ".join(repr("/".join(path)) for path in found.values())
    maker = next(layers[key] for key in found if key is not None)
    return (
        f"Layer '{layer.name}' is at {paths} in '{model.name}', but '{maker.name}' "
        f"({type(maker).__name__}) makes its own layers when it is loaded, so that they would be "
        f"two. Hand the layer to {type(maker).__name__} as an argument that its `get_config` "
        "writes down, or give each place a layer of its own and tie their weights by `sy.tie`."
    )
