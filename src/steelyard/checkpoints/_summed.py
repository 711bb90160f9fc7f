"""Reading with a checksum: a second thread sums what has come while the next bytes are read."""

from __future__ import annotations

import zlib
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from steelyard.checkpoints._bytes import Bytes

_PIECE = 4 << 20


def read_summed(file: Bytes, offset: int, target: Any, crc: int = 0) -> int:
    """Fills a buffer with the bytes from a place on.

    One thread would take three times as long as without the sum; two take a quarter longer.

    Args:
        file: The file.
        offset: Where the bytes begin.
        target: The buffer.
        crc: The sum of what comes before.

    Returns:
        The CRC-32 of all.
    """
    view = memoryview(target).cast("B")
    if len(view) <= _PIECE:
        file.into(offset, view)
        return zlib.crc32(view, crc)
    with ThreadPoolExecutor(1) as pool:
        last: Future[int] | None = None
        for at in range(0, len(view), _PIECE):
            piece = view[at : at + _PIECE]
            file.into(offset + at, piece)
            crc = crc if last is None else last.result()
            last = pool.submit(zlib.crc32, piece, crc)
        return crc if last is None else last.result()
