"""A stretch of a file that is scanned by itself: a file, a member of an archive, an array."""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from steelyard.checkpoints import Bytes, Part
from steelyard.errors import LimitError


@dataclass(frozen=True, slots=True)
class Piece:
    """So many bytes, with a name to show.

    Args:
        part: Where they are.
        file: Of which file, as it is shown.
        member: Where in the file, as it is shown; "" is all of it.
        name: Its own name, which may tell its kind.
        depth: How many archives it lies in.
    """

    part: Part
    file: str
    member: str
    name: str
    depth: int = 0

    @property
    def size(self) -> int:
        """How many bytes it has."""
        return self.part.size

    def read(self, offset: int, count: int) -> bytes:
        """So many bytes from a place on, or as many as there are."""
        count = max(0, min(count, self.size - offset))
        return self.part.source.read(self.part.start + offset, count)

    def whole(self, most: int) -> bytes:
        """All of it.

        Raises:
            LimitError: It has more than `most` bytes.
        """
        if self.size > most:
            raise LimitError(f"{self.size:,} bytes; at most {most:,} are read of such a part")
        return self.read(0, self.size)

    def stream(self, start: int = 0) -> io.BufferedReader:
        """The bytes from a place on as a file to read and seek in."""
        return io.BufferedReader(_Stream(self, start), 1 << 16)

    def inside(self, name: str, part: Part) -> Piece:
        """A member of this archive."""
        shown = f"{self.member}: {name}" if self.member else name
        return Piece(part, self.file, shown, name, self.depth + 1)


class _Stream(io.RawIOBase):
    """A piece as a file."""

    def __init__(self, piece: Piece, start: int) -> None:
        self._piece, self._start, self._at = piece, start, 0
        self._size = max(0, piece.size - start)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        at = offset + (0, self._at, self._size)[whence]
        if at < 0:
            raise OSError("a place before the beginning")
        self._at = at
        return at

    def tell(self) -> int:
        return self._at

    def readinto(self, target: Any) -> int:
        view = memoryview(target).cast("B")[: max(0, self._size - self._at)]
        if len(view):
            part = self._piece.part
            part.source.into(part.start + self._start + self._at, view)
        self._at += len(view)
        return len(view)


def nameless(pieces: Iterable[bytes], shown: str) -> Part:
    """Bytes in a temporary file that has no name, so that nobody else finds it."""
    with tempfile.TemporaryFile(prefix="steelyard-") as file:
        for piece in pieces:
            file.write(piece)
        file.flush()
        source = Bytes(f"/dev/fd/{file.fileno()}")
    return Part(source, 0, source.size, shown)


def base(name: str) -> str:
    """The last part of a path, whichever slash parts it."""
    return os.path.basename(name.replace("\\", "/"))
