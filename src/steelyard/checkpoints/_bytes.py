"""The bytes of a file, by their place: nothing else of the file system is ever looked at."""

from __future__ import annotations

import os
from os import PathLike
from types import TracebackType
from typing import Any, Protocol

from steelyard.checkpoints._local import LocalFile
from steelyard.errors import CheckpointError
from steelyard.urls import beside, is_url, is_web, name_of, on_disk, shown


class Store(Protocol):
    """What has the bytes.

    Attributes:
        size: How many there are.
    """

    size: int

    def fill(self, offset: int, view: memoryview) -> None:
        """Fills a buffer with the bytes from a place on, or raises a `CheckpointError`."""
        ...

    def fileno(self) -> int | None:
        """The number of the open file; None if it is elsewhere."""
        ...

    def rest(self) -> None:
        """Keeps nothing open, and little in memory, until the next read."""
        ...

    def close(self) -> None:
        """Ends it."""
        ...


class Bytes:
    """A regular file, opened for reading once, or a part of one; of this machine or at a URL.

    Of one at a URL no more is fetched than is read, in blocks.

    Args:
        path: The file.

    Attributes:
        path: The same, without what may be secret in a URL.
        size: How many bytes there are.

    Raises:
        CheckpointError: It is not there, not readable, or no regular file (a folder, a device, a
            pipe).
    """

    def __init__(self, path: str | PathLike[str]) -> None:
        self._place = on_disk(path)
        self.path = shown(self._place)
        self._store: Store | None = _opened(self._place, self.path)
        self.size = self._store.size

    def read(self, offset: int, count: int) -> bytes:
        """So many bytes from a place on.

        Raises:
            CheckpointError: The file ends before, or has changed since it was opened.
        """
        self._checked(offset, count)
        found = bytearray(count)
        self.into(offset, found)
        return bytes(found)

    def into(self, offset: int, target: Any) -> None:
        """Fills a buffer with the bytes from a place on, without a copy in between."""
        view = memoryview(target).cast("B")
        self._checked(offset, len(view)).fill(offset, view)

    def _checked(self, offset: int, count: int) -> Store:
        if self._store is None:
            raise CheckpointError(f"{self.path}: is closed, so nothing more can be read of it")
        if offset < 0 or count < 0 or offset + count > self.size:
            raise CheckpointError(
                f"{self.path}: cut off: bytes {offset:,} to {offset + count:,} were expected, and "
                f"there are {self.size:,}"
            )
        return self._store

    @property
    def name(self) -> str:
        """The last part of its path."""
        return name_of(self._place)

    @property
    def is_elsewhere(self) -> bool:
        """Whether each read is to wait for another machine."""
        return is_url(self._place)

    def beside(self, name: str) -> Bytes:
        """Another file of the same folder.

        Raises:
            SteelyardError: `name` is no plain name, but leads elsewhere.
        """
        return Bytes(beside(self._place, name))

    def fileno(self) -> int | None:
        """The number of the open file, for a child process to inherit; None if it has none."""
        return None if self._store is None else self._store.fileno()

    def rest(self) -> None:
        """Keeps nothing open, and little in memory, until the next read.

        That sees whether the file has changed meanwhile, as any other does.
        """
        if self._store is not None:
            self._store.rest()

    def close(self) -> None:
        """Closes the file; after that nothing can be read."""
        store, self._store = self._store, None
        if store is not None:
            store.close()

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
        if getattr(self, "_store", None) is not None:
            self.close()


def _opened(place: str, path: str) -> Store:
    """The one place at which it matters where a file is."""
    if not is_url(place):
        return LocalFile(place)
    if is_web(place):
        from steelyard.checkpoints._web import WebFile

        return WebFile(place, path)
    from steelyard.checkpoints._fsspec import StoredFile

    return StoredFile(place, path)


def is_there(path: str | PathLike[str]) -> bool:
    """Whether there is something at a path; of a URL that is known when it is opened."""
    return is_url(path) or os.path.lexists(path)


def is_file(path: str | PathLike[str]) -> bool:
    """Whether it can be a file; a folder is none."""
    return is_url(path) or os.path.isfile(path)
