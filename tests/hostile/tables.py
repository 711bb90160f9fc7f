"""Tables of TensorFlow checkpoints, as small and as wrong as a test wants them."""

import struct

from steelyard.checkpoints._crc32c import masked_crc32c
from steelyard.checkpoints._sorted_table import MAGIC


def varint(number):
    found = b""
    while number >= 0x80:
        found += bytes([number & 0x7F | 0x80])
        number >>= 7
    return found + bytes([number])


def field(number, value):
    if isinstance(value, int):
        return varint(number << 3) + varint(value % 2**64)
    return varint(number << 3 | 2) + varint(len(value)) + value


def entry(shape=(2,), kind=1, file=0, offset=0, size=8, crc=0, more=b""):
    lengths = b"".join(field(2, field(1, n)) for n in shape)
    told = field(1, kind) + field(2, lengths) + field(3, file) + field(4, offset) + field(5, size)
    return told + varint(6 << 3 | 5) + struct.pack("<I", crc) + more


def block(items, packed=0, crc=None):
    body = b"".join(varint(0) + varint(len(k)) + varint(len(v)) + k + v for k, v in items)
    body += struct.pack("<II", 0, 1) + bytes([packed])
    return body + struct.pack("<I", masked_crc32c(body) if crc is None else crc)


def table(items, **options):
    data = block(items, **options)
    handle = varint(0) + varint(len(data) - 5)
    index = block([(b"\xff", handle)])
    footer = varint(0) + varint(0) + varint(len(data)) + varint(len(index) - 5)
    return data + index + footer.ljust(40, b"\0") + MAGIC


HEADER = (b"", field(1, 1))
