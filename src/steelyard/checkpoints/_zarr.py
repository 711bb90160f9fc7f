"""What zarr says of an array, in version 2 (`.zarray`) or 3 (`zarr.json`)."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from steelyard.checkpoints._tensor import checked_shape, dtype_of
from steelyard.errors import CheckpointError

_PACKINGS = ("zstd", "zlib", "gzip", "bytes", "transpose", "crc32c", "sharding_indexed")
_PLAIN = re.compile(r"[<>|][biufc]\d{1,2}")
_NAMES = re.compile(r"(bool|u?int\d{1,2}|b?float\d+(_\w{1,20})?|complex\d{2,3})")


@dataclass(frozen=True, slots=True)
class ZarrArray:
    """An array without its values.

    Args:
        shape: Its shape.
        dtype: The name of its dtype, as NumPy and ml_dtypes know it; empty if it has no numbers.
        piece: The shape of the pieces that it is kept in; of the larger where they are in pieces
            again.
        count: How many pieces there are, the smallest counted.
    """

    shape: tuple[int, ...]
    dtype: str
    piece: tuple[int, ...]
    count: int


def zarr_array(told: Any, version: int, where: str) -> ZarrArray:
    """The array that a parsed JSON describes.

    Args:
        told: What the JSON says.
        version: Of zarr: 2 or 3.
        where: What it is of, for the errors.

    Raises:
        CheckpointError: It describes none.
    """
    try:
        if told["zarr_format"] != version:
            raise CheckpointError(f"{where}: zarr {told['zarr_format']!r:.20}, and not {version}")
        kind = told["dtype"] if version == 2 else told["data_type"]
        pieces = _pieces_2(told, where) if version == 2 else _pieces_3(told, where)
        shape = checked_shape(told["shape"], where)
    except (KeyError, TypeError):
        raise CheckpointError(f"{where}: {str(told)[:200]} is no array of zarr") from None
    pieces = [checked_shape(piece, where) for piece in pieces]
    if any(len(piece) != len(shape) or 0 in piece for piece in pieces):
        raise CheckpointError(f"{where}: pieces of {pieces} are none of an array of {shape}")
    count = max(math.prod(-(-n // m) for n, m in zip(shape, p, strict=True)) for p in pieces)
    return ZarrArray(shape, _dtype(kind), pieces[0], count)


def _pieces_2(told: dict[str, Any], where: str) -> list[Any]:
    if told["compressor"] is not None:
        _check_packing(told["compressor"]["id"], where)
    if told["filters"] is not None:
        raise CheckpointError(f"{where}: an array with filters is not read")
    return [told["chunks"]]


def _pieces_3(told: dict[str, Any], where: str) -> list[Any]:
    if told["node_type"] != "array" or told["chunk_grid"]["name"] != "regular":
        raise KeyError("node_type")
    pieces, codecs = [told["chunk_grid"]["configuration"]["chunk_shape"]], told["codecs"]
    while codecs is not None:
        inner = None
        for codec in codecs:
            _check_packing(codec["name"], where)
            if codec["name"] == "sharding_indexed":
                pieces.append(codec["configuration"]["chunk_shape"])
                inner = codec["configuration"]["codecs"]
        codecs = inner
    return pieces


def _check_packing(name: Any, where: str) -> None:
    """Only what Orbax writes: each of these unpacks no more than a piece takes."""
    if name not in _PACKINGS:
        raise CheckpointError(f"{where}: packed in a way ({name!r:.50}) that is not read")


def _dtype(kind: Any) -> str:
    """The name of a dtype: `"<f4"` and `"float32"` are float32; empty for what is no number."""
    if not isinstance(kind, str):
        return ""
    try:
        if _PLAIN.fullmatch(kind):
            return np.dtype(kind).name
        return dtype_of(kind).name if _NAMES.fullmatch(kind) else ""
    except (TypeError, CheckpointError):
        return ""
