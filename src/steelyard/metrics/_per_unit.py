"""Numbers about the output units of a weight, and the norms that are maxima over units."""

from __future__ import annotations

from typing import Any

import numpy as np

from steelyard.metrics._catalog import metric
from steelyard.metrics._matrix import Matrices
from steelyard.metrics._units import Units


@metric("health", unit="units", range="[0, units]")
def dead_units(units: Units) -> Any:
    """How many output units have no weight but 0, so that no input reaches them."""
    return int(np.count_nonzero(units.norms == 0))


@metric("health", unit="units", range="[0, units)")
def duplicate_units(units: Units) -> Any:
    """How many output units repeat an earlier one, entry by entry; dead ones are not counted."""
    rows = units.rows[np.ravel(units.norms) != 0] + 0.0  # -0 becomes 0
    if not len(rows):
        return 0
    whole = rows.view(np.dtype((np.void, rows.dtype.itemsize * rows.shape[1])))
    return len(rows) - len(np.unique(whole))


@metric("norms", unit="w", range="[0, inf)", in_graph=True)
def max_unit_norm(units: Units) -> Any:
    """The largest Euclidean norm of an output unit's weights."""
    return units.xp.max(units.norms)


@metric("norms", unit="w", range="[0, inf)", in_graph=True)
def min_unit_norm(units: Units) -> Any:
    """The smallest Euclidean norm of an output unit's weights."""
    return units.xp.min(units.norms)


@metric("norms", unit="w", range="[0, inf)", in_graph=True)
def mean_unit_norm(units: Units) -> Any:
    """The mean Euclidean norm of the output units' weights."""
    return units.xp.mean(units.norms)


@metric("norms", unit="w", range="[0, inf)", source="Golub and Van Loan 2013, 2.3", in_graph=True)
def operator_norm_1(matrices: Matrices) -> Any:
    """The largest sum of absolute weights of an output unit: its bound for inputs in [-1, 1]."""
    return _largest_sum(matrices, "column_absolute", 1)


@metric("norms", unit="w", range="[0, inf)", source="Golub and Van Loan 2013, 2.3", in_graph=True)
def operator_norm_inf(matrices: Matrices) -> Any:
    """The largest sum of absolute weights that leave an input."""
    return _largest_sum(matrices, "row_absolute", 2)


def _largest_sum(matrices: Matrices, name: str, axis: int) -> Any:
    xp = matrices.xp
    if xp is np:
        return float(max(np.max(sums[name]) for sums in matrices.sums))
    return xp.max(xp.sum(xp.absolute(matrices.blocks), axis=axis))
