"""Tensors and variables of any backend as NumPy arrays."""

from __future__ import annotations

from typing import Any

import keras
import ml_dtypes
import numpy as np

from steelyard.live._keras import own_dtype


def to_numpy(tensor: Any) -> np.ndarray:
    """A new array that shares no memory with the tensor; float32 for narrower floats."""
    if _is_narrow(keras.backend.standardize_dtype(tensor.dtype)):
        tensor = keras.ops.cast(tensor, "float32")
    array = keras.ops.convert_to_numpy(tensor)
    return array if array.flags.owndata and array.flags.writeable else np.array(array)


def raw(variable: keras.Variable) -> np.ndarray:
    """What a variable stores, in its own dtype."""
    with own_dtype():
        array = to_numpy(variable.value)
    # Through float32 and back, exactly: torch hands out no float8 arrays.
    narrow = _is_narrow(variable.dtype) and variable.dtype != "float16"
    return array.astype(getattr(ml_dtypes, variable.dtype) if narrow else variable.dtype)


def _is_narrow(dtype: str) -> bool:
    return dtype in ("float16", "bfloat16") or dtype.startswith("float8")
