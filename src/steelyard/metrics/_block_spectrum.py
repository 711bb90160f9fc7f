"""Singular values of a matrix that comes in blocks of rows, and is never in memory as a whole."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from steelyard.metrics._answer import TooLarge
from steelyard.metrics._lanczos import largest_by_gram
from steelyard.metrics._matrix import Matrices
from steelyard.metrics._spectrum import RESOLVED, Spectrum, factor

Rows = Callable[[], Iterable[np.ndarray]]
# A pass costs as much as reading the weight, so that the last digits would be dear.
TOLERANCE = 1e-4


@dataclass(frozen=True)
class Outline:
    """Stands where the matrices of a weight would be, and knows their shape alone."""

    shape: tuple[int, int, int]


class Gram:
    """The Gram matrix of the columns, summed up over blocks of rows in float64.

    Args:
        columns: How many there are.
        scale: What the entries are divided by.
    """

    def __init__(self, columns: int, scale: float = 1.0) -> None:
        self._sum = np.zeros((columns, columns))
        self._product: np.ndarray | None = np.empty((columns, columns))
        self._scale = scale

    def add(self, rows: np.ndarray) -> None:
        """Takes the next rows in."""
        wide = _wide(rows, self._scale)
        self._sum += np.matmul(wide.T, wide, out=self._product)  # BLAS's syrk

    def singular_values(self) -> np.ndarray:
        """All of them, largest first; only once."""
        self._product = None
        return _roots(self._sum) * self._scale


def of_wide(rows: Rows, high: int, scale: float) -> np.ndarray:
    """All singular values of a matrix with more columns than rows, largest first.

    Its Gram matrix on the short side has the products of each block with each other one: a pass
    over the weight for each block.
    """
    gram = np.zeros((high, high))
    first = 0
    for left in rows():
        wide = _wide(left, scale)
        second = 0
        for right in rows():
            if second >= first:
                part = _wide(right, scale) @ wide.T
                gram[second : second + len(right), first : first + len(left)] = part
            second += len(right)
        first += len(left)
    return _roots(gram) * scale


def _wide(rows: np.ndarray, scale: float) -> np.ndarray:
    wide = rows.astype("float64")
    if scale != 1.0:
        wide /= scale
    return wide


def _roots(gram: np.ndarray) -> np.ndarray:
    return np.sqrt(np.maximum(np.linalg.eigvalsh(gram), 0.0))[::-1]


class BlockSpectrum(Spectrum):
    """All singular values of such a weight.

    Args:
        matrices: An `Outline` instead of the weight, and what is known besides.
        values: The singular values, largest first.
    """

    def __init__(self, matrices: Matrices, values: np.ndarray) -> None:
        self.matrices = matrices
        self.xp: Any = np
        self.compat = matrices.compat
        self.values = values * factor(matrices)

    @cached_property
    def exact(self) -> np.ndarray:
        """All singular values, the small ones too, where the Gram matrix resolves these.

        Raises:
            TooLarge: It does not, and the weight would have to be decomposed in memory.
        """
        if self._is_resolved():
            return self.values
        raise TooLarge(
            f"singular values below {RESOLVED:g} of the largest take all of the weight in memory"
        )


class BlockLargest:
    """The largest singular value of such a weight, and the sum of the squares of all.

    Args:
        rows: Gives the blocks once more at each call.
        columns: How many each has.
        eps: The rounding unit.
        scale: The largest absolute entry.
        norm: The Frobenius norm.
    """

    xp: Any = np

    def __init__(self, rows: Rows, columns: int, eps: float, scale: float, norm: float) -> None:
        self._rows, self._columns, self._eps = rows, columns, eps
        self._scale = scale
        self.frobenius_squared = norm**2

    @cached_property
    def largest(self) -> tuple[float, float | None]:
        """The largest singular value and the bound of its error."""
        if self._scale == 0:
            return 0.0, None
        found = largest_by_gram(self._product, self._columns, tolerance=TOLERANCE)
        # Rounding of the products, as in `Largest`.
        rounding = 4 * self._eps * found.value
        return found.value * self._unit, (found.bound + rounding) * self._unit

    @property
    def _unit(self) -> float:
        """What the entries are divided by so that squares neither over- nor underflow."""
        return 1.0 if 1e-9 < self._scale < 1e9 else self._scale

    def _product(self, vector: np.ndarray) -> np.ndarray:
        total = np.zeros(self._columns)
        for rows in self._rows():
            part = rows if self._unit == 1.0 else _wide(rows, self._unit)
            total += (part @ vector.astype(part.dtype)) @ part
        return total
