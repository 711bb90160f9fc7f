"""Tensors and variables of any backend as NumPy arrays."""

from __future__ import annotations

import contextlib
from typing import Any

import keras
import ml_dtypes
import numpy as np

from steelyard.live._keras import own_dtype


def to_numpy(tensor: Any) -> np.ndarray:
    """A new array that shares no memory with the tensor; float32 for narrower floats."""
    if is_narrow(keras.backend.standardize_dtype(tensor.dtype)):
        tensor = keras.ops.cast(tensor, "float32")
    array = view(tensor)
    return array if array.flags.owndata and array.flags.writeable else np.array(array)


def view(tensor: Any) -> np.ndarray:
    """The same without a copy where there is a way: to be read at once, and never written to."""
    if is_narrow(keras.backend.standardize_dtype(tensor.dtype)):
        return to_numpy(tensor)
    backend = keras.backend.backend()
    if backend == "torch":
        array: np.ndarray = tensor.detach().cpu().numpy()
        return array
    return np.asarray(_of_jax(tensor) if backend == "jax" else _of_tensorflow(tensor))


def _of_jax(array: Any) -> Any:
    """An array of the same buffers, if JAX would keep what it copies of them to the host.

    It keeps that as long as the array lives. A weight lives long, and may be in parts on many
    devices because there is no room for all of it elsewhere.
    """
    import jax

    if is_one_buffer(array):
        return array
    parts = [shard.data for shard in array.addressable_shards]
    return jax.make_array_from_single_device_arrays(array.shape, array.sharding, parts)


def is_one_buffer(array: Any) -> bool:
    """Whether NumPy reads an array of JAX where it lies: all of it is in the host's memory."""
    import jax

    if not isinstance(array, jax.Array) or isinstance(array, jax.core.Tracer):
        return True
    devices = array.sharding.device_set
    return len(devices) == 1 and next(iter(devices)).platform == "cpu"


def _of_tensorflow(tensor: Any) -> Any:
    """The tensor in a variable: one of several replicas does not become a scalar by itself."""
    import tensorflow as tf

    return tensor.read_value() if isinstance(tensor, tf.Variable) else tensor


def computed_now() -> contextlib.AbstractContextManager[Any]:
    """A scope in which what is made of arrays has values, inside a traced function too.

    A layer may be built while Keras only traces its `call`: JAX, TensorFlow and torch would then
    compute nothing but shapes.
    """
    backend = keras.backend.backend()
    if backend == "jax":
        import jax

        return jax.ensure_compile_time_eval()
    if backend == "tensorflow":
        import tensorflow as tf

        return tf.init_scope()
    return keras.device("cpu")  # and not "meta"


def raw(variable: keras.Variable) -> np.ndarray:
    """What a variable stores, in its own dtype."""
    with own_dtype():
        array = to_numpy(variable.value)
    # Through float32 and back, exactly: torch hands out no float8 arrays.
    narrow = is_narrow(variable.dtype) and variable.dtype != "float16"
    return array.astype(getattr(ml_dtypes, variable.dtype) if narrow else variable.dtype)


def is_narrow(dtype: str) -> bool:
    """Whether a dtype is a float narrower than float32, which NumPy hardly computes with."""
    return dtype in ("float16", "bfloat16") or dtype.startswith("float8")
