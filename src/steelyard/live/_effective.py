"""What a weight effectively is: the value that its layer computes with, whatever is stored.

A weight is, in this order of asking:

1. what stands for it, if it is tied or parametrized, plus LoRA;
2. codes of a quantization that we know: scaled back, plus LoRA where the layer adds it;
3. codes of a quantization that we do not know: an error, never the codes;
4. a base matrix with LoRA: the sum;
5. what a property of the layer's class makes of it, if that has the same shape;
6. itself.

All is read in the variable's own dtype: no autocast, inside the `call` of a mixed layer too.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from steelyard.live import _quantized
from steelyard.live._keras import own_dtype
from steelyard.live._quantized import read
from steelyard.live._substitute import substitutes, ultimate


def effective(layer: keras.Layer, name: str, variable: keras.Variable) -> Any:
    """The value that `layer` computes with for its own weight `name`.

    Args:
        layer: The layer that holds `variable` itself, not in a sublayer.
        name: The weight's own name in that layer, such as `"kernel"`.
        variable: The weight's variable.

    Returns:
        A tensor of the running backend, differentiable in the trainable variables. It has the
        dtype of the variable; what is stored as codes comes as float32 (or the scale's dtype, if
        wider) in the shape that the weight had before quantization.

    Raises:
        QuantizationError: If the weight is stored as codes and the way back is unknown.
    """
    with own_dtype():
        if (standing := substitutes(layer).get(name)) is not None:
            return _with_lora(layer, standing.name, standing.value)
        if _quantized.is_known(layer, variable):
            value = _quantized.dequantized(layer, variable)
            adds = _quantized.adds_lora(layer)
            return _with_lora(layer, variable.name, value) if adds else value
        if _quantized.has_unknown_codes(layer, variable):
            return _declared_float(layer, name)
        if _lora(layer, name):
            return _with_lora(layer, name, read(variable))
        declared = _declared(layer, name)
        if declared is not None and tuple(declared.shape) == tuple(variable.shape):
            return declared
        return read(variable)


def is_worked_out(layer: keras.Layer, name: str, variable: keras.Variable) -> bool:
    """Whether `effective` makes the value of something, and is not the variable's own."""
    if name in substitutes(layer) or _lora(layer, name):
        return True
    if _quantized.is_known(layer, variable) or _quantized.has_unknown_codes(layer, variable):
        return True
    declared = _declared(layer, name)
    return declared is not None and tuple(declared.shape) == tuple(variable.shape)


def stored(layer: keras.Layer, name: str, variable: keras.Variable) -> dict[str, keras.Variable]:
    """The raw variables that make up the weight, by their names; the weight's own comes first.

    Args:
        layer: The layer that holds `variable` itself, not in a sublayer.
        name: The weight's own name in that layer.
        variable: The weight's variable.

    Returns:
        `{"kernel": …}` for a plain weight, with `"kernel_scale"` and the like for a quantized one
        and `"lora_kernel_a"`, `"lora_kernel_b"` for one with LoRA.
    """
    if (standing := substitutes(layer).get(name)) is not None:
        return {part.name: part for part in (*ultimate(standing), *_lora(layer, standing.name))}
    known = _quantized.is_known(layer, variable)
    held = [variable]
    if known or _quantized.has_unknown_codes(layer, variable):
        held = list(_quantized.parts(layer, variable).values())
    if not known or _quantized.adds_lora(layer):
        held += _lora(layer, variable.name if known else name)
    return {part.name: part for part in held}


def _lora(layer: keras.Layer, weight: str) -> tuple[keras.Variable, ...]:
    """The two LoRA factors of the weight, or nothing."""
    if not getattr(layer, "lora_enabled", False):
        return ()
    factors = [getattr(layer, f"lora_{weight}_{factor}", None) for factor in "ab"]
    return tuple(factor for factor in factors if isinstance(factor, keras.Variable))


def _with_lora(layer: keras.Layer, weight: str, value: Any) -> Any:
    """`W + alpha / rank · A @ B` in the dtype of W; Keras's property rounds to compute dtype."""
    factors = _lora(layer, weight)
    if not factors:
        return value
    a, b = factors
    delta = (layer.lora_alpha / layer.lora_rank) * ops.matmul(read(a), read(b))
    return ops.cast(ops.add(value, delta), value.dtype)


def _declared(layer: keras.Layer, name: str) -> Any:
    """What a property of the layer's class makes of the weight, if it makes a tensor of it.

    An instance attribute is not asked: it may have been set once and be stale. Nor is a class of
    Keras's own: what their properties do is known, and undone above.
    """
    if type(layer).__module__.partition(".")[0] == "keras":
        return None
    for kind in type(layer).__mro__:
        if kind in (keras.Model, keras.Layer):
            return None
        if name in vars(kind):
            value = getattr(layer, name) if isinstance(vars(kind)[name], property) else None
            value = read(value) if isinstance(value, keras.Variable) else value
            return value if ops.is_tensor(value) else None
    return None


def _declared_float(layer: keras.Layer, name: str) -> Any:
    value = _declared(layer, name)
    if value is None or not keras.backend.is_float_dtype(value.dtype):
        raise _quantized.unknown_mode(layer, name)
    return value
