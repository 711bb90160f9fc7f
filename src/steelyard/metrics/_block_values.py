"""What is said of the entries and the units of a weight that comes in blocks: one pass for all."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from steelyard.metrics._matrix import Matrices
from steelyard.metrics._sums import Sums
from steelyard.metrics._units import Units
from steelyard.metrics._values import QUANTILES, Values

_TOGETHER = ("sum", "absolute", "squares", "min", "max", "largest", "zeros")


class BlockValues:
    """As `Values`: each block says it of itself, and what they say is put together.

    Args:
        dtype: The name of the dtype that the weight is stored in.
        moments: Whether the central moments are asked for.
        quantiles: Gives the entries below which shares of them lie, in passes of its own.
    """

    xp: Any = np

    def __init__(
        self, dtype: str, moments: bool, quantiles: Callable[[tuple[float, ...]], list[float]]
    ) -> None:
        self.stored_dtype = dtype
        self.size = self.nan = self.inf = self.zeros = 0
        self.min, self.max = np.inf, -np.inf
        self.l1 = self.l2 = self.mean = self.max_abs = 0.0
        self._with_moments = moments
        self._sums = (0.0, 0.0, 0.0)  # of the powers 2, 3 and 4 of the distances from the mean
        self._spread = 0.0  # in units of this
        self._find = quantiles
        self._quantiles: dict[float, float] = {}

    @property
    def nonfinite(self) -> int:
        """How many entries are NaN or infinite."""
        return self.nan + self.inf

    def add(self, block: np.ndarray) -> None:
        """Takes the next block in."""
        values = Values(block, self.stored_dtype, _TOGETHER)
        before, self.size = self.size, self.size + values.size
        self.nan += values.nan
        self.inf += values.inf
        self.zeros += values.zeros
        if self.nonfinite:
            return
        self.min, self.max = min(self.min, values.min), max(self.max, values.max)
        self.max_abs = max(self.max_abs, values.max_abs)
        self.l1 += values.l1
        self.l2 = math.hypot(self.l2, values.l2)
        step = values.mean - self.mean
        if self._with_moments:
            self._add_moments(values, before, step)
        self.mean += step * (values.size / self.size)

    def _add_moments(self, values: Values, before: int, step: float) -> None:
        """Sums of powers around one mean and another, around the mean of both (Pébay 2008)."""
        even = values.min == values.max
        spread = max(self._spread, 0.0 if even else values._spread, abs(step)) or 1.0
        a2, a3, a4 = (s * (self._spread / spread) ** k for k, s in enumerate(self._sums, 2))
        b2, b3, b4 = (
            0.0 if even else values.size * values.moment(k) * (values._spread / spread) ** k
            for k in (2, 3, 4)
        )
        # In shares of all, since their products would be as large as the third power of the size.
        n, p, q = float(self.size), before / self.size, values.size / self.size
        d = step / spread if before else 0.0
        self._sums = (
            a2 + b2 + n * d**2 * p * q,
            a3 + b3 + n * d**3 * p * q * (p - q) + 3 * d * (p * b2 - q * a2),
            a4
            + b4
            + n * d**4 * p * q * (p * p - p * q + q * q)
            + 6 * d**2 * (p * p * b2 + q * q * a2)
            + 4 * d * (p * b3 - q * a3),
        )
        self._spread = spread

    def moment(self, order: int) -> float:
        """A central moment (2, 3 or 4), in a unit of its own."""
        return self._sums[order - 2] / self.size

    @property
    def std(self) -> float:
        """The population standard deviation."""
        if self.min == self.max:
            return 0.0
        return math.sqrt(max(self.moment(2), 0.0)) * self._spread

    def quantile(self, share: float) -> float:
        """One of `QUANTILES`: the entry below which a share of them lies."""
        if not self._quantiles:
            self._quantiles = dict(zip(QUANTILES, self._find(QUANTILES), strict=True))
        return self._quantiles[share]


class BlockUnits:
    """As `Units`, and the sums of absolute weights by unit and by input.

    Args:
        columns: How many units there are.
    """

    xp: Any = np

    def __init__(self, columns: int) -> None:
        self.norms = np.zeros((1, columns))
        self._by_unit = np.zeros(columns)
        self._most = 0.0

    def add(self, rows: np.ndarray) -> None:
        """Takes the next rows in."""
        sums = Sums(rows, ("column_absolute", "column_squares", "row_absolute"))
        units = Units(Matrices(rows[None], shared=sums))
        self.norms = np.hypot(self.norms, units.norms)
        self._by_unit += sums["column_absolute"]
        self._most = max(self._most, float(np.max(sums["row_absolute"])))

    @property
    def operator_norm_1(self) -> float:
        """The largest sum of absolute weights of a unit."""
        return float(np.max(self._by_unit))

    @property
    def operator_norm_inf(self) -> float:
        """The largest sum of absolute weights that leave an input."""
        return self._most
