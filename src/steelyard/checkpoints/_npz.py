"""npy and npz: one array of NumPy, or a zip of many."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from os import PathLike

import numpy as np

from steelyard.checkpoints._bytes import Bytes
from steelyard.checkpoints._flat import Entry, FlatSource, leading_out, left_out
from steelyard.checkpoints._npy import MAGIC, MOST_HEADER, NpyHeader, npy_header
from steelyard.checkpoints._tensor import Tensor, dtype_of, in_order, read_rows, read_tensor
from steelyard.checkpoints._zip import Archive, Member
from steelyard.errors import CheckpointError

# As NumPy names the first of the arrays that were given no name.
_NAMELESS = "arr_0"


def is_npz(head: bytes, path: str | PathLike[str]) -> bool:
    """Whether a file begins as a zip whose first member is an array, or as an array."""
    if head.startswith(MAGIC):
        return True
    name = head[30 : 30 + int.from_bytes(head[26:28], "little")]
    return head.startswith(b"PK\3\4") and name.endswith(b".npy")


def open_npz(path: str | PathLike[str]) -> FlatSource:
    """The weights of an npz or npy file; only the headers of its arrays are read.

    Raises:
        CheckpointError: It is none, holds Python objects, or is damaged.
    """
    file = Bytes(path)
    try:
        if file.read(0, min(6, file.size)) == MAGIC:
            return _one(file)
        return _many(file)
    except BaseException:
        file.close()
        raise


def _one(file: Bytes) -> FlatSource:
    header = npy_header(_NAMELESS, file.read(0, min(MOST_HEADER, file.size)), file.path)
    if header.tensor is None:
        return FlatSource([], [file], left_out([header.kind], "because they are no numbers"))
    _check_length(header.tensor, header.length, file.size, file.path)
    load = partial(read_tensor, file, header.tensor)
    return FlatSource([Entry(header.tensor, load, rows=_rows(file, header.tensor, 0))], [file])


def _many(file: Bytes) -> FlatSource:
    archive = Archive(file)
    entries, others, words = [], [], []
    for member in archive.members.values():
        if not member.name.endswith(".npy"):
            others.append(member.name)
            continue
        header = _header(archive, member)
        if header.tensor is None:
            words.append(f"{member.name} ({header.kind})")
            continue
        load = partial(_load, archive, member, header.tensor)
        rows = None if member.deflated else _rows(file, header.tensor, member.offset)
        entries.append(Entry(header.tensor, load, rows=rows))
    notes = (
        left_out(others, "because they are no arrays"),
        left_out(words, "because no numbers"),
        leading_out(archive.outer_names),
    )
    return FlatSource(entries, [file], " ".join(filter(None, notes)))


def _header(archive: Archive, member: Member) -> NpyHeader:
    where = f"{archive.file.path}: {member.name!r:.100}"
    first = archive.first(member, MOST_HEADER)
    header = npy_header(member.name.removesuffix(".npy"), first, where)
    if header.tensor is not None:
        _check_length(header.tensor, header.length, member.size, where)
    return header


def _check_length(tensor: Tensor, begin: int, size: int, where: str) -> None:
    if begin + tensor.nbytes != size:
        raise CheckpointError(
            f"{where}: {begin + tensor.nbytes:,} bytes by its shape, and {size:,} are there"
        )


def _rows(file: Bytes, tensor: Tensor, begin: int) -> Callable[[int, int], np.ndarray] | None:
    """What reads some rows of an array, whose header begins at a place of the file."""
    if tensor.order != "C":
        return None
    return partial(read_rows, file, replace(tensor, offset=begin + (tensor.offset or 0)))


def _load(archive: Archive, member: Member, tensor: Tensor) -> np.ndarray:
    begin = tensor.offset or 0
    ahead = b"" if member.deflated else archive.first(member, begin)
    flat = np.empty(tensor.size, dtype_of(tensor.dtype))
    archive.fill(member, begin, flat.view("uint8"), ahead)
    return in_order(flat, tensor)
