"""The addresses of what a Keras file numbers: those that its live model has.

A config and the names that Keras writes beside the variables lead there. What is certain is
`"exact"`; what only a name that Keras may have made says, or the order of a list, is `"inferred"`;
what nothing says is `"unknown"`, and keeps its number: `my_layer/vars/0`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from steelyard.checkpoints import _leaf_table as table
from steelyard.checkpoints._keras_config import Made, made, name_of, snake
from steelyard.checkpoints._keras_tree import Group, natural

NAMINGS = ("exact", "inferred", "unknown")


@dataclass(frozen=True, slots=True)
class Named:
    """A variable of the file and what it is to its layer.

    Args:
        stored: Its path in the file.
        address: Its address in the live model.
        naming: How certain that is: one of `NAMINGS`.
        name: The layer's own name for it.
        trainable: Whether training moves it.
        layer: The layer.
        beside: The paths of all variables of the layer, by their names.
    """

    stored: str
    address: str
    naming: str
    name: str
    trainable: bool
    layer: Made
    beside: dict[str, str]


@dataclass(frozen=True, slots=True)
class _Place:
    group: Group
    segments: tuple[str, ...]
    layer: Made
    naming: str = "exact"
    trainable: bool = True


def names(root: Group, config: Any) -> list[Named]:
    """All variables of a file that are weights, in the order of the model.

    Args:
        root: The tree of its groups.
        config: The parsed config of the model; None without one.
    """
    layer = made(config)
    naming = "exact" if layer.sure else "inferred"
    start = _Place(root, (), layer, naming, layer.trainable is not False)
    return list(_below(start))


def _below(start: _Place) -> Iterator[Named]:
    stack = [start]
    while stack:
        place = stack.pop()
        own, below = _layer(place)
        yield from own
        stack += reversed(below)


def _layer(place: _Place) -> tuple[list[Named], list[_Place]]:
    own = _own(place)
    if place.layer.layers is not None or _looks_like_graph(place):
        below, used = _of_graph(place)
    elif place.layer.own and table.children(place.layer.kind):
        below, used = _of_known(place)
    else:
        below, used = [], set()
    rest = {key: group for key, group in place.group.children.items() if key not in used}
    return own, [*below, *_of_attributes(place, rest)]


# --- The variables of one layer ------------------------------------------------------------------


def _own(place: _Place) -> list[Named]:
    group, layer = place.group, place.layer
    if not group.variables:
        return []
    found = None
    if layer.own:
        found = table.leaves(layer.kind, layer.config, layer.mode, group.dtypes)
    naming = place.naming if found is not None else "unknown"
    if found is None:
        found = [table.Leaf(n, f"vars/{n}", True) for n in group.variables]
    beside = {leaf.name: group.variables[leaf.number] for leaf in found}
    trains = place.trainable if layer.trainable is None else layer.trainable
    return [
        Named(
            group.variables[leaf.number],
            "/".join((*place.segments, leaf.name)),
            naming,
            leaf.name,
            trains and leaf.trainable,
            layer,
            beside,
        )
        for leaf in found
    ]


# --- The layers below ----------------------------------------------------------------------------


def _child(place: _Place, group: Group, segment: str, layer: Made, naming: str) -> _Place:
    worse = max(place.naming, naming, key=NAMINGS.index)
    trains = place.trainable if place.layer.trainable is None else place.layer.trainable
    path = (*place.segments, *segment.split("/")) if segment else place.segments
    return _Place(group, path, layer, worse, trains)


def _looks_like_graph(place: _Place) -> bool:
    """Without a config, a group `layers` whose layers have their names is that of a model."""
    held = place.group.children.get("layers")
    return (
        place.layer.config is None
        and held is not None
        and not held.is_layer
        and bool(held.children)
        and all(child.name for child in held.children.values())
    )


def _of_graph(place: _Place) -> tuple[list[_Place], set[str]]:
    """The layers of a Functional or Sequential model, by their names."""
    held = place.group.children.get("layers", Group(""))
    left = dict(held.children)
    below = []
    for layer, key in _paired(place.layer.layers or [], left):
        group = left.pop(key)
        name = group.name or name_of(layer)
        below.append(_child(place, group, _escaped(name or key), made(layer), "exact"))
    for key, group in left.items():
        layer_made = _guessed(group.name or key)
        naming = "inferred" if group.name and place.layer.layers is None else "unknown"
        below.append(_child(place, group, _escaped(group.name or key), layer_made, naming))
    return below, {"layers"}


def _paired(
    layers: list[dict[str, Any]], groups: dict[str, Group]
) -> Iterator[tuple[dict[str, Any], str]]:
    """Each config with the key of its group: by the name, before Keras 3.6 by class and count."""
    counts = Counter(group.name for group in groups.values() if group.name)
    by_name = {g.name: key for key, g in groups.items() if counts[g.name] == 1}
    taken: Counter[str] = Counter()
    for layer in layers:
        stem = snake(table.class_name(layer["class_name"]))
        key = f"{stem}_{taken[stem]}" if taken[stem] else stem
        name = name_of(layer)
        if counts:
            key = by_name.get(name, "")
        elif _is_operation(layer):
            continue
        taken[stem] += 1
        if key in groups:
            yield layer, key


def _is_operation(layer: dict[str, Any]) -> bool:
    """Whether this is no layer but a step of the graph, such as `keras.ops.add`."""
    return "ops" in str(layer.get("module") or "").split(".")[:3]


def _of_known(place: _Place) -> tuple[list[_Place], set[str]]:
    """The layers inside one of Keras's own: the cell of an LSTM, the parts of an attention."""
    below, used = [], set()
    for key, (segment, kind, said) in table.children(place.layer.kind).items():
        group = place.group.children.get(key)
        if group is None:
            continue
        used.add(key)
        config = (place.layer.config or {}).get(said) if said else None
        if kind == "*":
            below += _of_list(place, group, segment, config)
            continue
        if kind:
            own = place.layer.config if said == "." else None
            layer = Made(kind, own, {}, place.layer.sure, True)
            if own is None:
                layer = replace(layer, config=_policy_of(place.layer, group))
        else:
            other = (place.layer.config or {}).get("layer")
            layer = made(config or (other if said == "backward_layer" else None))
            layer = layer if layer.kind else _guessed(group.name)
        naming = "exact" if layer.sure or kind else "inferred"
        below.append(_child(place, group, segment, layer, naming))
    return below, used


def _policy_of(layer: Made, group: Group) -> dict[str, Any] | None:
    """Nothing describes the parts of an attention; that they are quantized, their dtypes tell."""
    return None


def _of_list(place: _Place, group: Group, segment: str, configs: Any) -> list[_Place]:
    """The layers in a list that a config describes, in order."""
    configs = configs if isinstance(configs, list) else []
    below, taken = [], Counter[str]()
    for index, config in enumerate(configs):
        layer = made(config)
        stem = snake(table.class_name(layer.kind))
        key = f"{stem}_{taken[stem]}" if taken[stem] else stem
        taken[stem] += 1
        if key in group.children:
            below.append(_child(place, group.children[key], f"{segment}/{index}", layer, "exact"))
    if not configs:
        below = _of_container(place, group, segment)
    return below


# --- What only the names in the file say ----------------------------------------------------------


def _of_attributes(place: _Place, groups: dict[str, Group]) -> list[_Place]:
    """The layers that a class of somebody's own holds in its attributes."""
    below = []
    for key, group in groups.items():
        if group.is_empty or _is_no_weight(place, key, group):
            continue
        if group.is_layer:
            below.append(_of_attribute(place, key, group))
        elif key == "layers" and not place.segments:
            below += _of_private(place, group)
        else:
            below += _of_container(place, group, key.lstrip("_"))
    return below


def _of_attribute(place: _Place, key: str, group: Group) -> _Place:
    """A public attribute is the segment; a private one gives way to a name that was chosen."""
    layer = _guessed(group.name)
    automatic = bool(layer.kind) or not group.name or snake(group.name) == key.lstrip("_")
    segment = key if not key.startswith("_") else (key.lstrip("_") if automatic else group.name)
    return _child(place, group, _escaped(segment), layer, "inferred")


def _of_private(place: _Place, group: Group) -> list[_Place]:
    """What a subclassed model holds in private attributes: Keras writes it by class and count."""
    below = []
    for key, child in group.children.items():
        automatic = re.sub(r"_\d+$", "", key) == re.sub(r"_\d+$", "", child.name)
        naming = "unknown" if automatic or not child.name else "inferred"
        below.append(_child(place, child, _escaped(child.name or key), _guessed(key), naming))
    return below


def _of_container(place: _Place, group: Group, segment: str) -> list[_Place]:
    """A list or dictionary; Keras drops its keys, and the order between different classes."""
    below = []
    filled = {key: child for key, child in group.children.items() if not child.is_empty}
    stems = {re.sub(r"_\d+$", "", key) for key in group.children}
    in_order = sorted(group.children, key=natural)
    for key, child in filled.items():
        index = str(in_order.index(key)) if len(stems) == 1 else key
        naming = "inferred" if len(stems) == 1 else "unknown"
        where = _child(place, child, f"{segment}/{index}", _guessed(key), naming)
        below += [where] if child.is_layer else _of_container(where, child, "")
    return below


def _guessed(name: str) -> Made:
    """The class that a name points to, if Keras made it."""
    kind = table.class_of(name)
    return Made(kind, None, {}, False, bool(kind))


def _escaped(segment: str) -> str:
    return segment


_OPTIMIZERS: tuple[str, ...] = (
    "sgd",
    "rmsprop",
    "adam",
    "adamw",
    "adagrad",
    "adadelta",
    "adamax",
    "nadam",
    "ftrl",
)
_OPTIMIZERS += ("lion", "lamb", "muon", "adafactor", "loss_scale_optimizer", "SGD", "RMSprop")


def _is_no_weight(place: _Place, key: str, group: Group) -> bool:
    """An optimizer, or the state of a random generator: saved with a model, but no weight of it."""
    if not place.segments and key in ("optimizer", "_optimizer"):
        return True
    stem = re.sub(r"_\d+$", "", group.name)
    if stem in _OPTIMIZERS and group.dtypes.get("0", "").startswith(("int", "uint")):
        return True
    return "seed_generator" in (re.sub(r"_\d+$", "", key).lstrip("_"), stem) and all(
        dtype.startswith(("int", "uint")) for dtype in group.dtypes.values()
    )
