"""The output units of a weight: what each of them takes in."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any

import numpy as np

from steelyard.metrics._matrix import Matrices, matrices
from steelyard.metrics._values import safe_l2

_ENTRIES = 1 << 16  # 256 KiB of float32
_MOST = 256  # rows, whose sum in float32 has lost next to nothing


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
        return np.stack([_norms(block) for block in blocks])

    @cached_property
    def rows(self) -> np.ndarray:
        """(units, inputs): the weights of each unit, next to each other in memory."""
        return np.concatenate([np.ascontiguousarray(b.T) for b in self.matrices.blocks])


def _norms(block: np.ndarray) -> np.ndarray:
    """The norm of each column."""
    squares = column_sums(np.square, block)
    # In float32 a square may have been too small or too large; in float64 hardly ever.
    least = np.finfo(_kind(block)).tiny / np.finfo(_kind(block)).eps * len(block)
    if np.all(np.isfinite(squares)) and not np.any(squares < least):
        return np.sqrt(squares)
    squares = np.einsum("ij,ij->j", block, block, dtype="float64")
    if np.all(np.isfinite(squares)) and not np.any((squares < 1e-290) & (squares > 0)):
        return np.sqrt(squares)
    return np.asarray(safe_l2(block.astype("float64"), np, axis=0))


def column_sums(of: np.ufunc, block: np.ndarray) -> np.ndarray:
    """The sum of each column of a function of the entries, in float64: of some rows by BLAS."""
    sums = np.zeros(block.shape[1])
    ones = np.ones(_MOST, _kind(block))
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        for part in _parts(of, block):
            sums += ones[: len(part)] @ part
    return sums


def row_sums(of: np.ufunc, block: np.ndarray) -> np.ndarray:
    """The sum of each row of a function of the entries."""
    parts = _parts(of, block)
    return np.concatenate([np.add.reduce(part, axis=1).astype("float64") for part in parts])


def _parts(of: np.ufunc, block: np.ndarray) -> Iterator[np.ndarray]:
    """A function of some rows at a time, few enough to stay in the cache."""
    step = min(_MOST, max(1, _ENTRIES // max(1, block.shape[1])))
    work = np.empty((min(step, len(block)), block.shape[1]), _kind(block))
    for start in range(0, len(block), step):
        rows = block[start : start + step]
        yield of(rows, out=work[: len(rows)], dtype=work.dtype)


def _kind(block: np.ndarray) -> np.dtype:
    return block.dtype if block.dtype == np.float32 else np.dtype("float64")


def units_of(array: Any, xp: Any = np, **told: Any) -> Units:
    """The units of a weight, prepared for the metrics that need them."""
    if isinstance(array, Matrices):
        return Units(array)
    return Units(matrices(array, xp, **told))
