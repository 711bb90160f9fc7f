"""What can be said of the entries of a weight, whatever its shape.

`Values` works on NumPy arrays, over chunks that stay in the cache, with sums in float64.
`GraphValues` says the same of a tensor inside a graph. The laws hold them equal.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import Any

import numpy as np

from steelyard.metrics._quantiles import quantiles
from steelyard.metrics._sums import Sums, dot, in_memory_order, total

_CHUNK = 1 << 16  # entries: 256 KiB of float32, which most second-level caches hold
_FLOATS = (np.dtype("float32"), np.dtype("float64"))


class Values:
    """The entries of an array, and sums over them.

    Args:
        array: Of any shape. What is neither float32 nor float64 is widened.
        dtype: The name of the dtype that the weight is stored in; that of the array if not given.
        together: Names of `Sums` that will be asked for, by this or with it.
    """

    xp: Any = np

    def __init__(
        self, array: np.ndarray, dtype: str | None = None, together: Iterable[str] = ()
    ) -> None:
        array = np.asarray(array)
        self.stored_dtype = dtype or array.dtype.name
        array = widened(array)
        self.flat = np.ravel(array, order="K")
        self.size = self.flat.size
        self.sums = [Sums(matrix, together) for matrix in in_memory_order(array)]

    def chunks(self) -> Iterator[np.ndarray]:
        """The entries in pieces that stay in the cache."""
        for start in range(0, self.size, _CHUNK):
            yield self.flat[start : start + _CHUNK]

    def _sum(self, name: str) -> float:
        return float(sum(sums[name] for sums in self.sums))

    @cached_property
    def nonfinite(self) -> int:
        """How many entries are NaN or infinite."""
        # The sum of squares is not finite if an entry is not, or if it overflows.
        if np.isfinite(self._sum("squares")):
            return 0
        return sum(c.size - int(np.count_nonzero(np.isfinite(c))) for c in self.chunks())

    @property
    def nan(self) -> int:
        """How many entries are not a number."""
        if not self.nonfinite:
            return 0
        return sum(int(np.count_nonzero(np.isnan(chunk))) for chunk in self.chunks())

    @property
    def inf(self) -> int:
        """How many entries are infinite."""
        return self.nonfinite - self.nan

    @property
    def zeros(self) -> int:
        """How many entries are exactly 0."""
        return int(self._sum("zeros"))

    @property
    def min(self) -> float:
        """The smallest entry."""
        return float(np.min([sums["min"] for sums in self.sums], initial=np.inf))

    @property
    def max(self) -> float:
        """The largest entry."""
        return float(np.max([sums["max"] for sums in self.sums], initial=-np.inf))

    @property
    def max_abs(self) -> float:
        """The largest absolute value."""
        return float(np.max([sums["largest"] for sums in self.sums], initial=0))

    @property
    def l1(self) -> float:
        """The sum of the absolute values."""
        absolute = self._sum("absolute")
        if not np.isfinite(absolute):  # a sum of float32 overflowed
            return float(sum(np.sum(np.abs(c), dtype="float64") for c in self.chunks()))
        return absolute

    @cached_property
    def l2(self) -> float:
        """The root of the sum of squares."""
        squares = self._sum("squares")
        info = np.finfo(self.flat.dtype)
        if squares > info.tiny / info.eps * self.size and np.isfinite(squares):
            return float(np.sqrt(squares))
        # It over- or underflowed on the way: scaled by the largest entry, as BLAS's nrm2.
        scale = self.max_abs
        if scale == 0:
            return 0.0
        scaled = sum(np.sum(np.square(c.astype("float64") / scale)) for c in self.chunks())
        return float(scale * np.sqrt(scaled))

    @property
    def mean(self) -> float:
        """The arithmetic mean."""
        entries = self._sum("sum")
        if not np.isfinite(entries):
            entries = float(sum(np.sum(c, dtype="float64") for c in self.chunks()))
        return entries / self.size

    @cached_property
    def std(self) -> float:
        """The population standard deviation."""
        if self.min == self.max:
            return 0.0
        rms = self.l2 / float(np.sqrt(self.size))
        share = 1 - (self.mean / rms) ** 2 if rms else 0.0
        # Where the mean is large beside the spread, the difference would have lost its digits.
        if share > 0.1:
            return rms * float(np.sqrt(share))
        return float(np.sqrt(max(self.moment(2), 0.0))) * self._spread

    @cached_property
    def _spread(self) -> float:
        """The scale of the moments: the largest distance from the mean, if its powers need one."""
        spread = max(self.max - self.mean, self.mean - self.min) or 1.0
        return 1.0 if 1e-6 < spread < 1e6 else spread

    @cached_property
    def _moments(self) -> tuple[float, float, float]:
        sums = np.zeros(4)
        kind = self.flat.dtype.type
        mean, spread = kind(self.mean), kind(self._spread)
        work = np.empty((2, min(_CHUNK, self.size)), kind)
        for chunk in self.chunks():
            distance = np.subtract(chunk, mean, out=work[0, : chunk.size])
            if spread != 1:
                distance /= spread
            square = np.multiply(distance, distance, out=work[1, : chunk.size])
            sums += (
                total(distance),
                dot(distance, distance),
                dot(square, distance),
                dot(square, square),
            )
        # The mean was rounded: what is left of it is taken out of the moments.
        d, s2, s3, s4 = sums / self.size
        return (
            s2 - d**2,
            s3 - 3 * d * s2 + 2 * d**3,
            s4 - 4 * d * s3 + 6 * d**2 * s2 - 3 * d**4,
        )

    def moment(self, order: int) -> float:
        """A central moment (2, 3 or 4), in units of `_spread`."""
        return self._moments[order - 2]

    @cached_property
    def _quantiles(self) -> dict[float, float]:
        """Those of the catalog, found together."""
        return dict(zip(QUANTILES, quantiles(self.flat, QUANTILES), strict=True))

    def quantile(self, share: float) -> float:
        """One of `QUANTILES`: the entry below which a share of them lies."""
        return self._quantiles[share]


def widened(array: np.ndarray) -> np.ndarray:
    """An array in float32, or in float64 where float32 would lose digits of an integer."""
    if array.dtype in _FLOATS:
        return array
    narrow = array.dtype.itemsize <= 2 and array.dtype.kind not in "iu"
    return array.astype("float32" if narrow else "float64")


QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)


class GraphValues:
    """The same of a tensor: what a graph computes, with slopes.

    Args:
        array: A float tensor of any shape.
        xp: `keras.ops`.
    """

    def __init__(self, array: Any, xp: Any) -> None:
        self.array = array
        self.xp = xp
        self.size = int(np.prod(array.shape))

    @property
    def nan(self) -> Any:
        """How many entries are not a number."""
        return self._count(self.xp.isnan(self.array))

    @property
    def inf(self) -> Any:
        """How many entries are infinite."""
        return self._count(self.xp.isinf(self.array))

    @property
    def zeros(self) -> Any:
        """How many entries are exactly 0."""
        return self._count(self.array == 0)

    @property
    def min(self) -> Any:
        """The smallest entry."""
        return self.xp.min(self.array)

    @property
    def max(self) -> Any:
        """The largest entry."""
        return self.xp.max(self.array)

    @property
    def max_abs(self) -> Any:
        """The largest absolute value."""
        return self.xp.max(self.xp.absolute(self.array))

    @property
    def l1(self) -> Any:
        """The sum of the absolute values."""
        return self.xp.sum(self.xp.absolute(self.array))

    @property
    def l2(self) -> Any:
        """The root of the sum of squares."""
        return safe_l2(self.array, self.xp)

    @property
    def mean(self) -> Any:
        """The arithmetic mean."""
        return self.xp.mean(self.array)

    @property
    def std(self) -> Any:
        """The population standard deviation."""
        return safe_l2(self.array - self.mean, self.xp) / float(np.sqrt(self.size))

    def moment(self, order: int) -> Any:
        """A central moment, in units of the standard deviation."""
        distance = self.array - self.mean
        return self.xp.mean((distance / self.std) ** order)

    def _count(self, where: Any) -> Any:
        return self.xp.sum(self.xp.cast(where, "float32"))


def values_of(array: Any, xp: Any = np, *, dtype: str | None = None, **seen: Any) -> Any:
    """The entries of an array or tensor, prepared for the metrics that need them.

    How the weight is seen as matrices (`seen`) makes no difference to them.
    """
    return Values(array, dtype) if xp is np else GraphValues(array, xp)


def safe_l2(array: Any, xp: Any, axis: int | None = None) -> Any:
    """The Euclidean norm of a tensor, whose slope at 0 is 0, where the norm has no derivative.

    Scaled by the largest entry, so that it neither overflows nor underflows before the result
    does (as BLAS's `nrm2`). Elsewhere its slope is `array / norm`.
    """
    stop = getattr(xp, "stop_gradient", lambda value: value)
    largest = stop(xp.max(xp.absolute(array), axis=axis, keepdims=axis is not None))
    scale = xp.where(xp.logical_and(xp.isfinite(largest), largest > 0), largest, 1.0)
    total = xp.sum(xp.square(array / scale), axis=axis)
    # The inner `where` keeps the infinite slope of the root at 0 out of the gradient.
    root = xp.sqrt(xp.where(total == 0, 1.0, total))
    if axis is not None:
        scale = xp.squeeze(scale, axis=axis)
    return scale * xp.where(total == 0, 0.0, root)
