"""Files that are packed as a whole, by gzip and its like: unpacked within a budget."""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Iterator
from typing import Any

from steelyard.errors import CheckpointError, LimitError
from steelyard.scanning._piece import Piece
from steelyard.scanning._report import Report

_MOST_UNPACKED = 256 << 20
_MEMORY = 128 << 20
_PIECE = 1 << 20
_ENGINES: dict[bytes, Any] = {
    b"\x1f\x8b": lambda: zlib.decompressobj(47),
    b"x\x01": lambda: zlib.decompressobj(47),
    b"x^": lambda: zlib.decompressobj(47),
    b"x\x9c": lambda: zlib.decompressobj(47),
    b"x\xda": lambda: zlib.decompressobj(47),
    b"BZh": bz2.BZ2Decompressor,
    b"\xfd7zXZ\0": lambda: lzma.LZMADecompressor(memlimit=_MEMORY),
    b"]\0\0": lambda: lzma.LZMADecompressor(memlimit=_MEMORY),
}


def is_packed(head: bytes) -> bool:
    """Whether a file begins as gzip, zlib, bzip2, xz or lzma do."""
    return head.startswith(tuple(_ENGINES))


def unpacked(piece: Piece, report: Report) -> Iterator[bytes]:
    """What is in it, piece by piece.

    Raises:
        CheckpointError: It is damaged, or has more after its end.
        LimitError: It unpacks to too much.
    """
    engine = next(make() for magic, make in _ENGINES.items() if piece.read(0, 8).startswith(magic))
    made = at = 0
    packed = b""
    try:
        while not engine.eof:
            report.check()
            if not packed and getattr(engine, "needs_input", True):
                packed = piece.read(at, _PIECE)
                at += len(packed)
                if not packed:
                    raise CheckpointError("its packed bytes are cut off")
            found = engine.decompress(packed, _PIECE)
            packed = getattr(engine, "unconsumed_tail", b"")
            if (made := made + len(found)) > _MOST_UNPACKED:
                raise LimitError(f"it unpacks to more than {_MOST_UNPACKED:,} bytes")
            yield found
    except (zlib.error, OSError, EOFError, lzma.LZMAError) as error:
        raise CheckpointError(f"its packed bytes are damaged ({error})") from None
    if engine.unused_data or at < piece.size:
        message = "More follows after the end of what is packed; it was not read."
        report.add("unreadable", piece, "", message)
