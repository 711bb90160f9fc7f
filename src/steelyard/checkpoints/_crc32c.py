"""The checksum of TensorFlow's files, CRC-32C, worked out in many lanes at once.

A CRC that begins with zero is linear: zeros in front do not change it, and that of two pieces is
that of the first, carried on over as many zeros as the second has bytes, xor that of the second.

A tenth of a gigabyte a second is enough for what is small. For what is large there is a package
that has the processor do it, if it is installed.
"""

from __future__ import annotations

from functools import lru_cache
from importlib import import_module
from typing import Any

import numpy as np

_POLYNOMIAL = 0x82F63B78
_ALL = 0xFFFFFFFF
_LANE = 256  # bytes
_PIECE = 1 << 20


def masked_crc32c(data: bytes | np.ndarray) -> int:
    """The checksum, in the way that it is kept in files."""
    crc = crc32c(data)
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & _ALL


def is_quick() -> bool:
    """Whether the sum takes no longer than reading: `google-crc32c` is installed, in C."""
    return _library() is not None


def crc32c(data: bytes | np.ndarray) -> int:
    """The checksum; without the package, a megabyte takes some milliseconds."""
    flat = np.frombuffer(data, "uint8")
    if (library := _library()) is not None:
        crc = 0
        for at in range(0, flat.size, _PIECE):
            crc = library.extend(crc, flat[at : at + _PIECE].tobytes())
        return crc
    return _in_lanes(flat)


@lru_cache(maxsize=1)
def _library() -> Any:
    try:
        google_crc32c = import_module("google_crc32c")
    except ImportError:
        return None
    return google_crc32c if google_crc32c.implementation == "c" else None


def _in_lanes(flat: np.ndarray) -> int:
    if flat.size < 4:
        return _short(flat)
    count = 1
    while count * _LANE < flat.size:
        count *= 2
    lanes = np.zeros(count * _LANE, "uint8")
    lanes[lanes.size - flat.size :] = flat
    # To begin with ones is to begin with zeros and four bytes turned.
    lanes[lanes.size - flat.size :][:4] ^= 0xFF
    return _linear(lanes.reshape(count, _LANE)) ^ _ALL


def _short(flat: np.ndarray) -> int:
    crcs = np.full(1, _ALL, "uint32")
    for at in range(flat.size):
        crcs = _step(crcs, flat[at : at + 1])
    return int(crcs[0]) ^ _ALL


def _linear(lanes: np.ndarray) -> int:
    """The CRC that begins with zero, of all lanes one after the other."""
    crcs = np.zeros(len(lanes), "uint32")
    for column in np.ascontiguousarray(lanes.T):
        crcs = _step(crcs, column)
    level = 0
    while len(crcs) > 1:
        crcs = _carried(crcs[0::2], _zeros(level)) ^ crcs[1::2]
        level += 1
    return int(crcs[0])


def _step(crcs: np.ndarray, bytes_: np.ndarray) -> np.ndarray:
    return _table()[(crcs ^ bytes_) & np.uint32(0xFF)] ^ (crcs >> np.uint32(8))


@lru_cache(maxsize=1)
def _table() -> np.ndarray:
    crcs = np.arange(256, dtype="uint32")
    for _ in range(8):
        crcs = (crcs >> np.uint32(1)) ^ np.where(crcs & 1, _POLYNOMIAL, 0).astype("uint32")
    return crcs


@lru_cache(maxsize=32)
def _zeros(level: int) -> np.ndarray:
    """What becomes of each bit of a CRC over `_LANE * 2**level` zeros."""
    if level:
        return _carried(_zeros(level - 1), _zeros(level - 1))
    bits = np.left_shift(np.uint32(1), np.arange(32, dtype="uint32"))
    for _ in range(_LANE):
        bits = _step(bits, np.zeros(32, "uint8"))
    return bits


def _carried(crcs: np.ndarray, bits: np.ndarray) -> np.ndarray:
    found = np.zeros_like(crcs)
    for i in range(32):
        found ^= (crcs >> np.uint32(i) & np.uint32(1)) * bits[i]
    return found
