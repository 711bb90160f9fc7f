"""A tensor in slices along its first axis, of which no device and no host gets the whole."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from steelyard.live._arrays import is_narrow, is_one_buffer, view


def in_blocks(tensor: Any, rows: int) -> Iterator[np.ndarray]:
    """The slices, in order, as `view` would give them; the last may be shorter."""
    spread = keras.backend.backend() == "jax" and not is_one_buffer(tensor)
    starts = range(0, tensor.shape[0], max(1, rows))
    for first in starts:
        last = min(first + starts.step, tensor.shape[0])
        yield _of_shards(tensor, first, last) if spread else view(tensor[first:last])


def _of_shards(array: Any, first: int, last: int) -> np.ndarray:
    """Rows of a JAX array, each shard sliced where it is.

    A slice of the array as a whole may be worked out by gathering it on each device.
    """
    import jax

    found: np.ndarray = np.empty((last - first, *array.shape[1:]), array.dtype)
    for shard in array.addressable_shards:
        rows, *others = shard.index
        start, stop, _ = rows.indices(array.shape[0])
        begin, end = max(first, start), min(last, stop)
        if shard.replica_id == 0 and begin < end:
            there = jax.lax.dynamic_slice_in_dim(shard.data, begin - start, end - begin)
            found[(slice(begin - first, end - first), *others)] = np.asarray(there)
    dtype = keras.backend.standardize_dtype(array.dtype)
    return found.astype("float32") if is_narrow(dtype) else found
