"""What zarr says of an array, in version 2 (`.zarray`) or 3 (`zarr.json`)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from steelyard.checkpoints._tensor import checked_shape, dtype_of
from steelyard.errors import CheckpointError

_PLAIN = re.compile(r"[<>|][biufc]\d{1,2}")
_NAMES = re.compile(r"(bool|u?int\d{1,2}|b?float\d+(_\w{1,20})?|complex\d{2,3})")


@dataclass(frozen=True, slots=True)
class ZarrArray:
    """An array without its values.

    Args:
        shape: Its shape.
        dtype: The name of its dtype, as NumPy and ml_dtypes know it; empty if it has no numbers.
        piece: The shape of the pieces that it is kept in; of the larger where there are two.
    """

    shape: tuple[int, ...]
    dtype: str
    piece: tuple[int, ...]


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
        piece = told["chunks"] if version == 2 else _grid(told)
        shape = told["shape"]
    except (KeyError, TypeError):
        raise CheckpointError(f"{where}: {str(told)[:200]} is no array of zarr") from None
    shape, piece = checked_shape(shape, where), checked_shape(piece, where)
    if len(shape) != len(piece):
        raise CheckpointError(f"{where}: pieces of {piece} are none of an array of {shape}")
    return ZarrArray(shape, _dtype(kind), piece)


def _grid(told: dict[str, Any]) -> Any:
    if told["node_type"] != "array" or told["chunk_grid"]["name"] != "regular":
        raise KeyError
    return told["chunk_grid"]["configuration"]["chunk_shape"]


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
