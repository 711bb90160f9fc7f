"""What can be said of the entries of a weight, whatever its shape.

`Values` works on NumPy arrays: one pass over chunks that stay in the cache, sums in float64.
`GraphValues` says the same of a tensor inside a graph. The laws hold them equal.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from steelyard.metrics._quantiles import quantiles

_CHUNK = 1 << 16  # entries: 256 KiB of float32, which most second-level caches hold
_ROW = 1 << 8
_PART = 1 << 14
_FLOATS = (np.dtype("float32"), np.dtype("float64"))


class _Sums(NamedTuple):
    total: float
    absolute: float
    squares: float
    largest: float
    zeros: int


class Values:
    """The entries of an array, and sums over them.

    Args:
        array: Of any shape. What is neither float32 nor float64 is widened.
        dtype: The name of the dtype that the weight is stored in; that of the array if not given.
        all: Whether more will be asked than the norm, so that one pass may as well do it all.
    """

    xp: Any = np

    def __init__(self, array: np.ndarray, dtype: str | None = None, all: bool = False) -> None:
        self.all = all
        array = np.asarray(array)
        self.stored_dtype = dtype or array.dtype.name
        if array.dtype not in _FLOATS:
            narrow = array.dtype.itemsize <= 2 and array.dtype.kind not in "iu"
            array = array.astype("float32" if narrow else "float64")
        self.flat = np.ravel(array, order="K")
        self.size = self.flat.size

    def chunks(self) -> Iterator[np.ndarray]:
        """The entries in pieces that stay in the cache."""
        for start in range(0, self.size, _CHUNK):
            yield self.flat[start : start + _CHUNK]

    @cached_property
    def _sums(self) -> _Sums:
        """What most metrics are made of, in one pass.

        Not by BLAS's `asum`, whose last digits depend on where in memory the array begins.
        """
        total = absolute = squares = 0.0
        top = nonzero = 0
        work = np.empty(min(_CHUNK, self.size), self.flat.dtype)
        # Without their signs, floats are in the order of their bit patterns.
        whole = f"int{8 * self.flat.dtype.itemsize}"
        with np.errstate(invalid="ignore", over="ignore"):
            for chunk in self.chunks():
                part = np.absolute(chunk, out=work[: chunk.size])
                bits = part.view(whole)
                total += _total(chunk)
                absolute += _total(part)
                squares += _dot(part, part)
                top = max(top, int(bits.max()))
                nonzero += int(np.count_nonzero(bits))
        largest = float(np.array([top], whole).view(self.flat.dtype)[0])
        return _Sums(total, absolute, squares, largest, self.size - nonzero)

    @cached_property
    def _squares(self) -> float:
        """The sum of the squares alone, unless the others are known or will be asked for."""
        if self.all or "_sums" in vars(self):
            return self._sums.squares
        with np.errstate(invalid="ignore", over="ignore"):
            return sum(_dot(chunk, chunk) for chunk in self.chunks())

    @cached_property
    def _ends(self) -> tuple[float, float]:
        """Smallest and largest."""
        low, high = np.inf, -np.inf
        with np.errstate(invalid="ignore"):
            for chunk in self.chunks():
                low, high = min(low, float(chunk.min())), max(high, float(chunk.max()))
        return low, high

    @cached_property
    def nonfinite(self) -> int:
        """How many entries are NaN or infinite."""
        # The sum of squares is not finite if an entry is not, or if it overflows.
        if np.isfinite(self._squares):
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
        return self._sums.zeros

    @property
    def min(self) -> float:
        """The smallest entry."""
        return self._ends[0]

    @property
    def max(self) -> float:
        """The largest entry."""
        return self._ends[1]

    @property
    def max_abs(self) -> float:
        """The largest absolute value."""
        return self._sums.largest

    @property
    def l1(self) -> float:
        """The sum of the absolute values."""
        if not np.isfinite(self._sums.absolute):  # a sum of float32 overflowed
            return float(sum(np.sum(np.abs(c), dtype="float64") for c in self.chunks()))
        return self._sums.absolute

    @cached_property
    def l2(self) -> float:
        """The root of the sum of squares."""
        squares = self._squares
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
        if not np.isfinite(self._sums.total):
            return float(sum(np.sum(c, dtype="float64") for c in self.chunks()) / self.size)
        return self._sums.total / self.size

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
                _total(distance),
                _dot(distance, distance),
                _dot(square, distance),
                _dot(square, square),
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


def _dot(left: np.ndarray, right: np.ndarray) -> float:
    """The product of two chunks: of parts by BLAS, in their own dtype, and their sum in float64."""
    ends = range(0, left.size, _PART)
    return sum(float(np.dot(left[i : i + _PART], right[i : i + _PART])) for i in ends)


def _total(chunk: np.ndarray) -> float:
    """The sum of a chunk: of its rows by BLAS, and of these in float64."""
    whole = chunk.size - chunk.size % _ROW
    rows = np.dot(chunk[:whole].reshape(-1, _ROW), np.ones(_ROW, chunk.dtype))
    rest = np.add.reduce(chunk[whole:], dtype="float64")
    return float(np.add.reduce(rows, dtype="float64") + rest)


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
