"""The bytes of a file, by their place: nothing else of the file system is ever looked at."""

from __future__ import annotations

import os
import stat
from os import PathLike
from types import TracebackType
from typing import Any

from steelyard.errors import CheckpointError

_MOST = 1 << 30  # one call of the system gives 2 GiB at most


class Bytes:
    """A regular file, opened for reading once, or a part of one.

    Args:
        path: The file.

    Raises:
        CheckpointError: It is not there, not readable, or no regular file (a folder, a device, a
            pipe).
    """

    def __init__(self, path: str | PathLike[str]) -> None:
        self.path = os.fspath(path)
        try:
            # A pipe would wait for a writer; a device could do anything.
            self._file = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except (OSError, ValueError) as error:  # a name with a zero byte in it is a ValueError
            raise CheckpointError(f"{self.path}: {_why(error)}") from error
        self._first = os.fstat(self._file)
        if not stat.S_ISREG(self._first.st_mode):
            self.close()  # and not once more when this is collected: the number may be another's
            raise CheckpointError(f"{self.path}: a file was expected, and this is none")
        self.size = self._first.st_size

    def read(self, offset: int, count: int) -> bytes:
        """So many bytes from a place on.

        Raises:
            CheckpointError: The file ends before, or has changed since it was opened.
        """
        found = bytearray(self._checked(offset, count))
        self.into(offset, found)
        return bytes(found)

    def into(self, offset: int, target: Any) -> None:
        """Fills a buffer with the bytes from a place on, without a copy in between."""
        view = memoryview(target).cast("B")
        self._checked(offset, len(view))
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

    def _checked(self, offset: int, count: int) -> int:
        if self._file < 0:
            raise CheckpointError(f"{self.path}: is closed, so nothing more can be read of it")
        if offset < 0 or count < 0 or offset + count > self.size:
            raise CheckpointError(
                f"{self.path}: cut off: bytes {offset:,} to {offset + count:,} were expected, and "
                f"there are {self.size:,}"
            )
        return count

    def fileno(self) -> int:
        """The number of the open file, for a child process to inherit."""
        return self._file

    def close(self) -> None:
        """Closes the file; after that nothing can be read."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def __reduce__(self) -> Any:
        # The number of an open file means another file in another process.
        raise TypeError(f"{self.path}: an open file cannot be sent elsewhere; send its path")

    def __enter__(self) -> Bytes:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_file", -1) >= 0:
            self.close()


def _why(error: OSError | ValueError) -> str:
    return (isinstance(error, OSError) and error.strerror) or str(error)
