"""Two arrays with as many entries each: whether they are the same, and by how much they are not.

A pass over chunks that stay in the cache sums what is needed, also of arrays that come block by
block. Where that says too little (what is not finite, other dtypes, numbers so large or small that
their squares are lost), the functions of the catalog are asked, which are slower, scale, and need
all entries at once.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from steelyard.metrics import cosine, max_abs_difference, relative_distance

_CHUNK = 1 << 15
# A sum of squares below this, an entry, may lack some that were too small for float32.
_LEAST = 1e-30


class Difference(NamedTuple):
    """How two arrays differ.

    Args:
        amount: The norm of the difference over that of the first; 0 if they are equal.
        largest: The largest absolute difference of an entry.
        cosine: Of the angle between them; NaN where one is 0.
        apart: How many entries are NaN or infinite in one and not the same in the other. The
            amount is infinite if there are any; the other numbers are of the other entries.
        skipped: How many entries are NaN or infinite, and the same in both.
        in_bits: Whether they are equal bit for bit.
    """

    amount: float = 0.0
    largest: float = 0.0
    cosine: float = 1.0
    apart: int = 0
    skipped: int = 0
    in_bits: bool = True

    @property
    def equal(self) -> bool:
        """Whether each entry is the same number in both; NaN is the same as NaN."""
        return self.in_bits or (self.amount == 0 and not self.apart and self.largest == 0)


def difference(a: np.ndarray, b: np.ndarray) -> Difference:
    """By how much `b` differs from `a`, entry by entry in the order of C."""
    a, b = a.reshape(-1), b.reshape(-1)
    return difference_in_blocks([(a, b)]) or _careful(a, b)


def difference_in_blocks(blocks: Iterable[tuple[np.ndarray, np.ndarray]]) -> Difference | None:
    """By how much one array differs from another, of which matching blocks come one by one.

    Returns:
        The difference; None if that takes more than a look at one block after the other.
    """
    sums = _Sums()
    for a, b in blocks:
        if a.dtype != b.dtype or not sums.add(a.reshape(-1), b.reshape(-1)):
            return None
    return sums.difference()


class _Sums:
    """Sums over what has been seen of two arrays of one dtype."""

    def __init__(self) -> None:
        self.size = 0
        self.in_bits = True
        self.aa = self.bb = self.ab = self.dd = self.largest = 0.0

    def add(self, a: np.ndarray, b: np.ndarray) -> bool:
        """Takes a block in; says whether it could."""
        self.size += a.size
        counts = a.dtype.kind == "f"
        work = np.empty(min(_CHUNK, a.size), a.dtype)
        with np.errstate(all="ignore"):
            for x, y in _chunks(a, b):
                self.in_bits = self.in_bits and np.array_equal(_bits(x), _bits(y))
                if counts and self.in_bits:
                    self._add_equal(float(np.dot(x, x)))
                elif counts:
                    self._add(x, y, work[: x.size])
                elif not self.in_bits:
                    return False
        return True

    def _add_equal(self, squares: float) -> None:
        self.aa, self.bb, self.ab = self.aa + squares, self.bb + squares, self.ab + squares

    def _add(self, x: np.ndarray, y: np.ndarray, work: np.ndarray) -> None:
        moved = np.subtract(y, x, out=work)
        self.aa, self.bb = self.aa + float(np.dot(x, x)), self.bb + float(np.dot(y, y))
        self.ab, self.dd = self.ab + float(np.dot(x, y)), self.dd + float(np.dot(moved, moved))
        self.largest = max(self.largest, float(moved.max()), -float(moved.min()))

    def difference(self) -> Difference | None:
        """What the sums say; None if the numbers are not finite, or not of ordinary size."""
        if self.in_bits:
            return Difference()
        known = (self.aa, self.bb, self.dd)
        if not all(_LEAST * self.size < total < math.inf for total in known):
            return None
        angle = _cosine(self.aa, self.bb, self.ab, self.dd)
        return Difference(math.sqrt(self.dd / self.aa), self.largest, angle, in_bits=False)


def _bits(flat: np.ndarray) -> np.ndarray:
    whole = flat.dtype.itemsize in (1, 2, 4, 8)
    return flat.view(f"u{flat.dtype.itemsize}" if whole else "u1")


def _chunks(a: np.ndarray, b: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for start in range(0, a.size, _CHUNK):
        yield a[start : start + _CHUNK], b[start : start + _CHUNK]


def _cosine(aa: float, bb: float, ab: float, dd: float) -> float:
    """From the sums of squares and products; where two are close, so that the digits are kept."""
    product = (aa + bb - dd) / 2 if dd < aa / 10 else ab
    return min(1.0, max(-1.0, product / math.sqrt(aa) / math.sqrt(bb)))


def _careful(a: np.ndarray, b: np.ndarray) -> Difference:
    with np.errstate(all="ignore"):
        same = (a == b) | (np.isnan(a) & np.isnan(b))
        finite = np.isfinite(a) & np.isfinite(b)
        apart = int(np.count_nonzero(~(same | finite)))
        skipped = int(np.count_nonzero(same & ~finite))
        if same.all():
            return Difference(skipped=skipped, in_bits=False)
        if apart or skipped:
            # As zeros in both they add nothing to any of the sums.
            a, b = np.where(finite, a, a.dtype.type(0)), np.where(finite, b, b.dtype.type(0))
        amount = math.inf if apart else relative_distance(a, b)
        largest, angle = max_abs_difference(a, b), cosine(a, b)
    return Difference(amount, largest, angle, apart, skipped, in_bits=False)
