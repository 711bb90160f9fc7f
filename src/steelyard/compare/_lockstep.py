"""Two weights read side by side: block by block where their sources give them so."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from steelyard.selection import Weight
from steelyard.source import BlockSource

# Entries of a block: those of two weights, and the two that are read meanwhile, stay in the cache.
_BLOCK = 1 << 19

Pair = tuple[np.ndarray, np.ndarray]


def in_lockstep(first: Weight, second: Weight) -> Iterator[Pair] | None:
    """Matching blocks of two weights of one shape; None if there are none, or all are in one."""
    shape = first.shape
    if first.size <= _BLOCK or shape != second.shape:
        return None
    rows = max(1, _BLOCK * shape[0] // first.size)
    a, b = (_blocks(weight, rows) for weight in (first, second))
    return None if a is None or b is None else _read_ahead(zip(a, b, strict=True))


def _blocks(weight: Weight, rows: int) -> Iterator[np.ndarray] | None:
    source = weight.source
    return source.blocks(weight.address, rows) if isinstance(source, BlockSource) else None


def _read_ahead(pairs: Iterator[Pair]) -> Iterator[Pair]:
    """The same, each read while what was made of the one before is still at work."""
    with ThreadPoolExecutor(1) as reader:
        coming = reader.submit(next, pairs, None)
        while (pair := coming.result()) is not None:
            coming = reader.submit(next, pairs, None)
            yield pair
            del pair  # before the one after the next is there
