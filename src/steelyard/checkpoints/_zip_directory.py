"""Where the members of a zip archive lie, as its directory and their own headers agree."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from steelyard.checkpoints._bytes import Bytes
from steelyard.errors import CheckpointError, LimitError

_END, _END64, _LOCATOR = b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x07"
_CENTRAL, _LOCAL = b"PK\x01\x02", b"PK\x03\x04"
_FULL = 0xFFFFFFFF
MOST_MEMBERS = 10_000
_LONGEST_DIRECTORY = 64 << 20


class Member(NamedTuple):
    """What the directory says of one member."""

    name: str
    flags: int
    method: int
    packed: int
    size: int
    header: int
    check: int


def directory(source: Bytes) -> tuple[int, int, int]:
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


def members(listing: bytes, count: int, where: str) -> Iterator[Member]:
    """What each entry of the directory says."""
    at = 0
    for _ in range(count):
        if listing[at : at + 4] != _CENTRAL or at + 46 > len(listing):
            raise CheckpointError(f"{where}: the archive's directory is damaged")
        fields = struct.unpack("<6H3L5H2L", listing[at + 4 : at + 46])
        flags, method, packed, size = fields[2], fields[3], fields[7], fields[8]
        name_size, extra_size, note_size, header = *fields[9:12], fields[15]
        name = listing[at + 46 : at + 46 + name_size]
        extra = listing[at + 46 + name_size : at + 46 + name_size + extra_size]
        at += 46 + name_size + extra_size + note_size
        if at > len(listing):
            raise CheckpointError(f"{where}: the archive's directory is damaged")
        size, packed, header = _widened((size, packed, header), extra, where)
        yield Member(_text(name, flags), flags, method, packed, size, header, fields[6])
    if at != len(listing):
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


def starts_of(source: Bytes, members: list[Member], end: int) -> dict[str, int]:
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
