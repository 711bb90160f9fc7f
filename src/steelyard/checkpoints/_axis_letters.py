"""What each axis of a stored weight is to its layer, by the name of the layer's class."""

from __future__ import annotations

import re

from steelyard.checkpoints import _einsum
from steelyard.checkpoints._keras_config import Made


def axes_of(layer: Made, name: str, rank: int) -> str:
    """A letter for each axis, as `WeightSpec.axes` says; empty where nobody knows.

    Args:
        layer: What is known of the layer.
        name: Its own name for the weight.
        rank: The number of the weight's axes.
    """
    if rank < 2:
        return ""
    positions, kind = "k" * (rank - 2), layer.kind if layer.own else ""
    if kind == "EinsumDense":
        said = layer.axes or _einsum.axes((layer.config or {}).get("equation"))
        found = said if name == "kernel" else ""
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
