"""Safetensors: a header of JSON, and the bytes of all arrays, one after the other."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from os import PathLike
from typing import Any

from steelyard.checkpoints._bytes import Bytes
from steelyard.checkpoints._flat import Entry, FlatSource, left_out
from steelyard.checkpoints._json import parse_json
from steelyard.checkpoints._tensor import Tensor, checked_shape, read_rows, read_tensor
from steelyard.errors import CheckpointError, LimitError
from steelyard.source import WeightSource

# As the format names them: ours, and the bits of one entry.
_DTYPES = {
    "BOOL": ("bool", 8),
    "I8": ("int8", 8),
    "U8": ("uint8", 8),
    "I16": ("int16", 16),
    "U16": ("uint16", 16),
    "I32": ("int32", 32),
    "U32": ("uint32", 32),
    "I64": ("int64", 64),
    "U64": ("uint64", 64),
    "F8_E4M3": ("float8_e4m3fn", 8),
    "F8_E5M2": ("float8_e5m2", 8),
    "F8_E4M3FNUZ": ("float8_e4m3fnuz", 8),
    "F8_E5M2FNUZ": ("float8_e5m2fnuz", 8),
    "F8_E8M0": ("float8_e8m0fnu", 8),
    "F16": ("float16", 16),
    "BF16": ("bfloat16", 16),
    "F32": ("float32", 32),
    "F64": ("float64", 64),
    "C64": ("complex64", 64),
    # Several entries to a byte: their place is checked, and they are not listed.
    "F4": ("", 4),
    "F6_E2M3": ("", 6),
    "F6_E3M2": ("", 6),
}
PACKED = "because NumPy has no dtype for it"
_MOST_HEADER = 32 << 20
_FIELDS = {"dtype", "shape", "data_offsets"}


def is_safetensors(head: bytes, path: str | PathLike[str]) -> bool:
    """Whether a file begins as safetensors do: the length of a header, and its brace."""
    return len(head) > 8 and head[8:9] == b"{" and head[5:8] == b"\0\0\0"


def open_safetensors(path: str | PathLike[str]) -> WeightSource:
    """The weights of a safetensors file; only its header is read.

    One that was made of a Keras file, and says so, is that Keras file again.

    Raises:
        CheckpointError: It is none, or its header and its bytes do not fit together.
    """
    file = Bytes(path)
    try:
        entries, packed, metadata = tensors_of(file)
        if (text := metadata.get("steelyard")) is not None and not packed:
            from steelyard.checkpoints._keras_in_safetensors import keras_source

            if (found := keras_source(file, entries, text)) is not None:
                return found
        return FlatSource(entries, [file], left_out(packed, PACKED))
    except BaseException:
        file.close()
        raise


def tensors_of(file: Bytes) -> tuple[list[Entry], list[str], dict[str, str]]:
    """What an open file has.

    Returns:
        The arrays, in the order of their bytes, the names of those left out, and the texts of the
        header.
    """
    header, begin = _header(file)
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise CheckpointError(f"{file.path}: its metadata are not texts by name")
    ranges = {name: _range(file.path, name, told) for name, told in header.items()}
    _check_no_gaps(file, ranges, file.size - begin)
    entries: list[Entry] = []
    packed: list[str] = []
    for name in sorted(ranges, key=ranges.__getitem__):
        told = header[name]
        dtype, _ = _DTYPES[told["dtype"]]
        if not dtype:
            packed.append(name)
            continue
        tensor = Tensor(name, tuple(told["shape"]), dtype, begin + ranges[name][0])
        rows = partial(read_rows, file, tensor)
        entries.append(Entry(tensor, partial(read_tensor, file, tensor), rows=rows))
    return entries, packed, metadata


def _header(file: Bytes) -> tuple[dict[str, Any], int]:
    """What the header says, and where the bytes of the arrays begin."""
    length = int.from_bytes(file.read(0, 8), "little")
    if length > min(_MOST_HEADER, file.size):
        kind = CheckpointError if length > file.size else LimitError
        raise kind(
            f"{file.path}: a header of {length:,} bytes is announced; the file has {file.size:,}, "
            f"and at most {_MOST_HEADER:,} are read"
        )
    text = file.read(8, length)
    if not text.startswith(b"{"):
        raise CheckpointError(f"{file.path}: the header does not begin with a brace")
    # Nobody but the metadata nests, and they hold texts.
    found = parse_json(text, f"{file.path}: header", most_depth=8)
    return found, 8 + length


def _range(path: str, name: str, told: Any) -> tuple[int, int]:
    """From where to where the bytes of an array go; all that is told of it is checked."""
    where = f"{path}: {name!r:.100}"
    if not isinstance(told, Mapping) or set(told) != _FIELDS:
        raise CheckpointError(f"{where}: dtype, shape and data_offsets are told of an array")
    if not isinstance(told["dtype"], str) or told["dtype"] not in _DTYPES:
        raise CheckpointError(f"{where}: there is no dtype {told['dtype']!r:.100}")
    bits = math.prod(checked_shape(told["shape"], where)) * _DTYPES[told["dtype"]][1]
    begin, end = _pair(told["data_offsets"], where)
    if bits % 8 or bits != 8 * (end - begin):
        raise CheckpointError(
            f"{where}: {bits / 8:,} bytes by its shape, and {end - begin:,} by its offsets"
        )
    return begin, end


def _pair(offsets: Any, where: str) -> tuple[int, int]:
    begin, end = checked_shape(offsets, f"{where}: data_offsets") if _is_pair(offsets) else (1, 0)
    if begin > end:
        raise CheckpointError(f"{where}: {offsets!r:.100} are no offsets")
    return begin, end


def _is_pair(offsets: Any) -> bool:
    return isinstance(offsets, list) and [type(n) for n in offsets] == [int, int]


def _check_no_gaps(file: Bytes, ranges: Mapping[str, tuple[int, int]], size: int) -> None:
    """Each byte of the file belongs to one array."""
    at = 0
    for name in sorted(ranges, key=ranges.__getitem__):
        begin, end = ranges[name]
        if begin != at:
            what = "overlap those before" if begin < at else "leave a hole before them"
            raise CheckpointError(f"{file.path}: the bytes of {name!r:.100} {what}")
        at = end
    if at != size:
        what = "cut off" if at > size else "bytes that belong to no array at the end"
        raise CheckpointError(f"{file.path}: {what}: {at:,} bytes are told, {size:,} are there")
