"""The directory of a zip archive, read strictly: what two readers could see differently is refused.

Nothing is ever extracted, and no path is built from a name. A member that is stored is a stretch of
the archive; one that is deflated is inflated, within a budget, to a file that has no name.
"""

from __future__ import annotations

import os
import struct
import tempfile
import zlib
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from steelyard.checkpoints._bytes import Bytes
from steelyard.checkpoints._part import Part
from steelyard.errors import CheckpointError, LimitError

_END, _END64, _LOCATOR = b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x07"
_CENTRAL, _LOCAL = b"PK\x01\x02", b"PK\x03\x04"
_FULL = 0xFFFFFFFF
_STORED, _DEFLATED = 0, 8
_PIECE = 1 << 20
MOST_MEMBERS = 10_000
_LONGEST_DIRECTORY = 64 << 20
MOST_INFLATED = 16 << 30
_MOST_RATIO = 1100  # deflate cannot do better than 1,032


class Member(NamedTuple):
    """What the directory says of one member."""

    name: str
    flags: int
    method: int
    packed: int
    size: int
    header: int
    check: int


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
        start, size, count = _directory(source)
        listed = list(_members(source.read(start, size), count, source.path))
        self.members = {member.name: member for member in listed}
        if len(self.members) < len(listed):
            raise CheckpointError(f"{source.path}: two members of the archive have one name")
        self._starts = _data(source, listed, start)
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


# --- The directory --------------------------------------------------------------------------------


def is_zip(source: Bytes) -> bool:
    """Whether a file begins as an archive does."""
    return source.size >= 22 and source.read(0, 4) in (_LOCAL, _END)


def _directory(source: Bytes) -> tuple[int, int, int]:
    """Where the directory begins, its size, and how many members it lists."""
    tail_start = max(0, source.size - 22 - 0xFFFF)
    tail = source.read(tail_start, source.size - tail_start)
    at = tail.rfind(_END)
    if at < 0 or len(tail) - at < 22:
        raise CheckpointError(f"{source.path}: cut off, or no zip archive: it has no directory")
    disk, first, here, count, size, start, comment = struct.unpack("<4H2LH", tail[at + 4 : at + 22])
    end = tail_start + at
    if disk or first or here != count or at + 22 + comment != len(tail):
        raise CheckpointError(f"{source.path}: the end of the archive's directory is damaged")
    if 0xFFFF in (count,) or _FULL in (size, start):
        start, size, count, end = _directory64(source, end)
    if start + size != end:
        raise CheckpointError(f"{source.path}: the archive's directory is not where it should be")
    if count > MOST_MEMBERS or size > _LONGEST_DIRECTORY:
        raise LimitError(f"{source.path}: {count:,} members; {MOST_MEMBERS:,} are allowed")
    return start, size, count


def _directory64(source: Bytes, end: int) -> tuple[int, int, int, int]:
    locator = source.read(end - 20, 20) if end >= 20 else b""
    if locator[:4] != _LOCATOR:
        raise CheckpointError(f"{source.path}: the archive's directory is damaged")
    place = struct.unpack("<Q", locator[8:16])[0]
    record = source.read(place, 56)
    if record[:4] != _END64 or place + 56 != end - 20:
        raise CheckpointError(f"{source.path}: the archive's directory is damaged")
    count, size, start = struct.unpack("<3Q", record[32:56])
    return start, size, count, place


def _members(directory: bytes, count: int, where: str) -> Iterator[Member]:
    at = 0
    for _ in range(count):
        if directory[at : at + 4] != _CENTRAL or at + 46 > len(directory):
            raise CheckpointError(f"{where}: the archive's directory is damaged")
        fields = struct.unpack("<6H3L5H2L", directory[at + 4 : at + 46])
        flags, method, packed, size = fields[2], fields[3], fields[7], fields[8]
        name_size, extra_size, note_size, header = *fields[9:12], fields[15]
        name = directory[at + 46 : at + 46 + name_size]
        extra = directory[at + 46 + name_size : at + 46 + name_size + extra_size]
        at += 46 + name_size + extra_size + note_size
        if at > len(directory):
            raise CheckpointError(f"{where}: the archive's directory is damaged")
        size, packed, header = _widened((size, packed, header), extra, where)
        yield Member(_text(name, flags), flags, method, packed, size, header, fields[6])
    if at != len(directory):
        raise CheckpointError(f"{where}: the archive's directory lists more than it counts")


def _widened(values: tuple[int, ...], extra: bytes, where: str) -> list[int]:
    """Sizes above 4 GiB stand in a field of their own, in this order."""
    if _FULL not in values:
        return list(values)
    wide: list[int] = []
    at = 0
    while at + 4 <= len(extra):
        kind, size = struct.unpack("<2H", extra[at : at + 4])
        if kind == 1:
            field = extra[at + 4 : at + 4 + size]
            wide = list(struct.unpack(f"<{len(field) // 8}Q", field[: len(field) // 8 * 8]))
            break
        at += 4 + size
    if len(wide) < values.count(_FULL):
        raise CheckpointError(f"{where}: a size in the archive's directory is missing")
    return [wide.pop(0) if value == _FULL else value for value in values]


def _text(name: bytes, flags: int) -> str:
    return name.decode("utf-8" if flags & 0x800 else "cp437", "backslashreplace")


def _leads_out(name: str) -> bool:
    parts = name.replace("\\", "/").split("/")
    return ".." in parts or parts[0] == "" or parts[0].endswith(":") or "\0" in name


def _data(source: Bytes, members: list[Member], end: int) -> dict[str, int]:
    """Where the data of each member begin; each lies by itself, as its own header says too."""
    starts, free = {}, 0
    for member in sorted(members, key=lambda m: m.header):
        where = f"{source.path}: {member.name}"
        if member.header < free:
            raise CheckpointError(f"{where}: overlaps another member of the archive")
        head = source.read(member.header, 30)
        fields = struct.unpack("<5H3L2H", head[4:])
        flags, method, packed, size, name_size, extra_size = *fields[1:3], *fields[6:10]
        rest = source.read(member.header + 30, name_size + extra_size)
        sizes = _local_sizes(size, packed, rest[name_size:], flags, member, where)
        said = (_text(rest[:name_size], flags), method, flags & 1, *sizes)
        if head[:4] != _LOCAL or said != (
            *(member.name, member.method, member.flags & 1),
            *(member.size, member.packed),
        ):
            raise CheckpointError(f"{where}: its header and the directory contradict each other")
        starts[member.name] = member.header + 30 + name_size + extra_size
        free = starts[member.name] + member.packed
        if free > end:
            raise CheckpointError(f"{where}: overlaps the directory of the archive")
    return starts


def _local_sizes(
    size: int, packed: int, extra: bytes, flags: int, member: Member, where: str
) -> tuple[int, int]:
    if flags & 8:  # written as a stream: the sizes came afterwards
        return member.size, member.packed
    wide = _widened((size, packed), extra, where)
    return wide[0], wide[1]


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
