"""A LevelDB table, in which a TensorFlow checkpoint keeps what it has: sorted keys and values."""

from __future__ import annotations

from collections.abc import Iterator

from steelyard.checkpoints._bytes import Bytes
from steelyard.checkpoints._crc32c import masked_crc32c
from steelyard.checkpoints._protobuf import varint
from steelyard.errors import CheckpointError, LimitError

MAGIC = (0xDB4775248B80FB57).to_bytes(8, "little")
_FOOTER = 48
_MOST_BYTES = 64 << 20
_MOST_ENTRIES = 500_000
# A key is told by how it differs from the one before, so that few bytes may tell of many.
_MOST_KEY_BYTES = 64 << 20
# TensorFlow ends one at 256 KB.
_LONGEST_BLOCK = 16 << 20


def has_magic(file: Bytes) -> bool:
    """Whether a file ends as a table does."""
    return file.size >= _FOOTER and file.read(file.size - 8, 8) == MAGIC


def sorted_entries(file: Bytes) -> Iterator[tuple[bytes, bytes]]:
    """All keys and values of a table.

    Raises:
        CheckpointError: It is none, is damaged, or is packed.
        LimitError: It is too large.
    """
    try:
        yield from _all_blocks(file)
    except LimitError:
        raise
    except CheckpointError as error:
        if str(error).startswith(file.path):
            raise
        raise CheckpointError(f"{file.path}: damaged: {error}") from error


def _all_blocks(file: Bytes) -> Iterator[tuple[bytes, bytes]]:
    if not has_magic(file):
        raise CheckpointError("it does not end as the index of a checkpoint does")
    if file.size > _MOST_BYTES:
        raise LimitError(f"{file.path}: an index of {file.size:,} bytes is too large")
    footer = file.read(file.size - _FOOTER, _FOOTER)
    _, _, at = _handle(footer, 0)
    offset, size, _ = _handle(footer, at)
    count = total = end = 0
    last: bytes | None = None
    for _, handle in _block(file, offset, size):
        offset, size, _ = _handle(handle, 0)
        if offset < end:
            raise CheckpointError("two of its blocks lie over each other")
        end = offset + size
        for key, value in _block(file, offset, size):
            count, total = count + 1, total + len(key)
            if count > _MOST_ENTRIES or total > _MOST_KEY_BYTES:
                raise LimitError(f"{file.path}: more than {_MOST_ENTRIES:,} entries, or too long")
            if last is not None and key <= last:
                raise CheckpointError("its keys are not in order")
            yield key, value
            last = key


def _handle(data: bytes, at: int) -> tuple[int, int, int]:
    """Where a block is and how long, and where what follows begins."""
    offset, at = varint(data, at)
    size, at = varint(data, at)
    return offset, size, at


def _block(file: Bytes, offset: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    """The entries of a block; after it come how it is packed, and a checksum."""
    if size > _LONGEST_BLOCK:
        raise LimitError(f"{file.path}: a block of {size:,} bytes; {_LONGEST_BLOCK:,} are allowed")
    whole = file.read(offset, size + 5)
    if whole[size] != 0:
        raise CheckpointError("it is packed, as TensorFlow never does")
    told = int.from_bytes(whole[size + 1 :], "little")
    if masked_crc32c(whole[: size + 1]) != told:
        raise CheckpointError("a checksum does not fit")
    end = size - 4 - 4 * int.from_bytes(whole[size - 4 : size], "little")
    if size < 4 or end < 0:
        raise CheckpointError("a block has no end")
    return _unpacked(whole[:end])


def _unpacked(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    key, at = b"", 0
    while at < len(data):
        shared, at = varint(data, at)
        more, at = varint(data, at)
        length, at = varint(data, at)
        if shared > len(key) or at + more + length > len(data):
            raise CheckpointError("an entry is cut off")
        key = key[:shared] + data[at : at + more]
        at += more
        yield key, data[at : at + length]
        at += length
