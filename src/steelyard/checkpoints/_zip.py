"""The directory of a zip archive, read strictly: what two readers could see differently is refused.

Nothing is ever extracted, and no path is built from a name. A member that is stored is a stretch of
the archive; one that is deflated is inflated, within a budget, to a file that has no name.
"""

from __future__ import annotations

import os
import tempfile
import zlib
from collections.abc import Iterable, Iterator

from steelyard.checkpoints._bytes import Bytes
from steelyard.checkpoints._part import Part
from steelyard.checkpoints._zip_directory import Member, directory, members, starts_of
from steelyard.errors import CheckpointError, LimitError

_STORED, _DEFLATED = 0, 8
_PIECE = 1 << 20
MOST_INFLATED = 16 << 30
_MOST_RATIO = 1100  # deflate cannot do better than 1,032


class Archive:
    """An open zip archive.

    Args:
        source: The open file, which stays the caller's.

    Attributes:
        members: By name.
        odd: What an honest archive does not have: `(code, name, message)`.

    Raises:
        CheckpointError: It is none, or contradicts itself.
        LimitError: It has too many members.
    """

    def __init__(self, source: Bytes) -> None:
        self.source = source
        self.odd: list[tuple[str, str, str]] = []
        start, size, count = directory(source)
        listed = list(members(source.read(start, size), count, source.path))
        self.members = {member.name: member for member in listed}
        if len(self.members) < len(listed):
            raise CheckpointError(f"{source.path}: two members of the archive have one name")
        self._starts = starts_of(source, listed, start)
        for member in listed:
            if _leads_out(member.name):
                message = "a name that leads out of the archive; nothing is extracted"
                self.odd.append(("zip-name", member.name, message))

    def part(self, name: str) -> Part:
        """A member as a stretch of a file.

        Raises:
            CheckpointError: There is none of that name, or it cannot be read.
            LimitError: It would inflate to too much.
        """
        member, where = self._readable(name)
        if member.method == _STORED:
            return Part(self.source, self._starts[name], member.size, where)
        return Part.whole(self._inflated(member, where))

    def read(self, name: str, most: int) -> bytes:
        """The bytes of a small member."""
        member, where = self._readable(name)
        if member.size > most:
            raise LimitError(f"{where}: {member.size:,} bytes; {most:,} are allowed")
        packed = self.source.read(self._starts[name], member.packed)
        whole = packed
        if member.method == _DEFLATED:
            whole = b"".join(_inflate([packed], member, where))
        if len(whole) != member.size or zlib.crc32(whole) != member.check:
            raise CheckpointError(f"{where}: is damaged: its checksum is another one")
        return whole

    def _readable(self, name: str) -> tuple[Member, str]:
        where = f"{self.source.path}: {name}"
        if (member := self.members.get(name)) is None:
            raise CheckpointError(f"{where}: no such member in the archive")
        if member.flags & 0x2041:
            raise CheckpointError(f"{where}: is encrypted")
        if member.method not in (_STORED, _DEFLATED):
            raise CheckpointError(f"{where}: compressed by an unknown method, {member.method}")
        if member.method == _STORED and member.size != member.packed:
            raise CheckpointError(f"{where}: is stored, and yet has two sizes")
        most = min(MOST_INFLATED, _MOST_RATIO * member.packed + 64)
        if member.method == _DEFLATED and member.size > most:
            raise LimitError(f"{where}: {member.packed:,} bytes would inflate to {member.size:,}")
        return member, where

    def _inflated(self, member: Member, where: str) -> Bytes:
        """The member as an open file; its name is gone before anybody else could use it."""
        handle, path = tempfile.mkstemp(prefix="steelyard-")
        try:
            total = 0
            with open(handle, "wb") as target:
                for piece in _inflate(self._pieces(member), member, where):
                    total += target.write(piece)
            if total != member.size:
                raise CheckpointError(f"{where}: inflates to {total:,}, not {member.size:,} bytes")
            return Bytes(path)
        finally:
            os.unlink(path)

    def _pieces(self, member: Member) -> Iterator[bytes]:
        start = self._starts[member.name]
        for at in range(0, member.packed, _PIECE):
            yield self.source.read(start + at, min(_PIECE, member.packed - at))


def is_zip(source: Bytes) -> bool:
    """Whether a file begins as an archive does."""
    return source.size >= 22 and source.read(0, 4) in (b"PK\x03\x04", b"PK\x05\x06")


def _leads_out(name: str) -> bool:
    parts = name.replace("\\", "/").split("/")
    return ".." in parts or parts[0] == "" or parts[0].endswith(":") or "\0" in name


# --- Inflating ------------------------------------------------------------------------------------


def _inflate(pieces: Iterable[bytes], member: Member, where: str) -> Iterator[bytes]:
    """Inflates piece by piece; more than the directory says is an error, not more memory."""
    engine, left = zlib.decompressobj(-15), member.size
    try:
        for piece in pieces:
            while piece:
                made = engine.decompress(piece, _PIECE)
                left -= len(made)
                if left < 0:
                    raise LimitError(f"{where}: inflates to more than {member.size:,} bytes")
                yield made
                piece = engine.unconsumed_tail
        if not engine.eof:
            raise CheckpointError(f"{where}: its compressed data are cut off")
    except zlib.error as error:
        raise CheckpointError(f"{where}: its compressed data are damaged ({error})") from None
