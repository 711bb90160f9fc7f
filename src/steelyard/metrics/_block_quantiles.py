"""Exact quantiles of entries that come in blocks, sixteen bits a pass, in little memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np

_DIGIT = 16
_BINS = 1 << _DIGIT
_PART = 1 << 18


def block_quantiles(
    blocks: Callable[[], Iterable[np.ndarray]], size: int, shares: Sequence[float]
) -> list[float]:
    """The entries below which shares of them lie, as `quantiles` gives them.

    The bit patterns of floats, with those of negative ones reversed, are in the order of the
    numbers. A first pass counts their upper sixteen bits; each further one the next sixteen of
    those that may still be wanted.

    Args:
        blocks: Gives all entries once more at each call: finite, in float32 or float64.
        size: How many there are.
        shares: In [0, 1].
    """
    places = np.asarray(shares, "float64") * (size - 1)
    ranks = np.unique(np.concatenate([np.floor(places), np.ceil(places)]).astype("int64"))
    found = _at_ranks(blocks, ranks).astype("float64")
    low = found[np.searchsorted(ranks, np.floor(places).astype("int64"))]
    high = found[np.searchsorted(ranks, np.ceil(places).astype("int64"))]
    return [float(value) for value in low + (high - low) * (places - np.floor(places))]


def _at_ranks(blocks: Callable[[], Iterable[np.ndarray]], ranks: np.ndarray) -> np.ndarray:
    """The entries of some ranks."""
    prefixes = np.zeros(1, "uint64")
    of_rank = np.zeros(len(ranks), "int64")  # which prefix each has
    left = ranks.copy()  # how many entries of that prefix lie below it
    shift, kind = -1, np.dtype("float32")
    while shift:
        counts = np.zeros((len(prefixes), _BINS), "int64")
        for block in blocks():
            kind = block.dtype
            if shift < 0:
                shift = 8 * kind.itemsize
            flat = block.reshape(-1)
            for at in range(0, flat.size, _PART):
                _count(_keys(flat[at : at + _PART]), shift - _DIGIT, prefixes, counts)
        shift -= _DIGIT
        ends = np.cumsum(counts, axis=1)
        digits = np.array(
            [np.searchsorted(ends[p], n, "right") for p, n in zip(of_rank, left, strict=True)]
        )
        left = left - (ends[of_rank, digits] - counts[of_rank, digits])
        longer = (prefixes[of_rank] << np.uint64(_DIGIT)) | digits.astype("uint64")
        prefixes, of_rank = np.unique(longer, return_inverse=True)
    return _values(prefixes[of_rank], kind)


def _count(keys: np.ndarray, shift: int, prefixes: np.ndarray, counts: np.ndarray) -> None:
    """Adds how often each digit follows each prefix."""
    above = 8 * keys.itemsize - shift - _DIGIT
    tops = keys >> keys.dtype.type(shift)
    if not above:
        counts[0] += np.bincount(tops, minlength=_BINS)
        return
    digits = (tops & keys.dtype.type(_BINS - 1)).astype("int64")
    tops = tops >> keys.dtype.type(_DIGIT)
    for row, prefix in enumerate(prefixes):
        counts[row] += np.bincount(digits[tops == keys.dtype.type(prefix)], minlength=_BINS)


def _keys(flat: np.ndarray) -> np.ndarray:
    """Whole numbers without sign in the order of the entries."""
    bits = flat.view(f"int{8 * flat.itemsize}")
    least = np.iinfo(bits.dtype).min
    return np.where(bits < 0, ~bits, bits | least).view(f"uint{8 * flat.itemsize}")


def _values(keys: np.ndarray, kind: np.dtype) -> np.ndarray:
    bits = keys.astype(f"uint{8 * kind.itemsize}").view(f"int{8 * kind.itemsize}")
    least = np.iinfo(bits.dtype).min
    return np.where(bits < 0, bits ^ least, ~bits).view(kind)
