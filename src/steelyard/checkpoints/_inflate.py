"""Unpacking what deflate packed, piece by piece: never more than was announced."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import NamedTuple

from steelyard.checkpoints._bytes import Bytes
from steelyard.errors import CheckpointError

_CHUNK = 1 << 20


class Packed(NamedTuple):
    """A stretch of a file that deflate has packed.

    Args:
        file: The file.
        offset: Where it begins.
        length: How many bytes it has.
        size: How many it is to have when unpacked.
        where: What to call it in an error.
    """

    file: Bytes
    offset: int
    length: int
    size: int
    where: str


def first_pieces(packed: Packed, most: int) -> Iterator[bytes]:
    """The first bytes, and no more of it is unpacked or checked."""
    yield from _pieces(packed, min(most, packed.size), False)


def all_pieces(packed: Packed) -> Iterator[bytes]:
    """All bytes, neither more nor less than announced.

    Raises:
        CheckpointError: There are more, or fewer, or something after them.
    """
    yield from _pieces(packed, packed.size, True)


def _pieces(packed: Packed, most: int, whole: bool) -> Iterator[bytes]:
    where, inflate = packed.where, zlib.decompressobj(-15)
    read = given = 0
    rest = b""
    try:
        while not inflate.eof and given < most + whole:
            if not rest and read < packed.length:
                count = min(_CHUNK, most + 4096, packed.length - read)
                rest = packed.file.read(packed.offset + read, count)
                read += count
            before = len(rest)
            piece = inflate.decompress(rest, min(_CHUNK, most + whole - given))
            rest = inflate.unconsumed_tail
            if not piece and read == packed.length and len(rest) == before:
                break
            given += len(piece)
            if given > most:
                raise CheckpointError(f"{where} unpacks to more than it announces")
            yield piece
    except zlib.error as error:
        raise CheckpointError(f"{where} cannot be unpacked: {error}") from error
    if whole and (given < most or not inflate.eof):
        raise CheckpointError(f"{where} unpacks to less than it announces")
    if whole and (read < packed.length or inflate.unused_data):
        raise CheckpointError(f"{where} has bytes after its end")
