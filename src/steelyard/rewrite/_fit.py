"""Whether the value of one weight can become that of another, and what it is there."""

from __future__ import annotations

import ml_dtypes
import numpy as np

from steelyard.errors import CopyError, ShapeMismatchError

Shape = tuple[int, ...]


def is_regrouped(old: Shape, new: Shape) -> bool:
    """Whether one shape merges adjacent axes of the other, axes of length 1 left aside.

    >>> is_regrouped((64, 8, 16), (64, 128)), is_regrouped((3, 4), (4, 3))
    (True, False)
    """
    few, many = sorted(([n for n in shape if n != 1] for shape in (old, new)), key=len)
    rest = iter(many)
    for length in few:
        product = next(rest, 0)
        while 0 < product < length:
            product *= next(rest, 0)
        if product != length:
            return False
    return next(rest, None) is None


def fitted(value: np.ndarray, shape: Shape, dtype: str) -> np.ndarray:
    """The value as a weight of another shape and dtype takes it.

    Args:
        value: The effective value in the source.
        shape: The shape in the target; of the same size, which was agreed on before.
        dtype: The dtype that the target stores.

    Raises:
        ShapeMismatchError: If the sizes differ: the source listed another shape than it gives.
        CopyError: If the target's dtype cannot hold the value. Floats may lose digits, but none may
            become infinite; between whole numbers, truth values and floats all must stay exact.
    """
    if value.size != int(np.prod(shape)):
        raise ShapeMismatchError(f"a value of shape {value.shape} does not fit {shape}")
    value = value.reshape(shape)
    given = value.dtype.name
    if given == dtype:
        return value
    with np.errstate(over="ignore", invalid="ignore"):
        cast = value.astype(numpy_dtype(dtype))
        if is_float(given) and is_float(dtype):
            if lost := int(np.sum(np.isfinite(value) & ~np.isfinite(cast.astype("float64")))):
                raise CopyError(
                    f"{dtype} cannot hold {lost:,} of its {value.size:,} values; the largest is "
                    f"{np.max(np.abs(value[np.isfinite(value)])):.3g}"
                )
        elif not np.array_equal(cast.astype(value.dtype), value):
            raise CopyError(f"{dtype} cannot hold its {given} values exactly")
    return value


def is_float(dtype: str) -> bool:
    """Whether a dtype is one of floats, also of those that only `ml_dtypes` knows."""
    return dtype.startswith(("float", "bfloat"))


def numpy_dtype(dtype: str) -> np.dtype:
    """The NumPy dtype of a name that Keras uses."""
    return np.dtype(getattr(ml_dtypes, dtype, dtype))


def cast_from(value: np.ndarray, source_dtype: str, dtype: str) -> str:
    """What had to be done to a value besides copying it; empty where nothing had to."""
    if is_float(value.dtype.name) and not is_float(source_dtype):
        codes = f"scaled back from {source_dtype} codes"
        return codes if dtype == "float32" else f"{codes}, cast to {dtype}"
    return "" if source_dtype == dtype else f"cast from {source_dtype} to {dtype}"
