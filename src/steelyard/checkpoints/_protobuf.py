"""Protocol buffers without their schemas: the fields of a message, one after the other."""

from __future__ import annotations

from collections.abc import Iterator

from steelyard.errors import CheckpointError

# The kinds of fields that are read: a number, and bytes.
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_WIDTHS = {FIXED64: 8, FIXED32: 4}


def varint(data: bytes, at: int) -> tuple[int, int]:
    """A number of up to 64 bits, seven to a byte, and where what follows it begins."""
    value = shift = 0
    while at < len(data) and shift < 70:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, at
        shift += 7
    raise CheckpointError("a number is cut off or too long")


def fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The number of each field, and its value.

    Raises:
        CheckpointError: The bytes are no message.
    """
    at = 0
    while at < len(data):
        key, at = varint(data, at)
        number, kind = key >> 3, key & 7
        if kind == VARINT:
            value, at = varint(data, at)
            yield number, value
            continue
        if kind == BYTES:
            width, at = varint(data, at)
        elif kind in _WIDTHS:
            width = _WIDTHS[kind]
        else:
            raise CheckpointError(f"a message has a field of kind {kind}")
        if at + width > len(data):
            raise CheckpointError("a message is cut off")
        piece = data[at : at + width]
        yield number, piece if kind == BYTES else int.from_bytes(piece, "little")
        at += width


def as_bytes(value: int | bytes) -> bytes:
    """The bytes of a field that has to be some."""
    if isinstance(value, int):
        raise CheckpointError("a message has a number where bytes are due")
    return value


def as_text(value: int | bytes) -> str:
    """The text of a field that has to be one."""
    try:
        return as_bytes(value).decode("utf-8")
    except UnicodeDecodeError as error:
        raise CheckpointError("a message has a text that is none") from error


def as_number(value: int | bytes) -> int:
    """The number of a field that has to be one; signed, of 64 bits."""
    if not isinstance(value, int):
        raise CheckpointError("a message has bytes where a number is due")
    return value - (1 << 64) if value >> 63 else value
