"""A regular file of this machine, read by the number of the open file."""

from __future__ import annotations

import os
import stat

from steelyard.errors import CheckpointError

_MOST = 1 << 30  # one call of the system gives 2 GiB at most


class LocalFile:
    """An open file; that it changes while it is read is seen.

    Args:
        path: Where it is.

    Attributes:
        size: How many bytes it has.
    """

    def __init__(self, path: str) -> None:
        self.path, self._file = path, -1
        self._first = self._opened()
        self.size = self._first.st_size

    def fill(self, offset: int, view: memoryview) -> None:
        """Fills a buffer with the bytes from a place on."""
        if self._file < 0 and not os.path.samestat(self._opened(), self._first):
            raise CheckpointError(f"{self.path}: the file was changed while it was read")
        done = 0
        while done < len(view):
            part = view[done : done + _MOST]
            got = os.preadv(self._file, [part], offset + done)
            if got == 0:
                raise CheckpointError(f"{self.path}: the file became shorter while it was read")
            done += got
        now = os.fstat(self._file)
        if (now.st_size, now.st_mtime_ns) != (self.size, self._first.st_mtime_ns):
            raise CheckpointError(f"{self.path}: the file was changed while it was read")

    def _opened(self) -> os.stat_result:
        try:
            # A pipe would wait for a writer; a device could do anything.
            self._file = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except (OSError, ValueError) as error:  # a name with a zero byte in it is a ValueError
            raise CheckpointError(f"{self.path}: {_why(error)}") from error
        found = os.fstat(self._file)
        if not stat.S_ISREG(found.st_mode):
            self.rest()
            raise CheckpointError(f"{self.path}: a file was expected, and this is none")
        return found

    def rest(self) -> None:
        """Keeps nothing open until the next read, which sees whether it is still the same."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def fileno(self) -> int:
        """The number of the open file."""
        return self._file

    def close(self) -> None:
        """Closes it."""
        self.rest()


def _why(error: OSError | ValueError) -> str:
    return (isinstance(error, OSError) and error.strerror) or str(error)
