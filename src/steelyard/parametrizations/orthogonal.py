"""`Orthogonal`: orthonormal columns or rows."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from steelyard.parametrizations._matrix import as_dtype_of, as_matrix, check_matrix, widened
from steelyard.parametrizations.parametrization import Parametrization


@keras.saving.register_keras_serializable(package="steelyard")
class Orthogonal(Parametrization):
    """A weight with orthonormal columns, or with orthonormal rows if it has fewer rows.

    A weight of more than two axes is a matrix whose columns are its last axis. What is used is
    the factor Q of a QR decomposition of what is stored, with signs such that the diagonal of R is
    positive: then Q is unique, depends smoothly on a stored matrix of full rank, and an orthogonal
    matrix gives itself, whatever its determinant (Golub and Van Loan, "Matrix Computations", 5.2).
    By Householder reflections Q is orthonormal to rounding however badly conditioned the stored
    matrix is. It starts as the nearest orthogonal matrix, the polar factor (Higham 1986,
    "Computing the Polar Decomposition").
    """

    def forward(self, value: Any) -> Any:
        """Shapes: (..., columns) -> (..., columns)."""
        matrix = as_matrix(widened(value))
        is_wide = matrix.shape[0] < matrix.shape[1]
        q, r = ops.qr(ops.transpose(matrix) if is_wide else matrix)
        diagonal = ops.stop_gradient(ops.diagonal(r))
        q = q * ops.where(diagonal < 0, -ops.ones_like(diagonal), ops.ones_like(diagonal))
        return as_dtype_of(ops.reshape(ops.transpose(q) if is_wide else q, value.shape), value)

    def right_inverse(self, value: Any) -> Any:
        """The polar factor: the nearest orthogonal weight, which is its own original."""
        left, _, right = ops.svd(as_matrix(widened(value)), full_matrices=False)
        return as_dtype_of(ops.reshape(ops.matmul(left, right), value.shape), value)

    def check(self, shape: tuple[int, ...]) -> None:
        """Refuses a vector."""
        check_matrix("Orthogonal", shape)
