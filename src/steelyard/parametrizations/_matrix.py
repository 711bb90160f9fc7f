"""A weight as a matrix, and which of its axes belong to one unit."""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

from steelyard.errors import ShapeMismatchError


def as_matrix(tensor: Any) -> Any:
    """(..., columns) -> (rows, columns): all axes but the last are the rows."""
    return tensor if len(tensor.shape) == 2 else ops.reshape(tensor, (-1, tensor.shape[-1]))


def check_matrix(who: str, shape: tuple[int, ...]) -> None:
    """Refuses what is no matrix.

    Raises:
        ShapeMismatchError: the shape has fewer than two axes, or an axis of length 0.
    """
    if len(shape) < 2 or 0 in shape:
        raise ShapeMismatchError(
            f"{who} needs a weight with two axes or more, all but the last being the rows of a "
            f"matrix. Received shape {tuple(shape)}. Parametrize a kernel instead."
        )


def inner_axes(
    who: str, axis: int | tuple[int, ...] | None, shape: tuple[int, ...]
) -> tuple[int, ...]:
    """The axes that one unit runs over: all but `axis`.

    Args:
        who: Who asks, for the error.
        axis: The axis or axes that count the units; None if the whole weight is one.
        shape: The shape of the weight.

    Raises:
        ShapeMismatchError: there is no such axis, or none is left.
    """
    units = () if axis is None else (axis,) if isinstance(axis, int) else tuple(axis)
    if not all(-len(shape) <= unit < len(shape) for unit in units):
        raise ShapeMismatchError(
            f"{who} has axis={axis!r}, which a weight of shape {tuple(shape)} does not have. "
            "Choose an axis of the weight that counts its output units."
        )
    inner = set(range(len(shape))) - {unit % len(shape) for unit in units}
    if math.prod(shape[i] for i in inner) < 1 or not inner:
        raise ShapeMismatchError(
            f"{who} with axis={axis!r} leaves no entries for a unit in a weight of shape "
            f"{tuple(shape)}. Parametrize a kernel instead."
        )
    return tuple(sorted(inner))


def widened(tensor: Any) -> Any:
    """The tensor in float32, unless it is wider: half precision cannot hold a norm."""
    narrow = keras.backend.standardize_dtype(tensor.dtype) in ("float16", "bfloat16")
    return ops.cast(tensor, "float32") if narrow else tensor


def as_dtype_of(result: Any, original: Any) -> Any:
    """The result in the dtype of what it was made from."""
    return result if result.dtype == original.dtype else ops.cast(result, original.dtype)
