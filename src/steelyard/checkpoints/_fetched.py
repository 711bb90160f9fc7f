"""Bytes that are fetched from elsewhere: small reads share blocks, large ones are exact."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable

BLOCK = 64 << 10
_MOST_BLOCKS = 256


class Fetched:
    """A file of which parts are fetched, one at a time.

    Args:
        fetch: Fills a buffer with the bytes from a place on.
        size: How many bytes there are.
        head: The first of them, where they came along when the file was opened.
    """

    def __init__(
        self, fetch: Callable[[int, memoryview], None], size: int, head: bytes = b""
    ) -> None:
        self._fetch, self.size = fetch, size
        self._blocks: OrderedDict[int, bytes] = OrderedDict()
        self._lock = threading.Lock()
        if len(head) == min(BLOCK, size):
            self._blocks[0] = head

    def fill(self, offset: int, view: memoryview) -> None:
        """Fills a buffer with the bytes from a place on."""
        with self._lock:
            if len(view) >= BLOCK:
                self._fetch(offset, view)
                return
            done = 0
            while done < len(view):
                number, skip = divmod(offset + done, BLOCK)
                piece = self._block(number)[skip : skip + len(view) - done]
                view[done : done + len(piece)] = piece
                done += len(piece)

    def forget(self) -> None:
        """Keeps no block."""
        with self._lock:
            self._blocks.clear()

    def _block(self, number: int) -> bytes:
        if number in self._blocks:
            self._blocks.move_to_end(number)
            return self._blocks[number]
        found = bytearray(min(BLOCK, self.size - number * BLOCK))
        self._fetch(number * BLOCK, memoryview(found))
        self._blocks[number] = bytes(found)
        if len(self._blocks) > _MOST_BLOCKS:
            self._blocks.popitem(last=False)
        return self._blocks[number]
