"""A stretch of a file that is a file of its own: a member of an archive, or all of it."""

from __future__ import annotations

from dataclasses import dataclass

from steelyard.checkpoints._bytes import Bytes


@dataclass(frozen=True, slots=True)
class Part:
    """So many bytes of an open file, from a place on.

    Args:
        source: The open file.
        start: Where the part begins.
        size: How many bytes it has.
        name: What to call it in an error.
    """

    source: Bytes
    start: int
    size: int
    name: str

    @classmethod
    def whole(cls, source: Bytes) -> Part:
        """All of a file."""
        return cls(source, 0, source.size, source.path)

    def close(self) -> None:
        """Closes the file."""
        self.source.close()
