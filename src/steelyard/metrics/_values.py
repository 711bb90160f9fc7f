"""Norms and statistics of the entries of a weight.

Each function takes an array of any shape and gives a scalar. `xp` is the namespace that computes:
NumPy, or `keras.ops` for tensors inside a graph. There is one definition for both, so that a number
has one meaning.
"""

from __future__ import annotations

from typing import Any

import numpy as np


def l2_norm(array: Any, xp: Any = np) -> Any:
    """The Euclidean norm of all entries (of a matrix: the Frobenius norm), in [0, inf).

    Scaled by the largest entry, so that it neither overflows nor underflows before the result
    does (as LAPACK's `lange` and BLAS's `nrm2`). Its gradient is `array / norm`, and 0 at 0, where
    the norm has no derivative.
    """
    largest = (
        xp.stop_gradient(max_abs(array, xp)) if hasattr(xp, "stop_gradient") else max_abs(array, xp)
    )
    scale = xp.where(xp.logical_and(xp.isfinite(largest), largest > 0), largest, 1.0)
    total = xp.sum(xp.square(array / scale))
    # The inner `where` keeps the infinite slope of the root at 0 out of the gradient.
    root = xp.sqrt(xp.where(total == 0, 1.0, total))
    return scale * xp.where(total == 0, 0.0, root)


def l1_norm(array: Any, xp: Any = np) -> Any:
    """The sum of the absolute values of all entries, in [0, inf)."""
    return xp.sum(xp.absolute(array))


def max_abs(array: Any, xp: Any = np) -> Any:
    """The largest absolute value of an entry, in [0, inf)."""
    return xp.max(xp.absolute(array))


def mean(array: Any, xp: Any = np) -> Any:
    """The arithmetic mean of all entries."""
    return xp.mean(array)


def std(array: Any, xp: Any = np) -> Any:
    """The population standard deviation of all entries (divided by their number), in [0, inf)."""
    centered = array - xp.mean(array)
    return l2_norm(centered, xp) / float(np.sqrt(np.prod(array.shape)))


def min(array: Any, xp: Any = np) -> Any:
    """The smallest entry."""
    return xp.min(array)


def max(array: Any, xp: Any = np) -> Any:
    """The largest entry."""
    return xp.max(array)


def zero_fraction(array: Any, xp: Any = np) -> Any:
    """The share of entries that are exactly 0, in [0, 1]."""
    return _count(array == 0, xp) / float(np.prod(array.shape))


def nan_count(array: Any, xp: Any = np) -> Any:
    """The number of entries that are not a number."""
    return _count(xp.isnan(array), xp)


def inf_count(array: Any, xp: Any = np) -> Any:
    """The number of entries that are infinite, of either sign."""
    return _count(xp.isinf(array), xp)


def _count(where: Any, xp: Any) -> Any:
    if xp is np:
        return np.count_nonzero(where)
    return xp.sum(xp.cast(where, "float32"))
