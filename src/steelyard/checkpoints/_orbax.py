"""Orbax checkpoints, without Orbax and JAX: those of `keras.callbacks.OrbaxCheckpoint` and others.

The names are JSON, and lead to the arrays of a zarr store. Most checkpoints keep that store in
files of their own kind (OCDBT), which TensorStore reads; of the others only the values need it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from functools import partial
from itertools import islice
from os import PathLike

from steelyard.checkpoints._bytes import Bytes
from steelyard.checkpoints._flat import Entry, FlatSource, left_out
from steelyard.checkpoints._hdf5_source import HDF5Source
from steelyard.checkpoints._orbax_keras import is_of_keras, keras_source
from steelyard.checkpoints._orbax_leaves import NAMES, Tree, tree_in
from steelyard.checkpoints._orbax_store import Store
from steelyard.errors import CheckpointError, LimitError

_STEP = re.compile(r"(?:.*[_-])?(\d{1,18})")
_UNFINISHED = ".orbax-checkpoint-tmp"
_MOST_ENTRIES = 100_000
_CONFIG = "model_config"


def is_orbax(head: bytes, path: str | PathLike[str]) -> bool:
    """Whether a folder is a checkpoint of Orbax, one step of several, or holds such steps."""
    return os.path.isdir(path) and bool(_latest(os.fspath(path))[1])


def open_orbax(path: str | PathLike[str]) -> FlatSource | HDF5Source:
    """The weights of a checkpoint; of a folder with several steps, those of the latest.

    Args:
        path: The folder of a tree of arrays, that of a step, which may have several such trees, or
            the one that has the steps.

    Raises:
        CheckpointError: There is none, or it is damaged.
        MissingDependencyError: It is kept in a way that only TensorStore reads.
    """
    said, folders = _latest(os.fspath(path))
    if not folders:
        raise CheckpointError(f"{os.fspath(path)}: a folder without a checkpoint of Orbax")
    trees = {name: tree_in(folder) for name, folder in folders.items()}
    config = trees.pop(_CONFIG, None) if len(trees) > 1 else None
    if len(trees) == 1 and is_of_keras(tree := next(iter(trees.values()))):
        return keras_source(Store(tree), config, said)
    return _flat(trees, said)


def _flat(trees: dict[str, Tree], said: str) -> FlatSource:
    trees = {name: tree for name, tree in trees.items() if tree.arrays}
    entries: list[Entry] = []
    notes = [said]
    stores = []
    for name, tree in trees.items():
        stores.append(Store(tree))
        found, odd = _entries(stores[-1], (name,) if len(trees) > 1 else ())
        entries += found
        notes.append(left_out(tree.others, "because they are no arrays"))
        notes.append(left_out(odd, "because they are no numbers"))
    return FlatSource(entries, stores, " ".join(filter(None, notes)))


def _entries(store: Store, root: tuple[str, ...]) -> tuple[list[Entry], list[str]]:
    found, odd = [], []
    for leaf, tensor in store.tensors():
        if tensor is None:
            odd.append(leaf.name)
            continue
        address = "/".join(map(_segment, (*root, *leaf.keys)))
        found.append(Entry(tensor, partial(store.load, leaf), address))
    return found, odd


def _segment(key: str) -> str:
    """A key as one segment of an address."""
    return key.replace("/", "%2F") or "~"


# --- Which folder ---------------------------------------------------------------------------------


def _latest(path: str) -> tuple[str, dict[str, str]]:
    """The folders of all trees of the latest step, by name, and which step that is, in words."""
    if found := _trees(path):
        return "", found
    steps = sorted((int(m[1]), name) for name in _folders(path) if (m := _STEP.fullmatch(name)))
    for number, name in reversed(steps):
        if found := _trees(os.path.join(path, name)):
            others = f", the latest of {len(steps):,}" if len(steps) > 1 else ""
            return f"Step {number}{others}.", found
    return "", {}


def _trees(path: str) -> dict[str, str]:
    """The folder itself if it has names, or those of its folders that have."""
    if _is_tree(path):
        return {"": path}
    inside = {name: os.path.join(path, name) for name in _folders(path)}
    return {name: folder for name, folder in sorted(inside.items()) if _is_tree(folder)}


def _is_tree(folder: str) -> bool:
    try:
        with Bytes(os.path.join(folder, NAMES)) as file:
            return file.read(0, min(file.size, 64)).lstrip()[:1] == b"{"
    except CheckpointError:
        return False


def _folders(path: str) -> Iterator[str]:
    """The names of the folders in a folder that are finished."""
    with os.scandir(path) as entries:
        for entry in islice(entries, _MOST_ENTRIES):
            if _UNFINISHED not in entry.name and entry.is_dir(follow_symlinks=False):
                yield entry.name
        if next(entries, None) is not None:
            raise LimitError(f"{path}: at most {_MOST_ENTRIES:,} files are looked at")
