"""Changing a weight so that its layer computes with a given value."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from steelyard.errors import QuantizationError, ShapeMismatchError, SteelyardError
from steelyard.live import _quantized
from steelyard.live._arrays import raw, to_numpy
from steelyard.live._effective import effective, stored
from steelyard.live._keras import own_dtype
from steelyard.live._substitute import substitutes


def assign(
    address: str, layer: keras.Layer, name: str, variable: keras.Variable, value: Any
) -> None:
    """Change a weight so that its effective value becomes `value`.

    Under LoRA the base moves: it becomes `value` minus what the factors add. Under float8, where
    the layer rounds a float32 weight each time that it computes, that weight is set. What is tied
    or parametrized is changed where it is stored.

    Args:
        address: What to call the weight in a message.
        layer: The layer that holds the weight itself.
        name: The weight's own name in that layer.
        variable: Its variable.
        value: An array or tensor of the weight's shape.

    Raises:
        ShapeMismatchError: If the shape of `value` is another than the weight's.
        QuantizationError: If the weight is stored as codes.
        SteelyardError: If the layer works the weight out from its variable in a way of its own.
    """
    standing = substitutes(layer).get(name)
    shape = tuple(value.shape) if keras.ops.is_tensor(value) else np.shape(value)
    own = tuple(variable.shape)
    if shape != own and (standing is not None or not is_coded(layer, variable)):
        raise ShapeMismatchError(
            f"{address!r} has the shape {own}. Received a value of shape {shape}."
        )
    if standing is not None:
        standing.assign(_without_lora(layer, name, standing, value))
    else:
        variable.assign(_base(address, layer, name, variable, value))


def is_coded(layer: keras.Layer, variable: keras.Variable) -> bool:
    """Whether the variable holds codes that stand for other numbers."""
    if _quantized.is_known(layer, variable):
        return bool(keras.backend.is_int_dtype(variable.dtype))
    return _quantized.has_unknown_codes(layer, variable)


def _base(address: str, layer: keras.Layer, name: str, variable: keras.Variable, value: Any) -> Any:
    """What to store so that the layer computes with `value`."""
    if is_coded(layer, variable):
        raise QuantizationError(
            f"{address!r} is stored as {variable.dtype} codes ({layer.quantization_mode}), which "
            f"cannot hold any value. Assign to the model before `quantize`, and quantize then."
        )
    if (base := _without_lora(layer, name, variable, value)) is not value:
        return base
    if getattr(layer, "quantization_mode", None) == "float8":
        return value
    with own_dtype():
        used = to_numpy(effective(layer, name, variable))
        if not np.array_equal(used, to_numpy(variable.value), equal_nan=True):
            raise SteelyardError(
                f"{type(layer).__name__} works {address!r} out from its variable in a way of its "
                f"own. Assign to the variable instead: weight.variable.assign(...)."
            )
    return value


def _without_lora(layer: keras.Layer, name: str, variable: keras.Variable, value: Any) -> Any:
    """A value less what LoRA adds to the weight; the value itself where there is no LoRA."""
    parts = stored(layer, name, variable)
    lora = [part for key, part in parts.items() if key.startswith(f"lora_{variable.name}_")]
    if not lora:
        return value
    a, b = (raw(factor).astype("float64") for factor in lora)
    delta = (layer.lora_alpha / layer.lora_rank) * (a @ b)
    return keras.ops.convert_to_numpy(value).astype("float64") - delta
