"""Safetensors in several files, with an index that says which array is in which."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from os import PathLike
from typing import TYPE_CHECKING, Any

from steelyard.checkpoints._bytes import Bytes
from steelyard.checkpoints._flat import Entry, FlatSource, left_out
from steelyard.checkpoints._json import parse_json
from steelyard.checkpoints._safetensors import PACKED, tensors_of
from steelyard.errors import CheckpointError, LimitError
from steelyard.urls import name_of

if TYPE_CHECKING:
    import numpy as np

_MOST_SHARDS = 16_384
_MOST_OPEN = 64
# To read the header of one that is elsewhere is to wait.
_AT_A_TIME = 16
_MOST_INDEX = 32 << 20
_UNTOLD = "because the index does not say that they are there"


def is_safetensors_index(head: bytes, path: str | PathLike[str]) -> bool:
    """Whether a file is JSON and has the name of an index."""
    return name_of(path).endswith(".safetensors.index.json") and head.lstrip()[:1] == b"{"


def open_safetensors_index(path: str | PathLike[str]) -> FlatSource:
    """The weights of all files that an index names; they lie next to it.

    Raises:
        CheckpointError: The index names a file that is no plain name or is not there, or an array
            that is not where it says.
    """
    with Bytes(path) as index:
        weight_map = weight_map_of(index)
    shelf = Shelf()
    try:
        entries: list[Entry] = []
        packed: list[str] = []
        others: list[str] = []
        names = sorted(set(weight_map.values()))
        for shard, (found, gone) in zip(names, _headers(index, names, shelf), strict=True):
            packed += gone
            for entry in found:
                name = entry.tensor.name
                if weight_map.get(name) == shard:
                    entries.append(entry)
                else:
                    others.append(f"{name} in {shard}")
        _check_all_there(index.path, weight_map, entries, packed)
        notes = left_out(packed, PACKED), left_out(others, _UNTOLD)
        return FlatSource(entries, [shelf], " ".join(filter(None, notes)))
    except BaseException:
        shelf.close()
        raise


class Shelf:
    """Files of which few are open at a time: those that were read last."""

    def __init__(self) -> None:
        self._files: list[Bytes] = []
        self._open: OrderedDict[int, Bytes] = OrderedDict()
        self._lock = threading.RLock()

    def add(self, file: Bytes) -> None:
        """One more, which is open."""
        with self._lock:
            self._files.append(file)
            self._take(file)

    def reading(self, file: Bytes, read: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
        """A function that reads a file, which may have to be opened again."""

        def at_rest(*told: int) -> np.ndarray:
            if len(self._files) <= _MOST_OPEN:
                return read(*told)
            with self._lock:
                self._take(file)
                return read(*told)

        return at_rest

    def close(self) -> None:
        """Closes them all; after that nothing can be read."""
        for file in self._files:
            file.close()

    def _take(self, file: Bytes) -> None:
        self._open[id(file)] = file
        self._open.move_to_end(id(file))
        while len(self._open) > _MOST_OPEN:
            self._open.popitem(last=False)[1].rest()


def _headers(
    index: Bytes, names: list[str], shelf: Shelf
) -> Iterator[tuple[list[Entry], list[str]]]:
    """What each file has, in the order of their names."""

    def header(shard: str) -> tuple[list[Entry], list[str]]:
        file = index.beside(shard)
        shelf.add(file)
        found, gone, _ = tensors_of(file)
        return [through(shelf, file, entry) for entry in found], gone

    if not index.is_elsewhere:
        yield from map(header, names)
        return
    pool = ThreadPoolExecutor(_AT_A_TIME, thread_name_prefix="steelyard-headers")
    try:
        yield from pool.map(header, names)
    finally:
        pool.shutdown(cancel_futures=True)


def through(shelf: Shelf, file: Bytes, entry: Entry) -> Entry:
    """A tensor of a file that may have to be opened again to read it."""
    rows = None if entry.rows is None else shelf.reading(file, entry.rows)
    return replace(entry, load=shelf.reading(file, entry.load), rows=rows)


def weight_map_of(file: Bytes) -> dict[str, str]:
    """Which array is in which file, by plain names.

    Raises:
        CheckpointError: It is no index, or names a file that does not lie next to it.
        LimitError: It is too large, or names too many files.
    """
    if file.size > _MOST_INDEX:
        raise LimitError(f"{file.path}: an index of {file.size:,} bytes is too large")
    told = parse_json(file.read(0, file.size), file.path)
    found = told.get("weight_map") if isinstance(told, dict) else None
    if not isinstance(found, dict):
        raise CheckpointError(f"{file.path}: it has no weight_map, so it is no index")
    for name, shard in found.items():
        if not _is_plain(shard):
            raise CheckpointError(
                f"{file.path}: {name!r:.100} is said to be in {shard!r:.100}, which is no plain "
                f"name of a .safetensors file next to the index"
            )
    if len(shards := set(found.values())) > _MOST_SHARDS:
        raise LimitError(f"{file.path}: {len(shards):,} files; at most {_MOST_SHARDS} are read")
    return found


def _is_plain(shard: Any) -> bool:
    """A name, and no way out of the folder, on any system."""
    if not isinstance(shard, str) or not shard.endswith(".safetensors") or len(shard) > 255:
        return False
    return not shard.startswith(".") and not set(shard) & set("/\\:\0") and shard.isprintable()


def _check_all_there(
    path: str, weight_map: dict[str, str], entries: list[Entry], packed: list[str]
) -> None:
    there = {entry.tensor.name for entry in entries}.union(packed)
    missing = [name for name in weight_map if name not in there]
    if missing:
        raise CheckpointError(
            f"{path}: {missing[0]!r:.100} is not in {weight_map[missing[0]]!r:.100}, "
            f"where the index says it is"
        )
