"""The central directory of a zip, those with 64-bit sizes included."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from steelyard.checkpoints._bytes import Bytes
from steelyard.errors import CheckpointError, LimitError

_MOST_BYTES = 32 << 20

_END = struct.Struct("<4s4H2LH")
_END64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR = struct.Struct("<4sLQL")
_ENTRY = struct.Struct("<4s6H3L5H2L")
_NOT_HERE = 0xFFFFFFFF
# Encrypted, encrypted strongly, and with a directory that is encrypted too.
_ENCRYPTED = 0x2041


@dataclass(frozen=True, slots=True)
class Listed:
    """A member as the directory lists it."""

    name: str
    raw_name: bytes
    flags: int
    method: int
    crc: int
    packed: int
    size: int
    header: int


def listed(file: Bytes, most: int) -> tuple[list[Listed], int]:
    """All members, and where the directory begins.

    Args:
        file: The file.
        most: How many members are allowed.

    Raises:
        CheckpointError: The file is no zip, holds more than its members and their directory, or a
            member is encrypted, packed in another way than by deflate, or has no right name.
        LimitError: There are too many.
    """
    count, begin, length = _place(file)
    if count > most or length > _MOST_BYTES:
        raise LimitError(f"{file.path}: {count:,} members; at most {most:,} are read")
    data = file.read(begin, length)
    found, at = [], 0
    for _ in range(count):
        entry, at = _entry(file.path, data, at)
        found.append(entry)
    if at != length:
        raise CheckpointError(f"{file.path}: its directory has {length - at:,} bytes too many")
    return found, begin


def _place(file: Bytes) -> tuple[int, int, int]:
    """How many members there are, where the directory is, and how long."""
    if file.size < _END.size:
        raise CheckpointError(f"{file.path}: no zip: it has {file.size} bytes")
    last = file.size - _END.size
    magic, disk, disk2, here, count, length, begin, comment = _END.unpack(
        file.read(last, _END.size)
    )
    if magic != b"PK\5\6" or comment:
        raise CheckpointError(f"{file.path}: no zip, or cut off: its directory is not at its end")
    end = last
    if 0xFFFF in (here, count) or _NOT_HERE in (length, begin) or _has_locator(file, last):
        disk, disk2, here, count, length, begin, end = _place64(file, last)
    if (disk, disk2) != (0, 0) or here != count:
        raise CheckpointError(f"{file.path}: a zip in several parts is not read")
    if begin + length != end:
        raise CheckpointError(f"{file.path}: its directory does not end where its end begins")
    return count, begin, length


def _has_locator(file: Bytes, last: int) -> bool:
    return last >= _LOCATOR.size and file.read(last - _LOCATOR.size, 4) == b"PK\6\7"


def _place64(file: Bytes, last: int) -> tuple[int, ...]:
    at = last - _LOCATOR.size
    magic, disk, end, _ = _LOCATOR.unpack(file.read(at, _LOCATOR.size))
    if magic != b"PK\6\7" or disk or end + _END64.size != at:
        raise CheckpointError(f"{file.path}: the end of its directory cannot be found")
    magic, size, _, _, disk, disk2, here, count, length, begin = _END64.unpack(
        file.read(end, _END64.size)
    )
    if magic != b"PK\6\6" or size != _END64.size - 12:
        raise CheckpointError(f"{file.path}: the end of its directory is none")
    return disk, disk2, here, count, length, begin, end


def _entry(path: str, data: bytes, at: int) -> tuple[Listed, int]:
    if at + _ENTRY.size > len(data) or not data.startswith(b"PK\1\2", at):
        raise CheckpointError(f"{path}: its directory is cut off or damaged")
    fields = _ENTRY.unpack_from(data, at)
    _, _, _, flags, method, _, _, crc, packed, size, name_len, extra_len, comment_len = fields[:13]
    header = fields[16]
    at += _ENTRY.size
    if at + name_len + extra_len + comment_len > len(data):
        raise CheckpointError(f"{path}: its directory is cut off or damaged")
    raw_name, extra = data[at : at + name_len], data[at + name_len : at + name_len + extra_len]
    at += name_len + extra_len + comment_len
    name = _name(path, raw_name, flags)
    if flags & _ENCRYPTED or method not in (0, 8):
        how = "encrypted" if flags & _ENCRYPTED else f"packed in a way (method {method})"
        raise CheckpointError(f"{path}: {name!r:.100} is {how} that is not read")
    size, packed, header = wide(f"{path}: {name!r:.100}", extra, (size, packed, header))
    return Listed(name, raw_name, flags, method, crc, packed, size, header), at


def _name(path: str, raw: bytes, flags: int) -> str:
    """The name: one text for everybody, without the byte at which some would end it."""
    try:
        name = raw.decode("utf-8" if flags & 0x800 else "ascii" if raw.isascii() else "cp437")
    except UnicodeDecodeError as error:
        raise CheckpointError(f"{path}: {raw!r:.100} is no right name of a member") from error
    if not name or "\0" in name:
        raise CheckpointError(f"{path}: {name!r:.100} is no right name of a member")
    return name


def wide(where: str, extra: bytes, sizes: tuple[int, ...]) -> tuple[int, ...]:
    """Sizes and a place; those that do not fit in 32 bits are taken from the extra field.

    Raises:
        CheckpointError: They are not in it, or twice.
    """
    if _NOT_HERE not in sizes:
        return sizes
    at, found = 0, []
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, at)
        if kind == 1:
            found.append(extra[at + 4 : at + 4 + length])
        at += 4 + length
    if len(found) > 1:
        raise CheckpointError(f"{where} has its sizes twice")
    text = found[0] if found else b""
    numbers = [n for (n,) in struct.iter_unpack("<Q", text[: len(text) // 8 * 8])]
    if len(numbers) < sizes.count(_NOT_HERE):
        raise CheckpointError(f"{where} lacks its sizes")
    rest = iter(numbers)
    return tuple(next(rest) if n == _NOT_HERE else n for n in sizes)
