"""The output units of a weight: what each of them takes in."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np

from steelyard.metrics._matrix import Matrices, matrices
from steelyard.metrics._sums import Sums
from steelyard.metrics._values import safe_l2


class Units:
    """The columns of the matrices of a weight; one unit each.

    Args:
        matrices: The weight as matrices.
    """

    def __init__(self, matrices: Matrices) -> None:
        self.matrices = matrices
        self.xp = matrices.xp

    @cached_property
    def norms(self) -> Any:
        """The Euclidean norm of each unit's weights, (blocks, units)."""
        blocks = self.matrices.blocks
        if self.xp is not np:
            return safe_l2(blocks, self.xp, axis=1)
        return np.stack([_norms(*both) for both in zip(blocks, self.matrices.sums, strict=True)])

    @cached_property
    def rows(self) -> np.ndarray:
        """(units, inputs): the weights of each unit, next to each other in memory."""
        return np.concatenate([np.ascontiguousarray(b.T) for b in self.matrices.blocks])


def _norms(block: np.ndarray, sums: Sums) -> np.ndarray:
    """The norm of each column."""
    squares: np.ndarray = sums["column_squares"]
    # In float32 a square may have been too small or too large; in float64 hardly ever.
    info = np.finfo("float32" if block.dtype == np.float32 else "float64")
    if np.all(np.isfinite(squares)) and not np.any(squares < info.tiny / info.eps * len(block)):
        return np.sqrt(squares)
    squares = np.einsum("ij,ij->j", block, block, dtype="float64")
    if np.all(np.isfinite(squares)) and not np.any((squares < 1e-290) & (squares > 0)):
        return np.sqrt(squares)
    return np.asarray(safe_l2(block.astype("float64"), np, axis=0))


def units_of(array: Any, xp: Any = np, **told: Any) -> Units:
    """The units of a weight, prepared for the metrics that need them."""
    if isinstance(array, Matrices):
        return Units(array)
    return Units(matrices(array, xp, **told))
