"""What each axis of a stored weight is to its layer, by the name of the layer's class."""

from __future__ import annotations

import re

from steelyard.checkpoints import _einsum
from steelyard.checkpoints._keras_config import Made

# The projections inside Keras's attention layers; their equations are not in the config.
_OF_ATTENTION = {"query": "ioo", "key": "ioo", "value": "ioo", "attention_output": "iio"}


def axes_of(layer: Made, name: str, rank: int, part: str = "") -> str:
    """A letter for each axis, as `WeightSpec.axes` says; empty where nobody knows.

    Args:
        layer: What is known of the layer.
        name: Its own name for the weight.
        rank: The number of the weight's axes.
        part: What the layer is called in the one that holds it.
    """
    if rank < 2:
        return ""
    positions, kind = "k" * (rank - 2), layer.kind if layer.own else ""
    if kind == "EinsumDense":
        found = _einsum.axes((layer.config or {}).get("equation")) if name == "kernel" else ""
        if not found and layer.config is None and name == "kernel":
            found = _OF_ATTENTION.get(part, "")
        return found if len(found) == rank else ""
    if name == "reverse_embeddings":
        return "oi"
    if name == "kernel" and re.fullmatch(r"Conv[123]DTranspose", kind):
        return positions + "oi"
    depthwise = name == "kernel" and re.fullmatch(r"DepthwiseConv[12]D", kind)
    if depthwise or (name == "depthwise_kernel" and re.fullmatch(r"SeparableConv[12]D", kind)):
        return positions + "bo"
    if re.fullmatch(r"(Separable)?Conv[123]D", kind) and name.endswith("kernel"):
        return positions + "io"
    return "io" if rank == 2 else ""
