"""Two arrays with as many entries each: whether they are the same, and by how much they are not.

A pass over chunks that stay in the cache sums what is needed. Where that says too little (what is
not finite, other dtypes, numbers so large or small that their squares are lost), the functions of
the catalog are asked, which are slower and scale.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
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
    if a.dtype == b.dtype and _same_bits(a, b):
        return Difference()
    found = _quick(a, b) if a.dtype == b.dtype and a.dtype.kind == "f" else None
    return found or _careful(a, b)


def _same_bits(a: np.ndarray, b: np.ndarray) -> bool:
    return all(np.array_equal(x, y) for x, y in _chunks(_bits(a), _bits(b)))


def _bits(flat: np.ndarray) -> np.ndarray:
    whole = flat.dtype.itemsize in (1, 2, 4, 8)
    return flat.view(f"u{flat.dtype.itemsize}" if whole else "u1")


def _chunks(a: np.ndarray, b: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for start in range(0, a.size, _CHUNK):
        yield a[start : start + _CHUNK], b[start : start + _CHUNK]


def _quick(a: np.ndarray, b: np.ndarray) -> Difference | None:
    """Of finite numbers of ordinary size; None for others."""
    aa = bb = ab = dd = largest = 0.0
    work = np.empty(min(_CHUNK, a.size), a.dtype)
    with np.errstate(all="ignore"):
        for x, y in _chunks(a, b):
            moved = np.subtract(y, x, out=work[: x.size])
            aa, bb = aa + float(np.dot(x, x)), bb + float(np.dot(y, y))
            ab, dd = ab + float(np.dot(x, y)), dd + float(np.dot(moved, moved))
            largest = max(largest, float(moved.max()), -float(moved.min()))
    if not (all(_LEAST * a.size < total < math.inf for total in (aa, bb, dd))):
        return None
    return Difference(math.sqrt(dd / aa), largest, _cosine(aa, bb, ab, dd), in_bits=False)


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
