"""TensorFlow's checkpoints and SavedModels, without TensorFlow.

Checksums are looked at in the index, and in arrays of up to a megabyte; in larger ones only if
`google-crc32c` is installed, since it would take many times as long as to read them.
"""

from __future__ import annotations

import os
import re
from functools import partial
from os import PathLike

from steelyard.checkpoints._bundle import DTYPES, Bundle
from steelyard.checkpoints._bytes import Bytes, is_file
from steelyard.checkpoints._flat import Entry, FlatSource, left_out
from steelyard.checkpoints._keras_place import naming_note
from steelyard.checkpoints._object_graph import (
    GRAPH,
    addresses,
    in_order,
    is_bookkeeping,
    names_in,
    without_copies,
)
from steelyard.checkpoints._sorted_table import has_magic
from steelyard.errors import CheckpointError
from steelyard.urls import beside, name_of

_PART = re.compile(r"\.(index|data-\d{5}-of-\d{5})$")
_LATEST = re.compile(rb'^model_checkpoint_path: "([^"\\/\0]{1,200})"\s*$', re.MULTILINE)


def is_tensorflow(head: bytes, path: str | PathLike[str]) -> bool:
    """Whether a path is a SavedModel, or leads to the index of a checkpoint."""
    if is_file(path) and not _PART.search(name_of(path)):
        return False
    try:
        with Bytes(_index(os.fspath(path))) as index:
            return has_magic(index)
    except CheckpointError:
        return False


def open_tensorflow(path: str | PathLike[str]) -> FlatSource:
    """The weights of a checkpoint.

    Args:
        path: Of its index or its data, both without their endings, the folder that has it as its
            latest, or a SavedModel.

    Raises:
        CheckpointError: There is none, or it is damaged.
    """
    bundle = Bundle(_index(os.fspath(path)))
    try:
        names = names_in(bundle.text(GRAPH), bundle.path) if GRAPH in bundle.told else {}
        keys = in_order(without_copies(bundle.told, names))
        kept = [key for key in keys if not is_bookkeeping(key)]
        odd = [key for key in kept if bundle.told[key].kind not in DTYPES]
        sliced = [key for key in kept if key not in set(odd) and bundle.told[key].slices]
        gone = {*odd, *sliced}
        entries = _entries(bundle, [key for key in kept if key not in gone], names)
        notes = (
            naming_note([entry.naming for entry in entries], _FULL_NAMES),
            left_out([k for k in keys if is_bookkeeping(k) and k != GRAPH], _BOOKKEEPING),
            left_out(odd, "because they are no numbers"),
            left_out(sliced, "because they are kept in slices"),
        )
        return FlatSource(entries, [bundle], " ".join(filter(None, notes)))
    except BaseException:
        bundle.close()
        raise


_FULL_NAMES = "; the file numbers them, and says what the variables were called when made"
_BOOKKEEPING = "because they are of the training and the saving"


def _entries(bundle: Bundle, keys: list[str], names: dict[str, str]) -> list[Entry]:
    return [
        Entry(
            bundle.tensor(key),
            partial(bundle.load, key),
            address,
            naming,
            partial(bundle.rows, key),
        )
        for key, (address, naming) in zip(keys, addresses(keys, names), strict=True)
    ]


def _index(path: str) -> str:
    """The path of the index."""
    if not os.path.isdir(path):
        return beside(path, f"{_PART.sub('', name_of(path))}.index")
    inside = os.path.join(path, "variables", "variables.index")
    if os.path.isfile(inside):
        return inside
    state = os.path.join(path, "checkpoint")
    if not os.path.isfile(state):
        raise CheckpointError(f"{path}: a folder with neither variables nor a checkpoint")
    with Bytes(state) as file:
        latest = _LATEST.search(file.read(0, min(file.size, 1 << 16)))
    if latest is None:
        raise CheckpointError(f"{state}: it names no checkpoint in its own folder")
    return os.path.join(path, f"{os.fsdecode(latest[1])}.index")
