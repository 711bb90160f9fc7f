"""`Standardize`: zero mean and unit variance for each unit."""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

from steelyard.errors import ParametrizationError, ShapeMismatchError
from steelyard.parametrizations._matrix import as_dtype_of, inner_axes, widened
from steelyard.parametrizations.parametrization import Parametrization


@keras.saving.register_keras_serializable(package="steelyard")
class Standardize(Parametrization):
    """`(w - mean) / sqrt(variance + epsilon)`, over each output unit.

    Qiao et al. 2019, "Micro-Batch Training with Batch-Channel Normalization and Weight
    Standardization". The variance is that of the entries themselves (divided by their number).

    Args:
        axis: The axis or axes that count the output units, by default the last. None: the whole
            weight is one unit.
        epsilon: What is added to the variance, > 0; a kernel with small entries needs a small one.
    """

    def __init__(self, axis: int | tuple[int, ...] | None = -1, epsilon: float = 1e-10) -> None:
        if not epsilon > 0:
            raise ParametrizationError(
                f"Standardize needs an `epsilon` above 0. Received: epsilon={epsilon!r}."
            )
        self.axis = axis
        self.epsilon = epsilon

    def forward(self, value: Any) -> Any:
        """Shapes: as the weight -> as the weight."""
        inner = inner_axes("Standardize", self.axis, value.shape)
        wide = widened(value)
        centered = wide - ops.mean(wide, axis=inner, keepdims=True)
        variance = ops.mean(ops.square(centered), axis=inner, keepdims=True)
        return as_dtype_of(centered * ops.rsqrt(variance + self.epsilon), value)

    def right_inverse(self, value: Any) -> Any:
        """The weight itself: what is standardized stays as it is."""
        return value

    def check(self, shape: tuple[int, ...]) -> None:
        """Refuses units of a single entry, which would all become 0."""
        inner = inner_axes("Standardize", self.axis, shape)
        if math.prod(shape[i] for i in inner) < 2:
            raise ShapeMismatchError(
                f"Standardize with axis={self.axis!r} would make zeros of a weight of shape "
                f"{tuple(shape)}: each unit has a single entry. Choose another axis."
            )
