"""`LowRank`: a product of two thin matrices."""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

from steelyard.errors import ParametrizationError, ShapeMismatchError
from steelyard.parametrizations._matrix import as_dtype_of, as_matrix, check_matrix, widened
from steelyard.parametrizations.parametrization import Parametrization


@keras.saving.register_keras_serializable(package="steelyard")
class LowRank(Parametrization):
    """`a @ b`, a weight of at most the given rank.

    A weight of more than two axes is a matrix whose columns are its last axis. It starts as the
    nearest weight of that rank, by a truncated singular value decomposition (Eckart and Young
    1936), split so that `a` and `b` weigh the same.

    Args:
        rank: The number of columns of `a` and rows of `b`, at most the smaller side of the matrix.
    """

    names = ("a", "b")

    def __init__(self, rank: int) -> None:
        if isinstance(rank, bool) or not isinstance(rank, int) or rank < 1:
            raise ParametrizationError(
                f"LowRank needs a whole number above 0. Received: rank={rank!r}."
            )
        self.rank = rank

    def forward(self, a: Any, b: Any) -> Any:
        """Shapes: (..., rank), (rank, columns) -> (..., columns)."""
        return as_dtype_of(ops.matmul(a, b), a)

    def right_inverse(self, value: Any) -> tuple[Any, Any]:
        """Shapes: (..., columns) -> (..., rank), (rank, columns)."""
        left, sizes, right = ops.svd(as_matrix(widened(value)), full_matrices=False)
        roots = ops.sqrt(ops.expand_dims(sizes, 0)[:, : self.rank])
        # Where both factors are 0, neither has a gradient: a zero kernel would never move.
        a = left[:, : self.rank] * ops.where(roots > 0, roots, ops.ones_like(roots))
        b = ops.transpose(roots) * right[: self.rank, :]
        a = ops.reshape(a, (*value.shape[:-1], self.rank))
        return as_dtype_of(a, value), as_dtype_of(b, value)

    def check(self, shape: tuple[int, ...]) -> None:
        """Refuses a vector, and a matrix that has no such rank."""
        check_matrix("LowRank", shape)
        rows, columns = math.prod(shape[:-1]), shape[-1]
        if self.rank > min(rows, columns):
            raise ShapeMismatchError(
                f"LowRank(rank={self.rank}) does not fit a weight of shape {tuple(shape)}: as a "
                f"matrix of {rows} rows and {columns} columns its rank is at most "
                f"{min(rows, columns)}. Choose a smaller rank."
            )
