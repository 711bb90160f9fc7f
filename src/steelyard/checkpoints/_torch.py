"""PyTorch's files: a zip with a pickle that describes tensors, and their bytes beside it.

The pickle is walked and never run (`_pickle_walk`). The checksum of a storage is looked at where a
tensor is all of it, as in a state dict nearly all are; PyTorch has an option to write none.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from os import PathLike
from typing import Any

import numpy as np

from steelyard.checkpoints._bytes import Bytes
from steelyard.checkpoints._flat import Entry, FlatSource, address_of, leading_out, left_out
from steelyard.checkpoints._pickle_walk import walk_pickle
from steelyard.checkpoints._tensor import Tensor, dtype_of, in_order, read_rows, read_tensor
from steelyard.checkpoints._torch_names import NAMES, Meaning, View
from steelyard.checkpoints._zip import Archive
from steelyard.errors import CheckpointError, LimitError
from steelyard.urls import name_of

_MOST_PICKLE = 32 << 20
_MOST_VALUES = 300_000
_MOST_DEPTH = 64
# The first bytes before PyTorch 1.6: a pickle of a number, and then more pickles.
_OLD = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."
_ENDINGS = (".pt", ".pth", ".bin", ".ckpt")


def is_torch(head: bytes, path: str | PathLike[str]) -> bool:
    """Whether a file begins as one of PyTorch's, those of old included."""
    if head.startswith(_OLD):
        return True
    if head.startswith((b"\x80\2", b"\x80\3", b"\x80\4", b"\x80\5")):
        return name_of(path).endswith(_ENDINGS)
    name = head[30 : 30 + int.from_bytes(head[26:28], "little")]
    return head.startswith(b"PK\3\4") and name.endswith((b"/data.pkl", b"/.format_version"))


def open_torch(path: str | PathLike[str]) -> FlatSource:
    """The tensors of a file that `torch.save` wrote; the pickle in it is read and never run.

    Raises:
        CheckpointError: It is none, was written before PyTorch 1.6, uses a name that is no part of
            a state dict, or is damaged.
    """
    file = Bytes(path)
    try:
        if file.read(0, min(1, file.size)) == b"\x80":
            raise CheckpointError(
                f"{file.path}: a bare pickle, as PyTorch wrote before 1.6; it was not run. Load it "
                f"where you trust it, and save it again with torch.save(model.state_dict(), …)"
            )
        return _open(file)
    except BaseException:
        file.close()
        raise


def _open(file: Bytes) -> FlatSource:
    archive = Archive(file, unsummed=True)
    folder = _folder(archive)
    meaning = Meaning(archive, folder)
    data = archive.read(f"{folder}/data.pkl", _MOST_PICKLE)
    value = walk_pickle(data, f"{file.path}: data.pkl", NAMES, meaning.call, meaning.find)
    big = archive.members.get(f"{folder}/byteorder")
    order = ">" if big and archive.read(big.name, 100) == b"big" else "<"
    entries: list[Entry] = []
    others: list[str] = []
    count = 0
    for keys, found in _leaves(value, file.path):
        if isinstance(found, View):
            entries.append(_entry(archive, keys, found, order))
        else:
            count += 1
            others += [".".join(keys)] if len(others) < 5 else []
    notes = (
        left_out(others, "because they are no tensors", count),
        leading_out(archive.outer_names),
    )
    return FlatSource(entries, [file], " ".join(filter(None, notes)))


def _folder(archive: Archive) -> str:
    found = [name for name in archive.members if name.endswith("/data.pkl")]
    folders = [name.removesuffix("/data.pkl") for name in found if name.count("/") == 1]
    if len(folders) != 1:
        raise CheckpointError(f"{archive.file.path}: a zip that torch.save did not write")
    return folders[0]


def _leaves(value: Any, path: str) -> Iterator[tuple[tuple[str, ...], Any]]:
    """All that is no list and no dict, each with the keys that lead to it.

    One and the same list may be in a pickle many times, or in itself.
    """
    todo: list[tuple[tuple[str, ...], Any]] = [((), value)]
    for _ in range(_MOST_VALUES):
        if not todo:
            return
        keys, found = todo.pop()
        inner = _inner(found)
        if inner is None:
            yield keys, found
            continue
        if len(keys) >= _MOST_DEPTH:
            raise LimitError(f"{path}: dicts more than {_MOST_DEPTH} levels deep")
        if len(todo) + len(inner) > _MOST_VALUES:
            break
        todo += [((*keys, key), item) for key, item in reversed(inner)]
    raise LimitError(f"{path}: more than {_MOST_VALUES:,} values")


def _inner(value: Any) -> list[tuple[str, Any]] | None:
    if isinstance(value, dict):
        return [(_text(key), item) for key, item in value.items()]
    if isinstance(value, list | tuple):
        return [(str(index), item) for index, item in enumerate(value)]
    return None


def _text(key: Any) -> str:
    if isinstance(key, str):
        return key
    return f"{key!r:.40}" if isinstance(key, int | float | None) else "~"


def _entry(archive: Archive, keys: tuple[str, ...], view: View, order: str) -> Entry:
    name = ".".join(keys) or "tensor"
    at = view.member.offset + view.offset * dtype_of(view.dtype).itemsize
    tensor = Tensor(name, view.shape, view.dtype, at, byteorder=order)
    address = "/".join(map(address_of, keys)) or name
    plain = view.strides == _close_strides(view) and not view.conj and not view.neg
    rows = partial(read_rows, archive.file, tensor) if plain else None
    return Entry(tensor, partial(_load, archive, tensor, view), address, rows=rows)


def _load(archive: Archive, tensor: Tensor, view: View) -> np.ndarray:
    if view.strides == _close_strides(view):
        found = _stored(archive, tensor, view)
    else:
        whole = Tensor(tensor.name, (view.span,), view.dtype, tensor.offset, "C", tensor.byteorder)
        flat = _stored(archive, whole, view)
        steps = [stride * flat.itemsize for stride in view.strides]
        found = np.lib.stride_tricks.as_strided(flat, view.shape, steps).copy()
    found = found.conj() if view.conj else found
    return -found if view.neg else found


def _stored(archive: Archive, tensor: Tensor, view: View) -> np.ndarray:
    """The entries that a view reaches over; if they are all of the storage, with its checksum."""
    if tensor.nbytes != view.member.size:
        return read_tensor(archive.file, tensor)
    flat = np.empty(tensor.size, dtype_of(tensor.dtype))
    archive.fill(view.member, 0, flat.view("uint8"))
    return in_order(flat, tensor)


def _close_strides(view: View) -> tuple[int, ...]:
    """The strides of a tensor whose entries follow each other; an axis of one step has any."""
    found, step = [], 1
    for length, stride in zip(reversed(view.shape), reversed(view.strides), strict=True):
        found.append(step if length > 1 else stride)
        step *= length
    return tuple(reversed(found))
