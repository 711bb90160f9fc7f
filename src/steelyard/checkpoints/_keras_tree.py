"""The groups of a Keras file as the tree of layers that they mirror."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Group:
    """What a file has at the place of a layer, or of a list or dictionary of layers.

    Args:
        path: In the file.
        name: Of the layer, which Keras writes since version 3.6; "" without one.
        is_layer: Whether a layer was saved here, rather than a list or dictionary.
        variables: The path of each variable, by its number.
        dtypes: Its dtype.
        shapes: Its shape.
        children: The groups below.
    """

    path: str
    name: str = ""
    is_layer: bool = False
    variables: dict[str, str] = field(default_factory=dict)
    dtypes: dict[str, str] = field(default_factory=dict)
    shapes: dict[str, list[int]] = field(default_factory=dict)
    children: dict[str, Group] = field(default_factory=dict)

    @property
    def is_empty(self) -> bool:
        """Whether no variable is here or below."""
        return not self.variables and all(child.is_empty for child in self.children.values())

    def below(self) -> Iterator[Group]:
        """This group and all those below."""
        stack = [self]
        while stack:
            group = stack.pop()
            yield group
            stack += reversed(group.children.values())


def tree_of(listings: list[dict[str, Any]]) -> tuple[Group, list[str]]:
    """The tree of one file or of all shards, and the datasets that stand where no variable does."""
    root, strays = Group(""), []
    for listing in listings:
        for path, attributes in listing["groups"].items():
            if path.rpartition("/")[2] == "vars":
                group = _at(root, path.rpartition("/")[0])
                group.is_layer, group.name = True, attributes.get("name") or group.name
            else:
                _at(root, path)
        for tensor in listing["tensors"]:
            where, _, number = tensor["path"].rpartition("/")
            if where.rpartition("/")[2] != "vars":
                strays.append(tensor["path"])
                continue
            group = _at(root, where.rpartition("/")[0])
            group.variables[number] = tensor["path"]
            group.dtypes[number] = tensor["dtype"]
            group.shapes[number] = tensor["shape"]
    for group in root.below():
        group.children = {key: group.children[key] for key in sorted(group.children, key=natural)}
        group.variables = {n: group.variables[n] for n in sorted(group.variables, key=natural)}
    return root, strays


def natural(name: str) -> list[Any]:
    """A key to sort by, in which `dense_10` comes after `dense_2`."""
    return [
        # A number that nobody counts to is a text.
        (0, int(p), "") if p.isdecimal() and len(p) < 19 else (1, 0, p)
        for p in re.split(r"([0-9]+)", name)
        if p
    ]


def _at(root: Group, path: str) -> Group:
    group = root
    for key in path.split("/") if path else ():
        here = f"{group.path}/{key}".lstrip("/")
        group = group.children.setdefault(key, Group(here))
    return group
