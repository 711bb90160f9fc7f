"""What quantized layers compute with: a row for each class of layer, a function for each mode.

Keras scales codes back inside each layer's `call` and has no public way to ask for the result; its
properties (`Dense.kernel`) give the bare codes. The arithmetic is repeated here with `keras.ops`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
from keras import ops

from steelyard.errors import QuantizationError
from steelyard.live._keras import own_variables

Parts = dict[str, keras.Variable]


def is_known(layer: keras.Layer, variable: keras.Variable) -> bool:
    """Whether the variable is the quantized weight of a layer class that we know."""
    return _layout(layer, variable) is not None


def dequantized(layer: keras.Layer, variable: keras.Variable) -> Any:
    """The float value that the layer makes of the codes, without LoRA.

    Raises:
        QuantizationError: If the layer's mode is unknown for its class.
    """
    layout = _known_layout(layer, variable)
    return _MODES[layer.quantization_mode](layer, layout, parts(layer, variable))


def parts(layer: keras.Layer, variable: keras.Variable) -> Parts:
    """The variables that make up a quantized weight, by role ("own", "scale", "zero", …).

    Before their calibration, gptq and awq layers compute with the float weight that stands in.
    """
    layout = _layout(layer, variable)
    if layout is None or layer.quantization_mode not in ("gptq", "awq"):
        return _beside(layer, variable)
    if getattr(layer, f"is_{layer.quantization_mode}_calibrated"):
        return _beside(layer, layer.quantized_kernel)
    for held in own_variables(layer):
        if held.name == layout.weight and held is not layer.quantized_kernel:
            return {"own": held}
    raise QuantizationError(
        f"Layer {layer.name!r} ({type(layer).__name__}) was built for quantization mode "
        f"{layer.quantization_mode!r}, but is neither calibrated nor holds a float weight "
        f"{layout.weight!r}. Load its weights first, or call `quantize` with a calibration set."
    )


def adds_lora(layer: keras.Layer) -> bool:
    """Whether a layer in this mode adds LoRA to its codes; a calibrated one leaves it out."""
    return layer.quantization_mode in ("int8", "int4")


def has_unknown_codes(layer: keras.Layer, variable: keras.Variable) -> bool:
    """Whether a weight that we have no rule for looks like the codes of a quantized layer.

    These are whole numbers that fit a byte or have a scale beside them, zero points apart.
    """
    if getattr(layer, "quantization_mode", None) is None or is_known(layer, variable):
        return False
    if not keras.backend.is_int_dtype(variable.dtype) or variable.name.endswith(_HELPERS):
        return False
    small = variable.dtype in ("int4", "uint4", "int8", "uint8")
    return small or "scale" in _beside(layer, variable)


_HELPERS = ("_scale", "_zero", "zero_point", "g_idx")


def unknown_mode(layer: keras.Layer, name: str) -> QuantizationError:
    """The error that says what is unknown and what can be done."""
    known = "; ".join(f"{row.layer.__name__}: {', '.join(row.modes)}" for row in _LAYOUTS)
    return QuantizationError(
        f"Cannot tell what layer {layer.name!r} ({type(layer).__name__}) computes with for its "
        f"weight {name!r}: it is quantized in mode {layer.quantization_mode!r}, and the way back "
        f"is known only for {known}. Read the stored variables instead, or give the class a "
        f"property {name!r} that returns the float value."
    )


def read(variable: keras.Variable) -> Any:
    """The variable's current value as a tensor of the running backend."""
    value = variable.value
    # TensorFlow's is a `tf.Variable`: a later `assign` would change it in the reader's hands.
    return ops.copy(value) if keras.backend.backend() == "tensorflow" else value


# --- The classes ---------------------------------------------------------------------------------


class _Layout(NamedTuple):
    """How one class of layer keeps the codes of one of its weights.

    `shape` gives the shape of the codes once unpacked, `align` lays a scale per channel so that it
    broadcasts against them, `group_axis` is the axis of a scale per group that counts the groups.
    """

    layer: type
    weight: str
    modes: tuple[str, ...]
    shape: Callable[[Any, Any, Any], tuple[int, ...]]
    align: Callable[[Any, Any, tuple[int, ...]], Any]
    group_axis: int


def _layout(layer: keras.Layer, variable: keras.Variable) -> _Layout | None:
    mode = getattr(layer, "quantization_mode", None)
    if mode is None:
        return None
    if mode in ("int8", "int4") and not keras.backend.is_int_dtype(variable.dtype):
        return None
    for row in _LAYOUTS:
        if isinstance(layer, row.layer) and row.weight == variable.name:
            return row
    return None


def _known_layout(layer: keras.Layer, variable: keras.Variable) -> _Layout:
    layout = _layout(layer, variable)
    if layout is None or layer.quantization_mode not in layout.modes:
        raise unknown_mode(layer, variable.name)
    return layout


def _dense_shape(layer: keras.layers.Dense, codes: Any, scale: Any) -> tuple[int, ...]:
    return layer.input_spec.axes[-1], layer.units


def _along_last(layer: keras.Layer, scale: Any, shape: tuple[int, ...]) -> Any:
    return scale


def _along_first(layer: keras.Layer, scale: Any, shape: tuple[int, ...]) -> Any:
    return ops.expand_dims(scale, -1)


def _einsum_shape(layer: keras.layers.EinsumDense, codes: Any, scale: Any) -> tuple[int, ...]:
    if _is_flat(layer):
        return codes.shape[0], scale.shape[-1]
    # Keras 3.13 packs the kernel as it is, along the first of its axes that the einsum sums over
    # (and cannot quantize an equation with an ellipsis).
    inputs, kernel, output = _labels(layer)
    axis = next(axis for axis, label in enumerate(kernel) if label not in output)
    shape = list(codes.shape)
    shape[axis] = layer.get_build_config()["input_shape"][inputs.index(kernel[axis])]
    return tuple(shape)


def _einsum_align(layer: keras.layers.EinsumDense, scale: Any, shape: tuple[int, ...]) -> Any:
    """Bring a scale whose axes lie as in the layer's output to the axes of the kernel."""
    if _is_flat(layer):
        return scale
    _, kernel, output = _labels(layer)
    size = dict(zip(kernel, shape, strict=True))
    kept = [label for label in output if label in size]
    order = [kept.index(label) for label in kernel if label in kept]
    scale = ops.transpose(ops.reshape(scale, [size[label] for label in kept]), order)
    return ops.reshape(scale, [size[label] if label in kept else 1 for label in kernel])


def _is_flat(layer: keras.layers.EinsumDense) -> bool:
    """Whether the kernel is kept as a matrix, as int4 is since Keras 3.14."""
    return getattr(layer, "original_kernel_shape", None) is not None


def _labels(layer: keras.layers.EinsumDense) -> tuple[str, str, str]:
    operands, output = layer.equation.replace("...", "").split("->")
    inputs, kernel = operands.split(",")
    return inputs, kernel, output


def _table_shape(layer: keras.layers.Embedding, codes: Any, scale: Any) -> tuple[int, ...]:
    return layer.input_dim, layer.output_dim


def _reverse_shape(layer: keras.layers.Embedding, codes: Any, scale: Any) -> tuple[int, ...]:
    return layer.output_dim, layer.input_dim


_ALL = ("int8", "int4", "float8", "gptq", "awq")
_INT = ("int8", "int4")
_LAYOUTS = (
    _Layout(keras.layers.Dense, "kernel", _ALL, _dense_shape, _along_last, 0),
    _Layout(keras.layers.EinsumDense, "kernel", _ALL, _einsum_shape, _einsum_align, 0),
    _Layout(keras.layers.Embedding, "embeddings", _INT, _table_shape, _along_first, -1),
    _Layout(
        keras.layers.ReversibleEmbedding, "reverse_embeddings", _INT, _reverse_shape, _along_last, 0
    ),
)


# --- The modes -----------------------------------------------------------------------------------


def _int8(layer: keras.Layer, layout: _Layout, parts: Parts) -> Any:
    values = _read(parts)
    return _scale_channels(layer, layout, values["own"], values["scale"])


def _int4(layer: keras.Layer, layout: _Layout, parts: Parts) -> Any:
    values = _read(parts)
    codes = _unpack(values["own"], layout.shape(layer, values["own"], values["scale"]))
    if "zero" in values:
        value = _scale_groups(codes, values, layout.group_axis)
    else:
        value = _scale_channels(layer, layout, codes, values["scale"])
    return _in_kernel_shape(layer, value)


def _float8(layer: keras.Layer, layout: _Layout, parts: Parts) -> Any:
    if layer.lora_enabled:
        raise QuantizationError(
            f"Keras cannot compute layer {layer.name!r} ({type(layer).__name__}) in quantization "
            f"mode 'float8' with LoRA, so its weight {layout.weight!r} has no effective value. "
            "Merge or drop LoRA before quantizing, or read the stored variables."
        )
    kernel = read(parts["own"])
    # Keras overwrites the scale with its "gradient", which only the layer itself may give.
    scale = ops.stop_gradient(read(parts["scale"]))
    value = _through_float8(ops.cast(kernel, layer.compute_dtype), scale)
    return ops.cast(value, kernel.dtype)


def _calibrated(layer: keras.Layer, layout: _Layout, parts: Parts) -> Any:
    """The modes gptq and awq; the codes lie as `(columns, rows)` of the kernel as a matrix."""
    values = _read(parts)
    if "scale" not in values:
        return values["own"]
    codes, columns = values["own"], values["scale"].shape[0]
    if codes.shape[0] != columns:  # 4 bits: two codes in a byte
        codes = keras.quantizers.unpack_int4(codes, columns, axis=0, dtype="uint8")
    value = ops.transpose(_scale_groups(codes, values, axis=-1))
    if layer.quantization_mode == "awq":
        value = ops.divide(value, ops.expand_dims(values["awq"], -1))
    return _in_kernel_shape(layer, value)


_MODES = {
    "int8": _int8,
    "int4": _int4,
    "float8": _float8,
    "gptq": _calibrated,
    "awq": _calibrated,
}


def _unpack(codes: Any, shape: tuple[int, ...]) -> Any:
    """Split the bytes along the axis that is shorter than it should be: Keras versions differ."""
    short = [axis for axis, size in enumerate(shape) if codes.shape[axis] != size]
    # An axis of one code fills one byte, and is then packed without being shorter.
    axis = short[0] if short else shape.index(1)
    return keras.quantizers.unpack_int4(codes, shape[axis], axis=axis)


def _scale_channels(layer: keras.Layer, layout: _Layout, codes: Any, scale: Any) -> Any:
    scale = layout.align(layer, scale, tuple(codes.shape))
    return ops.divide(ops.cast(codes, scale.dtype), scale)


def _scale_groups(codes: Any, parts: dict[str, Any], axis: int) -> Any:
    """`(codes - zero) * scale`, with the scale and zero of the group that each code belongs to."""
    groups = ops.cast(parts["groups"], "int32")
    scale = ops.take(parts["scale"], groups, axis=axis)
    zero = ops.take(parts["zero"], groups, axis=axis)
    return (ops.cast(codes, scale.dtype) - ops.cast(zero, scale.dtype)) * scale


def _in_kernel_shape(layer: keras.Layer, value: Any) -> Any:
    shape = getattr(layer, "original_kernel_shape", None)
    return value if shape is None else ops.reshape(value, shape)


@ops.custom_gradient
def _through_float8(kernel: Any, scale: Any) -> Any:
    """Quantize and dequantize; the gradient passes as if it had not happened, as in the layer."""
    value = keras.quantizers.quantize_and_dequantize(kernel, scale, "float8_e4m3fn", kernel.dtype)

    def grad(*args: Any, upstream: Any = None) -> Any:
        (upstream,) = args if upstream is None else (upstream,)
        return upstream, ops.zeros_like(scale)

    return value, grad


# --- Parts ---------------------------------------------------------------------------------------


def _beside(layer: keras.Layer, variable: keras.Variable) -> Parts:
    """The variable and what Keras keeps beside it to scale it back."""
    names = {"scale": f"{variable.name}_scale", "zero": f"{variable.name}_zero", "groups": "g_idx"}
    if layer.quantization_mode == "awq":
        names["awq"] = "awq_scales"
    held = {role: getattr(layer, name, None) for role, name in names.items()}
    beside = {role: part for role, part in held.items() if isinstance(part, keras.Variable)}
    return {"own": variable, **beside}


def _read(parts: Parts) -> dict[str, Any]:
    """The values by role; what scales the codes comes in float32 at least."""
    values = {role: read(part) for role, part in parts.items()}
    for role in values.keys() & {"scale", "awq"}:
        # Not the variable's `dtype`: where nothing is autocast, Keras 3.15 makes float32 of it.
        dtype = keras.backend.standardize_dtype(values[role].dtype)
        values[role] = ops.cast(values[role], "float64" if dtype == "float64" else "float32")
    return values
