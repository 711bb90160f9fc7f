"""The layers below a layer that a config describes: those of a graph model, and of Keras's own."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from steelyard.checkpoints import _leaf_table as table
from steelyard.checkpoints._attention import projection
from steelyard.checkpoints._keras_attributes import of_container
from steelyard.checkpoints._keras_config import Made, made, name_of, snake
from steelyard.checkpoints._keras_place import Place, child, guessed
from steelyard.checkpoints._keras_tree import Group


def looks_like_graph(place: Place) -> bool:
    """Without a config, a group `layers` whose layers have their names is that of a model."""
    held = place.group.children.get("layers")
    if place.layer.config is not None or held is None or held.is_layer:
        return False
    return bool(held.children) and all(layer.name for layer in held.children.values())


def of_graph(place: Place) -> tuple[list[Place], set[str]]:
    """The layers of a Functional or Sequential model by their names, and the keys that they use."""
    held = place.group.children.get("layers", Group(""))
    left = dict(held.children)
    below = []
    for config, key, naming in _paired(place.layer.layers or [], left):
        group = left.pop(key, None)
        name = name_of(config) or (group.name if group else "") or key
        below.append(child(place, group, _segment(name), made(config), naming))
    for key, group in left.items():
        naming = "inferred" if group.name and place.layer.layers is None else "unknown"
        name = group.name or key
        below.append(child(place, group, _segment(name), guessed(key), naming))
    return below, {"layers"}


def _paired(
    layers: list[dict[str, Any]], groups: dict[str, Group]
) -> Iterator[tuple[dict[str, Any], str, str]]:
    """Each config with the key of its group, by the name; and how certain that is.

    Keras has written the names, and a group for every layer, since version 3.6. Before that, the
    class and count must do. The key is empty where the layer was written at another place.
    """
    counts = Counter(group.name for group in groups.values() if group.name)
    by_name = {group.name: key for key, group in groups.items() if counts[group.name] == 1}
    free = set(groups)
    taken: Counter[str] = Counter()
    for layer in layers:
        if _is_operation(layer):
            continue
        stem = snake(table.class_name(layer["class_name"]))
        key = f"{stem}_{taken[stem]}" if taken[stem] else stem
        taken[stem] += 1
        key = by_name.get(name_of(layer), "") if counts else key
        if key in free or (counts and name_of(layer)):
            right = re.sub(r"_\d+$", "", key) == re.sub(r"_\d+$", "", stem)
            yield layer, key if key in free else "", "exact" if right or not key else "inferred"
            free.discard(key)


def _segment(name: str) -> str:
    """A name as one segment; Keras lets none have a slash."""
    return name.replace("/", "%2F")


def _is_operation(layer: dict[str, Any]) -> bool:
    """Whether this is no layer but a step of the graph, such as `keras.ops.add`."""
    return "ops" in str(layer.get("module") or "").split(".")[:3]


def of_known(place: Place) -> tuple[list[Place], set[str]]:
    """The layers inside one of Keras's own: the cell of an LSTM, the parts of an attention."""
    below, used = [], set()
    for key, (segment, kind, said, *axes) in table.children(place.layer.kind).items():
        if key not in place.group.children and f"_{key}" in place.group.children:
            key = f"_{key}"  # so Keras 2 wrote what is in a private attribute
        group = place.group.children.get(key)
        config = (place.layer.config or {}).get(said) if said else None
        used.add(key)
        if kind == "*":
            below += _of_list(place, group or Group(""), segment, config)
        elif kind and group is not None:
            layer = Made(kind, place.layer.config, {}, place.layer.sure, True)
            if said != ".":
                layer = projection(place.layer, segment, "".join(axes), group)
            below.append(child(place, group, segment, layer, "exact"))
        elif not kind:
            below += _wrapped(place, group, segment, config)
    return below, used


def _wrapped(place: Place, group: Group | None, segment: str, config: Any) -> list[Place]:
    """The layer inside a wrapper; the second one of a Bidirectional is like the first."""
    layer = made(config or (place.layer.config or {}).get("layer"))
    if layer.sure and layer.kind:
        return [child(place, group, segment, layer, "exact")]
    return [child(place, group, segment, guessed(group.name), "inferred")] if group else []


def _of_list(place: Place, group: Group, segment: str, configs: Any) -> list[Place]:
    """The layers in a list that a config describes, in order."""
    configs = configs if isinstance(configs, list) else []
    below: list[Place] = []
    taken: Counter[str] = Counter()
    for index, config in enumerate(configs):
        layer = made(config)
        stem = snake(table.class_name(layer.kind))
        key = f"{stem}_{taken[stem]}" if taken[stem] else stem
        taken[stem] += 1
        if key in group.children:
            below.append(child(place, group.children[key], f"{segment}/{index}", layer, "exact"))
    if not configs:
        below = of_container(place, group, segment)
    return below
