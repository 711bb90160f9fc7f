"""What the equation of an EinsumDense says of its kernel: size and meaning of each axis."""

from __future__ import annotations

import math
from typing import Any

import numpy as np


def labels(equation: str) -> tuple[str, str, str]:
    """The letters of the inputs, the kernel and the output; an ellipsis is none."""
    operands, output = equation.replace(" ", "").replace("...", "").split("->")
    inputs, kernel = operands.split(",")
    return inputs, kernel, output


def kernel_shape(config: dict[str, Any], build: dict[str, Any]) -> tuple[int, ...] | None:
    """The shape of the kernel as the layer computes with it; None where nothing says."""
    try:
        inputs, kernel, output = labels(config["equation"])
        wanted = config["output_shape"]
        wanted = [wanted] if isinstance(wanted, int) else list(wanted)
        size = dict(zip(reversed(inputs), reversed(build["input_shape"]), strict=False))
        said = zip(reversed(output), reversed(wanted), strict=False)
        size |= {letter: n for letter, n in said if n is not None}
        shape = tuple(size[letter] for letter in kernel)
    except (KeyError, TypeError, ValueError, AttributeError):
        return None
    return shape if all(isinstance(n, int) and n >= 0 for n in shape) else None


def aligned(equation: str, scale: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Brings a scale whose axes lie as in the layer's output to the axes of the kernel."""
    _, kernel, output = labels(equation)
    size = dict(zip(kernel, shape, strict=True))
    kept = [letter for letter in output if letter in size]
    if math.prod(size[letter] for letter in kept) != scale.size:
        raise ValueError("the scale does not fit the kernel")
    order = [kept.index(letter) for letter in kernel if letter in kept]
    scale = scale.reshape([size[letter] for letter in kept]).transpose(order)
    return scale.reshape([size[letter] if letter in kept else 1 for letter in kernel])


def packed_axis(equation: str) -> int:
    """The axis along which Keras 3.13 packs two codes into a byte: the first summed over."""
    _, kernel, output = labels(equation)
    return next(axis for axis, letter in enumerate(kernel) if letter not in output)


def axes(equation: Any) -> str:
    """A letter for each axis of the kernel, as `WeightSpec.axes` says; empty where nobody knows."""
    try:
        inputs, kernel, output = labels(equation)
    except (ValueError, AttributeError):
        return ""
    return "".join(
        "i" if letter not in output else "b" if letter in inputs else "o" for letter in kernel
    )
