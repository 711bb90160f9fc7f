"""The bytes of a file that is elsewhere, for a child process, which asks for them by a socket."""

from __future__ import annotations

import socket
import struct
import threading
import time
from contextlib import suppress

from steelyard.checkpoints._bytes import Bytes
from steelyard.errors import SteelyardError

_ASKED = struct.Struct("<QQ")
_MOST = 8 << 20  # more is not asked for


class Served:
    """Answers what one child asks, in a thread, until it ends.

    Args:
        source: The file.

    Attributes:
        error: Why no more bytes came, if so.
    """

    def __init__(self, source: Bytes) -> None:
        self.error: SteelyardError | None = None
        self._source = source
        self._waited, self._since = 0.0, 0.0
        self._here, self.there = socket.socketpair()
        threading.Thread(target=self._serve, daemon=True, name="steelyard-served").start()

    @property
    def waited(self) -> float:
        """For how many seconds the child had to wait for bytes: that is not its own time."""
        since = self._since
        return self._waited + (time.monotonic() - since if since else 0.0)

    def close(self) -> None:
        """Answers no more."""
        self.there.close()
        with suppress(OSError):
            self._here.shutdown(socket.SHUT_RDWR)

    def _serve(self) -> None:
        with self._here, suppress(OSError):
            while len(asked := self._here.recv(_ASKED.size, socket.MSG_WAITALL)) == _ASKED.size:
                offset, count = _ASKED.unpack(asked)
                self._since = time.monotonic()
                try:
                    found = self._source.read(offset, min(count, _MOST))
                except SteelyardError as error:
                    self.error = error
                    return
                self._waited += time.monotonic() - self._since
                self._since = 0.0
                self._here.sendall(found)
