"""What each axis of a weight is to its layer: which are inputs, which are outputs."""

from __future__ import annotations

from keras import layers

_TRANSPOSED = (layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose)
_CONVOLUTIONS = (layers.Conv1D, layers.Conv2D, layers.Conv3D)
_DEPTHWISE = (layers.DepthwiseConv1D, layers.DepthwiseConv2D)
_SEPARABLE = (layers.SeparableConv1D, layers.SeparableConv2D)


def axes_of(layer: layers.Layer, name: str, rank: int) -> str:
    """A letter for each axis of a weight, as `WeightSpec.axes` says; empty where nobody knows.

    Args:
        layer: The layer that holds the weight.
        name: The layer's own name for it.
        rank: The number of its axes.
    """
    if rank < 2:
        return ""
    positions = "k" * (rank - 2)
    if isinstance(layer, layers.EinsumDense):
        return _of_equation(layer.equation) if name == "kernel" else ""
    if name == "reverse_embeddings":
        return "oi"
    if name == "kernel" and isinstance(layer, _TRANSPOSED):
        return positions + "oi"
    if (name == "kernel" and isinstance(layer, _DEPTHWISE)) or (
        name == "depthwise_kernel" and isinstance(layer, _SEPARABLE)
    ):
        return positions + "bo"
    if isinstance(layer, (*_CONVOLUTIONS, *_SEPARABLE)) and name.endswith("kernel"):
        return positions + "io"
    return "io" if rank == 2 else ""


def _of_equation(equation: str) -> str:
    """Of `"abc,cde->abde"`: an axis that the output lacks is summed over, so an input."""
    left, outputs = equation.replace(" ", "").split("->")
    inputs, kernel = left.split(",")
    return "".join(
        "i" if letter not in outputs else "b" if letter in inputs else "o" for letter in kernel
    )
