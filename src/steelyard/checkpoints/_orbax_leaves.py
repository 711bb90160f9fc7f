"""The names in an Orbax checkpoint: a tree of dictionaries and lists, told in JSON."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from steelyard.checkpoints._bytes import Bytes
from steelyard.checkpoints._flat import MOST_WEIGHTS
from steelyard.checkpoints._json import parse_json
from steelyard.errors import CheckpointError, LimitError

NAMES = "_METADATA"
_STRINGS = "_strings.json"
_MOST_BYTES = 32 << 20
_MOST_KEYS = 64
# What has no array of its own: an empty part of the tree, and text, which is in a file by itself.
_NO_ARRAYS = ("None", "Dict", "List", "Tuple", "NamedTuple", "string")


@dataclass(frozen=True, slots=True)
class Leaf:
    """An array of the tree.

    Args:
        keys: The way to it.
    """

    keys: tuple[str, ...]

    @property
    def name(self) -> str:
        """Its name in the store."""
        return ".".join(self.keys)


@dataclass(frozen=True, slots=True)
class Tree:
    """What the names tell.

    Args:
        folder: Where it is.
        arrays: All that are kept as arrays, in the order of the file.
        others: The names of what is not.
        version: Of zarr, in which the arrays are kept: 2 or 3.
        whole: Whether even what is nothing but zeros is kept, so that a missing piece is a damage.
    """

    folder: str
    arrays: list[Leaf]
    others: list[str]
    version: int
    whole: bool


def tree_in(folder: str) -> Tree:
    """The tree whose names are in a folder.

    Raises:
        CheckpointError: They cannot be read.
        LimitError: There are too many.
    """
    told, where = _json(os.path.join(folder, NAMES))
    rows = told.get("tree_metadata") if isinstance(told, dict) else None
    if not isinstance(rows, dict):
        raise CheckpointError(f"{where}: it has no tree_metadata, so it is not Orbax's")
    if len(rows) > MOST_WEIGHTS:
        raise LimitError(f"{where}: {len(rows):,} arrays; at most {MOST_WEIGHTS:,} are listed")
    arrays, others = [], []
    for row in rows.values():
        leaf, kind = _leaf(row, where)
        if kind in _NO_ARRAYS:
            others.append(leaf.name)
        else:
            arrays.append(leaf)
    version = 3 if told.get("use_zarr3") is True else 2
    whole = told.get("store_array_data_equal_to_fill_value") is True
    return Tree(folder, arrays, others, version, whole)


def strings_in(folder: str) -> dict[str, str]:
    """The texts of a tree, by their names.

    Raises:
        CheckpointError: They cannot be read.
    """
    told, where = _json(os.path.join(folder, _STRINGS))
    if not isinstance(told, dict) or not all(isinstance(text, str) for text in told.values()):
        raise CheckpointError(f"{where}: it is no list of texts")
    return told


def _leaf(row: Any, where: str) -> tuple[Leaf, str]:
    try:
        keys = tuple(part["key"] for part in row["key_metadata"])
        kind = row["value_metadata"]["value_type"]
    except (KeyError, TypeError, IndexError):
        raise CheckpointError(f"{where}: {str(row)[:200]} is no entry of a tree") from None
    right = all(isinstance(key, str) and "\0" not in key for key in keys)
    if not keys or not right or len(keys) > _MOST_KEYS:
        raise CheckpointError(f"{where}: {keys!r:.200} is no way in a tree")
    return Leaf(keys), str(kind)


def _json(path: str) -> tuple[Any, str]:
    with Bytes(path) as file:
        if file.size > _MOST_BYTES:
            raise LimitError(f"{path}: {file.size:,} bytes; at most {_MOST_BYTES:,} are read")
        return parse_json(file.read(0, file.size), path), path
