"""Exact quantiles without sorting: by counting the upper halves of float32 patterns."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np

_PART = 1 << 20
_BINS = 1 << 16
# Where the upper half of a little-endian float32 is.
_UPPER = 1 if sys.byteorder == "little" else 0
# In the order of the numbers: negative ones from the largest magnitude on, then positive ones.
_ASCENDING = np.concatenate([np.arange(_BINS - 1, _BINS // 2 - 1, -1), np.arange(_BINS // 2)])


def quantiles(flat: np.ndarray, shares: Sequence[float]) -> list[float]:
    """The entries below which shares of them lie, interpolated linearly, as `numpy.quantile`.

    In float32 there are 65,536 upper halves of bit patterns. A first pass counts them, which tells
    in which few of them the quantiles lie; a second one takes out the entries of these, and only
    those are ordered.

    Args:
        flat: Finite entries, contiguous, at least one.
        shares: In [0, 1].
    """
    places = np.asarray(shares, "float64") * (flat.size - 1)
    ranks = np.unique(np.concatenate([np.floor(places), np.ceil(places)]).astype("int64"))
    if flat.dtype != np.float32 or not flat.flags.c_contiguous or flat.size < _BINS:
        found = np.partition(flat, ranks)[ranks]
    else:
        found = _by_counting(flat, ranks)
    # A difference of two finite entries may overflow in their own dtype.
    wide = found.astype("float64")
    low = wide[np.searchsorted(ranks, np.floor(places).astype("int64"))]
    high = wide[np.searchsorted(ranks, np.ceil(places).astype("int64"))]
    return [float(value) for value in low + (high - low) * (places - np.floor(places))]


def _by_counting(flat: np.ndarray, ranks: np.ndarray) -> np.ndarray:
    """The entries of some ranks."""
    halves = flat.view("uint16")[_UPPER::2]
    counts = np.zeros(_BINS, "int64")
    for start in range(0, flat.size, _PART):
        counts += np.bincount(halves[start : start + _PART], minlength=_BINS)
    ends = np.cumsum(counts[_ASCENDING])
    bins = np.searchsorted(ends, ranks, side="right")  # of each rank, in ascending order
    wanted = np.zeros(_BINS, "bool")
    wanted[_ASCENDING[bins]] = True
    taken = np.concatenate(
        [
            flat[start : start + _PART].compress(wanted.take(halves[start : start + _PART]))
            for start in range(0, flat.size, _PART)
        ]
    )
    # How many entries that were not taken lie below those of each bin.
    used = np.unique(bins)
    sizes = counts[_ASCENDING[used]]
    begins = ends[used] - sizes
    skipped = begins - np.concatenate([[0], np.cumsum(sizes)[:-1]])
    places = ranks - skipped[np.searchsorted(used, bins)]
    return np.partition(taken, places)[places]
