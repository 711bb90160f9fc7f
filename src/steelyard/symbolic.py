"""What works on values and, in the same words, in a functional graph."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras

from steelyard.errors import SourceError, UnknownAddressError
from steelyard.layers import CalledWith, WeightValue
from steelyard.live import call_with


def call(layer: keras.Layer, /, *inputs: Any, weights: Mapping[str, Any], **kwargs: Any) -> Any:
    """Runs a layer with other values for some of its weights; nothing is assigned.

    The weights that are not named keep their own values. All else is as in `layer(*inputs)`:
    masks, batch statistics, seeds and losses, mixed precision, and what is differentiable. Weight
    regularizers go on penalizing what the layer stores.

    Works on values, inside the `call` of a layer or model, in compiled and transformed functions,
    and on symbolic tensors: there the layer becomes a part of the functional model, with which its
    other weights are trained and saved. One value stands for the whole batch; for a weight per
    sample, map over the samples with `keras.ops.vectorized_map`.

    Args:
        layer: A layer or model. If it is not built, it is built by the shapes of the inputs.
        *inputs: What the layer is called with.
        weights: The values, by the addresses of the weights as `sy.weights(layer)` lists them
            (`"kernel"`, `"cell/kernel"`, `"encoder/proj/kernel"`), or by the ends of these where
            only one weight has that. Tensors or arrays of the weights' shapes, cast to their
            dtypes as if assigned. A value is what the layer computes with: under LoRA, nothing is
            added to it. An empty dictionary makes a plain call.
        **kwargs: What else the layer is called with, such as `training` or `mask`.

    Returns:
        The output of the layer, differentiable with respect to the values, to any order.

    Raises:
        UnknownAddressError: If the layer has no weight of that name; says the nearest.
        AmbiguousAddressError: If several weights are named so, or one is named twice.
        ShapeMismatchError: If a value has another shape than its weight; says both.
        QuantizationError: If a weight is stored as codes.
        SourceError: If `layer` is no Keras layer.

    Example:
        >>> import keras, numpy as np, steelyard as sy
        >>> layer = keras.layers.Dense(2, use_bias=False)
        >>> float(sy.call(layer, np.ones((1, 3)), weights={"kernel": np.ones((3, 2))})[0, 0])
        3.0
    """
    if not isinstance(layer, keras.Layer):
        raise SourceError(
            "`sy.call` calls a Keras layer or model with other weights. Received: "
            f"{layer!r} (of type {type(layer).__name__})"
        )
    if not isinstance(weights, Mapping):
        raise UnknownAddressError(
            f"`weights` is a dictionary from names to values, such as {{'kernel': tensor}}. "
            f"Received: {weights!r} (of type {type(weights).__name__})"
        )
    leaves = keras.tree.flatten([list(inputs), dict(weights), kwargs])
    if weights and any(isinstance(leaf, keras.KerasTensor) for leaf in leaves):
        return CalledWith.on_symbols(layer, inputs, weights, kwargs)
    return call_with(layer, inputs, weights, kwargs)


def value(
    layer: Any,
    weight: str = "kernel",
    *,
    on: keras.KerasTensor | None = None,
    dtype: str | None = None,
    stop_gradient: bool = False,
    name: str | None = None,
) -> keras.KerasTensor:
    """A layer's weight as a symbolic tensor of a functional graph, to use with any `keras.ops`.

    It is the effective value (LoRA merged, codes dequantized), live in the model, in its clone and
    in the loaded model. Training goes through it to the layer; nothing is owned or saved twice.

    Args:
        layer: the layer, or its symbolic output, or a reference to its weight; with `on`, all that
            `sy.ref` takes.
        weight: the name of the weight in the layer, as in `sy.ref`; a reference has its own.
        on: any tensor of the graph in which the weight is wanted. Without it, the graph in which
            the layer was called; it must be said of a layer that stands in several, such as one of
            a model that was itself called in another.
        dtype: None for the weight's own dtype, whatever the precision policy; `"compute"` for the
            dtype that its layer computes in; or the name of a dtype.
        stop_gradient: let no gradient flow back to the layer.
        name: the name of the step in the graph.

    Returns:
        A symbolic tensor of the weight's shape. It has no batch axis: as an output of a model it
        would be repeated for each batch, so combine it with what has one.

    Raises:
        TargetError: the layer was called in no graph, or in several.
        UnbuiltOwnerError: the layer is not built, so that no shape is known.

    Example:
        >>> import keras, steelyard as sy
        >>> inputs = keras.Input((4,))
        >>> encoder = keras.layers.Dense(3, use_bias=False)
        >>> code = encoder(inputs)
        >>> kernel = sy.value(encoder, "kernel")
        >>> kernel.shape
        (4, 3)
        >>> keras.Model(inputs, keras.ops.matmul(code, keras.ops.transpose(kernel))).count_params()
        12
    """
    return WeightValue.on_symbol(layer, weight, on, dtype, stop_gradient, name)
