"""Writing safetensors: a weight at a time, without knowing the next one."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from os import PathLike

import numpy as np

from steelyard.checkpoints._new_file import new_file
from steelyard.errors import CheckpointError

# As the format names dtypes (https://github.com/huggingface/safetensors).
_NAMES = {
    "bool": "BOOL",
    "int8": "I8",
    "uint8": "U8",
    "int16": "I16",
    "uint16": "U16",
    "int32": "I32",
    "uint32": "U32",
    "int64": "I64",
    "uint64": "U64",
    "float8_e4m3fn": "F8_E4M3",
    "float8_e5m2": "F8_E5M2",
    "float8_e4m3fnuz": "F8_E4M3FNUZ",
    "float8_e5m2fnuz": "F8_E5M2FNUZ",
    "float8_e8m0fnu": "F8_E8M0",
    "float16": "F16",
    "bfloat16": "BF16",
    "float32": "F32",
    "float64": "F64",
    "complex64": "C64",
}
_DIGITS = 20  # of the largest number of 64 bits


def write_safetensors(
    path: str | PathLike[str],
    names: Iterable[str],
    arrays: Iterable[np.ndarray],
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Writes arrays as they come; the header is put before them at the end.

    Args:
        path: The new file.
        names: Of all arrays, in their order.
        arrays: As many arrays, one in memory at a time.
        metadata: Texts that the header carries.

    Raises:
        CheckpointError: A dtype that the format does not have; the file is there already.
    """
    names, arrays = list(names), iter(arrays)
    room = _room_for(names, dict(metadata or {}))
    entries: dict[str, dict[str, object]] = {}
    with new_file(path) as file:
        file.write(b" " * (8 + room))
        end = 0
        for name in names:
            array = next(arrays)
            data = np.ascontiguousarray(array)
            if data.dtype.name not in _NAMES:
                raise CheckpointError(f"{name}: safetensors has no dtype {data.dtype.name}")
            entries[name] = {
                "dtype": _NAMES[data.dtype.name],
                "shape": list(array.shape),
                "data_offsets": [end, end + data.nbytes],
            }
            file.write(data.reshape(-1).view("uint8").data)
            end += data.nbytes
            del array, data  # before the next one is read; `zip` would keep it as well
        header = _header(entries, dict(metadata or {}))
        if len(header) > room:
            raise CheckpointError(f"{path}: a weight without entries has too large a shape")
        file.seek(0)
        file.write(room.to_bytes(8, "little") + header.ljust(room))


def _header(entries: Mapping[str, object], metadata: dict[str, str]) -> bytes:
    told = {"__metadata__": metadata} if metadata else {}
    return json.dumps({**told, **entries}, separators=(",", ":")).encode()


def _room_for(names: list[str], metadata: dict[str, str]) -> int:
    """More bytes than the header can take: it may end with spaces, and the data begin at 8n."""
    # The digits of all sizes together are at most those of their product, and one for each axis.
    shape = [1] * 31 + [10**_DIGITS]
    entry = {"dtype": "F8_E4M3FNUZ", "shape": shape, "data_offsets": [10**_DIGITS] * 2}
    most = len(_header({}, metadata)) + sum(
        len(json.dumps(name)) + len(json.dumps(entry)) for name in names
    )
    return -(-most // 8) * 8
