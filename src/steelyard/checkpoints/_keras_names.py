"""The addresses of what a Keras file numbers: those that its live model has.

A config and the names that Keras writes beside the variables lead there. What is certain is
`"exact"`; what only a name that Keras may have made says, or the order of a list, is `"inferred"`;
what nothing says is `"unknown"`, and keeps its number: `my_layer/vars/0`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from steelyard.checkpoints import _leaf_table as table
from steelyard.checkpoints._keras_attributes import of_attributes
from steelyard.checkpoints._keras_config import made
from steelyard.checkpoints._keras_graph import looks_like_graph, of_graph, of_known
from steelyard.checkpoints._keras_place import Named, Place
from steelyard.checkpoints._keras_rewritten import ADDED
from steelyard.checkpoints._keras_shared import with_aliases
from steelyard.checkpoints._keras_tree import Group


def names(root: Group, config: Any) -> list[Named]:
    """All variables of a file that are weights, in the order of the model.

    Args:
        root: The tree of its groups.
        config: The parsed config of the model; None without one.
    """
    layer = made(config)
    naming = "exact" if layer.sure else "inferred"
    start = Place(root, (), layer, naming, layer.trainable is not False)
    return with_aliases(list(_below(start)))


def _below(start: Place) -> Iterator[tuple[Place, list[Named]]]:
    """Each layer with its own variables, those that hold others first."""
    stack = [start]
    while stack:
        place = stack.pop()
        yield place, _own(place)
        stack += [] if place.is_elsewhere else reversed(_held(place))


def _held(place: Place) -> list[Place]:
    below: list[Place] = []
    used: set[str] = set()
    if place.layer.layers is not None or looks_like_graph(place):
        below, used = of_graph(place)
    elif place.layer.own and table.children(place.layer.kind):
        below, used = of_known(place)
    used = {*used, ADDED}
    rest = {key: group for key, group in place.group.children.items() if key not in used}
    return [*below, *of_attributes(place, rest)]


def _own(place: Place) -> list[Named]:
    group, layer = place.group, place.layer
    added = group.children.get(ADDED, Group("")).variables
    if not group.variables and not added:
        return []
    found = None
    if layer.own:
        found = table.leaves(layer.kind, layer.config, layer.mode, group.dtypes)
    naming = place.naming if found is not None else "unknown"
    if found is None:
        found = [table.Leaf(n, f"vars/{n}", True) for n in group.variables]
        if group.variables and not any(key.isdecimal() for key in group.variables):
            # The layer itself has written names, as one does of which a weight is elsewhere.
            found = [table.Leaf(name, name, True) for name in group.variables]
            naming = place.naming
    found = [*found, *(table.Leaf(name, name, _is_trained(name)) for name in added)]
    variables = {**group.variables, **added}
    beside = {leaf.name: variables[leaf.number] for leaf in found}
    trains = place.trainable if layer.trainable is None else layer.trainable
    return [
        Named(
            variables[leaf.number],
            "/".join((*place.segments, leaf.name)),
            place.naming if leaf.number in added else naming,
            leaf.name,
            trains and leaf.trainable,
            layer,
            beside,
        )
        for leaf in found
        if leaf.name
    ]


def _is_trained(added: str) -> bool:
    """Whether training moves what a parametrization has added: all but the state of Steelyard's."""
    return not re.search(r"_(u|mask(_\d+)?|step)$", added)
