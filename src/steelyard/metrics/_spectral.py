"""Numbers from the singular values of a weight, seen as a matrix."""

from __future__ import annotations

from typing import Any

import numpy as np

from steelyard.errors import ShapeMismatchError
from steelyard.metrics._values import l2_norm


def spectral_norm(array: Any, xp: Any = np) -> Any:
    """The largest singular value, in [0, inf).

    Args:
        array: (..., columns); all axes but the last are the rows of one matrix.
        xp: the namespace that computes.

    Raises:
        ShapeMismatchError: the array has fewer than two axes.
    """
    return _singular_values(array, xp)[0]


def stable_rank(array: Any, xp: Any = np) -> Any:
    """The squared Frobenius norm over the squared spectral norm, in [1, min(rows, columns)].

    Rudelson and Vershynin 2007, "Sampling from large matrices". Not a number for a zero matrix.

    Args:
        array: (..., columns); all axes but the last are the rows of one matrix.
        xp: the namespace that computes.

    Raises:
        ShapeMismatchError: the array has fewer than two axes.
    """
    return xp.square(l2_norm(array, xp) / spectral_norm(array, xp))


def _singular_values(array: Any, xp: Any) -> Any:
    if len(array.shape) < 2:
        raise ShapeMismatchError(
            f"A spectral number needs a weight with two axes or more. Received shape "
            f"{tuple(array.shape)}."
        )
    matrix = xp.reshape(array, (-1, array.shape[-1]))
    svd = np.linalg.svd if xp is np else xp.linalg.svd
    return svd(matrix, compute_uv=False)
