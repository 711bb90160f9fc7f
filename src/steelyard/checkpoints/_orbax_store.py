"""The arrays of an Orbax checkpoint: what zarr says of each, and its values.

Nothing that a file says becomes the address of a store: TensorStore is told which, always a folder
on this machine, and that has nothing but folders and regular files, no links among them.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from steelyard.checkpoints._bytes import Bytes
from steelyard.checkpoints._json import parse_json
from steelyard.checkpoints._orbax_leaves import NAMES, Leaf, Tree
from steelyard.checkpoints._tensor import Tensor, dtype_of
from steelyard.checkpoints._zarr import ZarrArray, zarr_array
from steelyard.errors import CheckpointError, LimitError, MissingDependencyError

_PACKED = "manifest.ocdbt"
_METADATA = {2: ".zarray", 3: "zarr.json"}
_MOST_FILES = 1_000_000
_MOST_METADATA = 1 << 20
_MOST_PIECES = 200_000
# Zeros are packed 1 : 10,000; weights hardly at all.
_ANY_SIZE = 256 << 20
_MOST_RATIO = 1000
_SECONDS = 30.0
_SLOWEST = 10 << 20  # bytes a second
# Kept between reads: the index of a packed store, and nothing of the values.
_CONTEXT = {
    "cache_pool": {"total_bytes_limit": 32 << 20},
    "file_io_concurrency": {"limit": 4},
    "data_copy_concurrency": {"limit": 2},
}
_BROKEN = (ValueError, OSError, RuntimeError, NotImplementedError, OverflowError)


class Store:
    """The arrays of a tree.

    Args:
        tree: Their names, and where they are.

    Raises:
        CheckpointError: The folder has links or devices in it.
        MissingDependencyError: The store is one that only TensorStore reads.
    """

    def __init__(self, tree: Tree) -> None:
        self.tree, self.folder = tree, os.path.abspath(tree.folder)
        self._kept = _bytes_below(self.folder)
        self.is_packed = os.path.isfile(os.path.join(self.folder, _PACKED))
        self._before = self._state()
        self._arrays: dict[Leaf, ZarrArray] = {}
        self._opened: Any = None
        self._shared: Any = None

    def tensors(self) -> Iterator[tuple[Leaf, Tensor | None]]:
        """Each array without its values; None where it has no numbers."""
        for leaf in self.tree.arrays:
            where = f"{self.tree.folder}: {leaf.name!r:.100}"
            data = parse_json(self._metadata(leaf, where), where)
            told = self._arrays[leaf] = zarr_array(data, self.tree.version, where)
            yield leaf, Tensor(leaf.name, told.shape, told.dtype) if told.dtype else None

    def load(self, leaf: Leaf) -> np.ndarray:
        """The stored array.

        Raises:
            CheckpointError: It is damaged.
            LimitError: It would be far larger than what is there, or takes too long.
            MissingDependencyError: TensorStore is not there.
        """
        told, where = self._arrays[leaf], f"{self.tree.folder}: {leaf.name!r:.100}"
        kind = dtype_of(told.dtype)
        if 0 in told.shape:
            return np.zeros(told.shape, kind)
        size = max(math.prod(told.shape), math.prod(told.piece)) * kind.itemsize
        if size > max(_ANY_SIZE, _MOST_RATIO * self._kept):
            raise LimitError(
                f"{where}: {size:,} bytes by its shape, and {self._kept:,} in all of the "
                f"checkpoint; it is not read"
            )
        if told.count > _MOST_PIECES:
            raise LimitError(f"{where}: {told.count:,} pieces; at most {_MOST_PIECES:,} are read")
        found = self._values(leaf, where, _SECONDS + size / _SLOWEST)
        self._check_same(where)
        if (found.shape, found.dtype) != (told.shape, kind):
            raise CheckpointError(f"{where}: its values are not of the shape that it says")
        return found

    def close(self) -> None:
        """Forgets the store; no file is open between two readings."""
        self._opened = self._shared = None

    def _values(self, leaf: Leaf, where: str, seconds: float) -> np.ndarray:
        store = _library()
        spec = {
            "driver": "zarr3" if self.tree.version == 3 else "zarr",
            "kvstore": self._place(self._root(leaf, where)),
            "fill_missing_data_reads": not self.tree.whole,
        }
        try:
            opened = store.open(spec, read=True, open=True, context=self._context()).result(seconds)
            return np.asarray(opened.read().result(seconds))
        except TimeoutError:
            raise LimitError(f"{where}: it could not be read within {seconds:.0f} s") from None
        except _BROKEN as error:
            raise CheckpointError(f"{where}: {_said(error)}") from error

    def _metadata(self, leaf: Leaf, where: str) -> bytes:
        """What zarr says of an array, in JSON."""
        key = f"{self._root(leaf, where)}{_METADATA[self.tree.version]}"
        data = self._packed(key, where) if self.is_packed else _small(self.folder, key)
        if len(data) > _MOST_METADATA:
            raise LimitError(f"{where}: {len(data):,} bytes of metadata are too many")
        return data

    def _packed(self, key: str, where: str) -> bytes:
        store = _library()
        try:
            if self._opened is None:
                opening = store.KvStore.open(self._place(""), context=self._context())
                self._opened = opening.result(_SECONDS)
            found = self._opened.read(key).result(_SECONDS)
        except TimeoutError:
            raise LimitError(f"{where}: it could not be read within {_SECONDS:.0f} s") from None
        except _BROKEN as error:
            raise CheckpointError(f"{where}: {_said(error)}") from error
        if found.state != "value":
            raise CheckpointError(f"{where}: the store has no such array")
        return bytes(found.value)

    def _root(self, leaf: Leaf, where: str) -> str:
        """What the keys of an array begin with; where it is a folder, it may not lead elsewhere."""
        if not self.is_packed and any(part in ("", ".", "..") for part in leaf.name.split("/")):
            raise CheckpointError(f"{where}: this name would lead to another folder")
        return f"{leaf.name}/" if leaf.name else ""

    def _place(self, inside: str) -> dict[str, Any]:
        """What TensorStore is to open."""
        folder = {"driver": "file", "path": f"{self.folder}/"}
        if not self.is_packed:
            return {**folder, "path": f"{self.folder}/{inside}"}
        return {"driver": "ocdbt", "base": folder, "path": inside}

    def _context(self) -> Any:
        if self._shared is None:
            self._shared = _library().Context(_CONTEXT)
        return self._shared

    def _state(self) -> list[tuple[int, int]]:
        """What changes where a checkpoint is written anew."""
        names = [NAMES, _PACKED] if self.is_packed else [NAMES]
        found = [os.stat(os.path.join(self.folder, name)) for name in names]
        return [(one.st_size, one.st_mtime_ns) for one in found]

    def _check_same(self, where: str) -> None:
        try:
            now = self._state()
        except OSError as error:
            raise CheckpointError(f"{where}: {error.strerror}") from error
        if now != self._before:
            raise CheckpointError(f"{where}: the checkpoint was changed while it was read")


def _library() -> Any:
    try:
        import tensorstore
    except ImportError as error:
        raise MissingDependencyError(
            f"TensorStore is needed to read what Orbax has packed, and cannot be imported "
            f'({error}): pip install "steelyard[orbax]"'
        ) from error
    return tensorstore


def _said(error: BaseException) -> str:
    """The first line of an error of TensorStore, which says where in its code, too."""
    first = str(error).partition("\n")[0].partition(" [")[0]
    return re.sub(r"^[A-Z_]+: ", "", first)[:300]


def _small(folder: str, name: str) -> bytes:
    with Bytes(os.path.join(folder, name)) as file:
        if file.size > _MOST_METADATA:
            raise LimitError(f"{file.path}: {file.size:,} bytes of metadata are too many")
        return file.read(0, file.size)


def _bytes_below(folder: str) -> int:
    """How many bytes are in a folder, and all below it.

    Raises:
        CheckpointError: Something there is neither a folder nor a regular file.
    """
    total = count = 0
    waiting = [folder]
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                count += 1
                if count > _MOST_FILES:
                    raise LimitError(f"{folder}: at most {_MOST_FILES:,} files are read")
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
                elif entry.is_file(follow_symlinks=False):
                    total += entry.stat(follow_symlinks=False).st_size
                else:
                    raise CheckpointError(
                        f"{entry.path}: a link or a device in a checkpoint is not followed"
                    )
    return total
