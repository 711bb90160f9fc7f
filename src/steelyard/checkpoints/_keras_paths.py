"""The addresses of variables that a file knows by the path that Keras gave them.

Such a path is the names of the layers in which the variable was made: `dense/kernel`,
`lstm/lstm_cell/kernel`. It leaves out most of the models around a layer, since a layer of a graph
model is made by itself; the config says which those are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from steelyard.checkpoints import _leaf_table as table
from steelyard.checkpoints._keras_config import Made, made, name_of
from steelyard.checkpoints._keras_place import Named
from steelyard.checkpoints._legacy_names import along, inside, together

Way = tuple[str, ...]
# Of so many layers of one name, nothing says any more which is meant.
_MOST_WAYS = 16


def of_paths(paths: Iterable[tuple[str, Way, bool]], config: Any) -> list[Named]:
    """All variables, in the order of the model as far as the config tells it.

    Args:
        paths: Of each variable where the file has it, its path, and whether training moves it.
        config: The parsed config of the model; None without one.
    """
    root = name_of(config) if isinstance(config, dict) else ""
    ways: dict[str, list[tuple[Way, Made]]] = {}
    order: dict[Way, int] = {}
    for name, way, layer in _all_below(made(config), ()):
        same = ways.setdefault(name, [])
        if len(same) < _MOST_WAYS:
            same.append((way, layer))
        order.setdefault(way, len(order))
    found = [(_possible(stored, path, ways, root), trains) for stored, path, trains in paths]
    certain = {possible[0].address for possible, _ in found if len(possible) == 1}
    named = [replace(_chosen(possible, certain), trainable=trains) for possible, trains in found]
    return sorted(together(named), key=lambda one: _place(one, order))


def _all_below(layer: Made, way: Way) -> Iterator[tuple[str, Way, Made]]:
    """Every layer below a layer, with its name and the way to it, in the order of the model."""
    for name, (segment, held) in inside(layer):
        below = (*way, *segment.split("/"))
        yield name, below, held
        yield from _all_below(held, below)


def _possible(
    stored: str, path: Way, ways: dict[str, list[tuple[Way, Made]]], root: str
) -> list[Named]:
    """What a path may mean: one for each layer of the first name in it that is one."""
    for at, name in enumerate(path[:-1]):
        if name in ways:
            steps = list(path[at + 1 :])
            return [along(stored, list(way), layer, steps, True) for way, layer in ways[name]]
    steps = list(path[1:] if root and path[0] == root and len(path) > 1 else path)
    naming = "inferred" if len(steps) < 3 and not root else "unknown"
    return [replace(along(stored, steps[:-1], Made(), steps[-1:], True), naming=naming)]


def _chosen(possible: list[Named], certain: set[str]) -> Named:
    """Where several layers have the name, the one that no other path leads to."""
    if len(possible) == 1:
        return possible[0]
    left = [one for one in possible if one.address not in certain]
    if len(left) == 1:
        return left[0]
    return replace(min(left or possible, key=lambda one: len(one.address)), naming="inferred")


def _place(named: Named, order: dict[Way, int]) -> tuple[int, int]:
    """By the layer, and in it by what it makes first."""
    way = tuple(named.address.split("/")[:-1])
    layer = named.layer
    variants = table.known().get(layer.kind, {}).get("own", ()) if layer.own else ()
    listed = [
        [name for _, name, _ in v["leaves"]] for v in variants if layer.mode in (None, v["mode"])
    ]
    names = max(listed, key=lambda names: len(named.beside.keys() & names), default=[])
    at = names.index(named.name) if named.name in names else len(names)
    return order.get(way, len(order)), at
