"""`WeightNorm`: length and direction of each unit, apart."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from steelyard.parametrizations._matrix import as_dtype_of, inner_axes, widened
from steelyard.parametrizations._unit_torch import with_lengths
from steelyard.parametrizations.parametrization import Parametrization


@keras.saving.register_keras_serializable(package="steelyard")
class WeightNorm(Parametrization):
    """`g · v / ‖v‖`: each unit's length `g` is trained apart from its direction `v`.

    Salimans and Kingma 2016, "Weight Normalization". A unit of zeros gets an arbitrary direction
    and length 0, so that it can be trained; a direction that became zero gives zeros.

    Args:
        axis: The axis or axes that count the output units, by default the last; each index gets
            its own length. None: one length for the whole weight.
    """

    names = ("v", "g")

    def __init__(self, axis: int | tuple[int, ...] | None = -1) -> None:
        self.axis = axis

    def forward(self, v: Any, g: Any) -> Any:
        """Shapes: v as the weight, g that of `axis` -> as the weight."""
        inner = inner_axes("WeightNorm", self.axis, v.shape)
        length = ops.reshape(widened(g), [1 if i in inner else n for i, n in enumerate(v.shape)])
        wide = widened(v)
        if keras.backend.backend() == "torch":
            return as_dtype_of(with_lengths(wide, length, inner), v)
        inverse, norm = _scaled_norm(wide, inner)
        return as_dtype_of(wide * (length * inverse / norm), v)

    def right_inverse(self, value: Any) -> tuple[Any, Any]:
        """The direction, as long as the weight is, and the length."""
        inner = inner_axes("WeightNorm", self.axis, value.shape)
        inverse, norm = _scaled_norm(widened(value), inner)
        length = ops.where(ops.any(value != 0, axis=inner, keepdims=True), norm / inverse, 0.0)
        v = ops.where(length > 0, value, ops.ones_like(value))
        return v, as_dtype_of(ops.squeeze(length, inner), value)

    def check(self, shape: tuple[int, ...]) -> None:
        """Refuses a shape without `axis`."""
        inner_axes("WeightNorm", self.axis, shape)


def _scaled_norm(v: Any, inner: tuple[int, ...]) -> tuple[Any, Any]:
    """What brings each unit to size 1, and its norm then; 1 for zeros, whose gradient is 0."""
    # Squares of 1e-20 or 1e20 do not exist in float32.
    largest = ops.max(ops.abs(ops.stop_gradient(v)), axis=inner, keepdims=True)
    inverse = 1.0 / ops.where(largest > 0, largest, ops.ones_like(largest))
    squares = ops.sum(ops.square(v * inverse), axis=inner, keepdims=True)
    return inverse, ops.sqrt(ops.where(largest > 0, squares, ops.ones_like(squares)))
