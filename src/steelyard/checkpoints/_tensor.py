"""A weight as it lies in a file: where its bytes are, and how they become an array."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from steelyard.checkpoints._bytes import Bytes
from steelyard.errors import CheckpointError

# What the effective value of a dtype is: wider floats, and whole numbers, stay as they are.
_WIDE = ("float32", "float64")
# A shape may say anything; an array of it must be possible.
_MOST_AXES = 32


@dataclass(frozen=True, slots=True)
class Tensor:
    """A stored array, without its bytes.

    Args:
        name: Its name in the file.
        shape: Its shape.
        dtype: The name of its dtype, as NumPy and ml_dtypes know it: `"float32"`, `"bfloat16"`.
        offset: Where its bytes begin; None where they are not in one piece.
        order: `"C"` or `"F"`: whether the last or the first axis lies together.
        byteorder: `"<"` or `">"`.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    offset: int | None = None
    order: str = "C"
    byteorder: str = "<"

    @property
    def size(self) -> int:
        """How many entries it has."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """How many bytes it takes in the file."""
        return self.size * dtype_of(self.dtype).itemsize


def dtype_of(name: str) -> np.dtype:
    """The NumPy dtype of a name, those of ml_dtypes (bfloat16, float8, int4) included.

    Raises:
        CheckpointError: There is none of that name.
    """
    import ml_dtypes

    try:
        return np.dtype(getattr(ml_dtypes, name, None) or name)
    except TypeError as error:
        raise CheckpointError(f"There is no dtype {name!r}.") from error


def checked_shape(shape: object, where: str) -> tuple[int, ...]:
    """A shape that a file declares, as a tuple.

    Raises:
        CheckpointError: It is none, or one that no array can have.
    """
    right = isinstance(shape, list | tuple) and all(
        isinstance(n, int) and not isinstance(n, bool) and 0 <= n < 1 << 62 for n in shape
    )
    if not right or len(shape) > _MOST_AXES or math.prod(shape) >= 1 << 62:  # type: ignore
        raise CheckpointError(f"{where}: {str(shape)[:100]} is no shape")
    return tuple(shape)  # type: ignore


def read_tensor(source: Bytes, tensor: Tensor) -> np.ndarray:
    """The stored array of a tensor whose bytes are in one piece, in native byte order."""
    if tensor.offset is None:
        raise CheckpointError(f"{tensor.name}: its bytes are not in one piece")
    flat = np.empty(tensor.size, dtype_of(tensor.dtype))
    source.into(tensor.offset, flat.view("uint8"))
    return in_order(flat, tensor)


def read_rows(source: Bytes, tensor: Tensor, begin: int, end: int) -> np.ndarray:
    """Some steps along the first axis of a tensor whose rows follow each other."""
    if tensor.offset is None or tensor.order != "C":
        raise CheckpointError(f"{tensor.name}: its rows do not follow each other")
    row = tensor.nbytes // tensor.shape[0]
    shape = (end - begin, *tensor.shape[1:])
    return read_tensor(source, replace(tensor, shape=shape, offset=tensor.offset + begin * row))


def in_order(flat: np.ndarray, tensor: Tensor) -> np.ndarray:
    """The entries of a tensor, as they lie in the file, in its shape and in native byte order."""
    if tensor.byteorder == ">":
        flat = flat.byteswap()  # each half of a complex number by itself
    return flat.reshape(tensor.shape, order=tensor.order)  # type: ignore[call-overload]


def effective(array: np.ndarray) -> np.ndarray:
    """What a layer computes with: floats narrower than float32 become float32."""
    if array.dtype.name in _WIDE or array.dtype.kind in "iub":
        return array
    if array.dtype.kind in "c":
        return array
    return array.astype("float32")
