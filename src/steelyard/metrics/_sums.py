"""Sums over the entries, the rows and the columns of a matrix: those asked for, in one pass.

A weight is read from memory once, in tiles that stay in the cache; each sum of a tile is one of
BLAS or NumPy, and those of the tiles are added in float64. What a sum is does not depend on which
others are taken with it, nor on whether the rows follow each other in memory.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

_ENTRIES = 1 << 17  # of a tile: 512 KiB of float32, which most second-level caches hold
_COLUMN = 1 << 8  # so many numbers of one column are summed in float32, which loses next to nothing
_ROW = 1 << 11  # and so many of a row, of which BLAS sums several beside each other
_PIECE = 1 << 14  # and of a product
_BESIDE = 1 << 9  # narrow rows are put beside each other until they are as wide as this
_WIDTH = 1 << 14  # of a tile

_ACROSS = {
    f"{line}_{what}": f"{across}_{what}"
    for line, across in (("row", "column"), ("column", "row"))
    for what in ("absolute", "squares")
}
_OF_COLUMNS = {"sum": "column_sum", "absolute": "column_absolute"}


class Sums:
    """Sums over one matrix, each worked out when it is first asked for, and kept.

    `"sum"`, `"absolute"` and `"squares"` of all entries; `"min"`, `"max"`, and the `"largest"`
    absolute value; how many `"zeros"`; `"column_absolute"`, `"column_squares"`, `"row_absolute"`
    and `"row_squares"` of each column and row. None of them looks after over- or underflow.

    Args:
        matrix: (rows, columns), float32 or wider.
        together: Those that will be asked for, and are taken in one pass.
    """

    def __init__(self, matrix: np.ndarray, together: Iterable[str] = ()) -> None:
        # In the order of memory: what lies next to each other there is a row.
        self._turned = matrix.flags.f_contiguous and not matrix.flags.c_contiguous
        self._matrix = matrix.T if self._turned else matrix
        self._together = {self._own(name) for name in together}
        self._known: dict[str, np.ndarray] = {}

    def __getitem__(self, name: str) -> Any:
        own = self._own(name)
        if own not in self._known:
            names = self._together if own in self._together else {own}
            self._known.update(_taken(self._matrix, names - set(self._known)))
        return np.add.reduce(self._known[own]) if name in _OF_COLUMNS else self._known[own]

    def _own(self, name: str) -> str:
        name = _ACROSS.get(name, name) if self._turned else name
        return _OF_COLUMNS.get(name, name)


def in_memory_order(array: np.ndarray) -> list[np.ndarray]:
    """An array as matrices whose rows follow each other in memory: one, or two of a vector."""
    flat = np.ravel(array, order="K")
    if not flat.size:
        return []
    if array.ndim > 1:
        width = array.shape[-1] if array.flags.c_contiguous else array.shape[0]
        return [flat.reshape(-1, width)]
    whole = flat.size - flat.size % _COLUMN
    parts = [flat[:whole].reshape(-1, _COLUMN), flat[whole:].reshape(1, -1)]
    return [part for part in parts if part.size]


def dot(left: np.ndarray, right: np.ndarray) -> float:
    """The product of two vectors: of pieces by BLAS, in their own dtype, and these in float64."""
    pieces = range(0, left.size, _PIECE)
    return sum(float(np.dot(left[i : i + _PIECE], right[i : i + _PIECE])) for i in pieces)


def total(vector: np.ndarray) -> float:
    """The sum of a vector that lies in the cache."""
    whole = vector.size - vector.size % _COLUMN
    rest = np.add.reduce(vector[whole:], dtype="float64")
    return float(np.add.reduce(_by_column(vector[:whole].reshape(-1, _COLUMN))) + rest)


# --- of one tile ----------------------------------------------------------------------------------


def _by_column(tile: np.ndarray) -> np.ndarray:
    rows, columns = tile.shape
    beside = max(1, _BESIDE // columns)
    whole = rows - rows % beside
    wide = tile[:whole].reshape(-1, beside * columns)
    sums = _ones(len(wide), tile.dtype) @ wide
    if beside == 1:
        return sums
    found = np.add.reduce(sums.reshape(-1, columns), axis=0, dtype="float64")
    return found if whole == rows else found + np.add.reduce(tile[whole:], axis=0, dtype="float64")


def _by_row(tile: np.ndarray) -> np.ndarray:
    columns = tile.shape[1]
    if columns <= _ROW:
        return tile @ _ones(columns, tile.dtype)
    return sum((_by_row(tile[:, i : i + _ROW]) for i in range(0, columns, _ROW)), np.zeros(1))


def _squares(tile: np.ndarray) -> float:
    """Of wide rows one by one, which need not lie next to each other."""
    rows = tile if tile.shape[1] > _WIDTH // 2 else [tile.reshape(-1)]
    return sum(dot(row, row) for row in rows)


def _largest(absolute: np.ndarray) -> np.floating:
    # Without their signs, floats are in the order of their bit patterns.
    return absolute.view(f"int{8 * absolute.itemsize}").max().view(absolute.dtype)


def _zeros(absolute: np.ndarray) -> int:
    return absolute.size - int(np.count_nonzero(absolute.view(f"int{8 * absolute.itemsize}")))


@functools.lru_cache(64)
def _ones(count: int, dtype: np.dtype) -> np.ndarray:
    return np.ones(count, dtype)


class _Sum(NamedTuple):
    """How one is worked out.

    Args:
        form: What it is of: the `"tile"` as it is, its `"absolute"` values, or its `"squares"`.
        of: From that of a tile.
        joined: How those of two tiles are put together.
        start: What there is before the first.
    """

    form: str
    of: Callable[[np.ndarray], Any]
    joined: np.ufunc = np.add
    start: float = 0.0


_SUMS = {
    "column_sum": _Sum("tile", _by_column),
    "min": _Sum("tile", np.min, np.minimum, np.inf),
    "max": _Sum("tile", np.max, np.maximum, -np.inf),
    "squares": _Sum("tile", _squares),
    "column_absolute": _Sum("absolute", _by_column),
    "row_absolute": _Sum("absolute", _by_row),
    "largest": _Sum("absolute", _largest, np.maximum),
    "zeros": _Sum("absolute", _zeros),
    "column_squares": _Sum("squares", _by_column),
    "row_squares": _Sum("squares", _by_row),
}
# Which part of its target the sum of a tile goes to: all, those of its rows, those of its columns.
_TARGETS = ("", "row", "column")


# --- of all tiles ---------------------------------------------------------------------------------


def _taken(matrix: np.ndarray, names: set[str]) -> dict[str, np.ndarray]:
    """The sums of these names, in one pass."""
    work = np.empty(
        (2, min(_ENTRIES, matrix.size)), "float32" if matrix.dtype == np.float32 else "float64"
    )
    lengths: tuple[tuple[int, ...], ...] = ((), matrix.shape[:1], matrix.shape[1:])
    found = {}
    steps: dict[str, list[tuple[Any, ...]]] = {"tile": [], "absolute": [], "squares": []}
    for name in names:
        one = _SUMS[name]
        line = name.partition("_")[0]
        kind = _TARGETS.index(line) if line in _TARGETS else 0
        found[name] = np.full(lengths[kind], one.start)
        steps[one.form].append((one.of, one.joined, found[name], kind))
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        for rows, columns in _tiles(*matrix.shape):
            targets = (..., rows, columns)
            tile = _as_blas_likes(matrix[rows, columns], work.dtype)
            for form, sums in steps.items():
                if sums:
                    part = _as(form, tile, work)
                    for of, joined, target, kind in sums:
                        view = target[targets[kind]]
                        joined(view, of(part), out=view)
    return found


def _tiles(rows: int, columns: int) -> Iterator[tuple[slice, slice]]:
    """Parts that stay in the cache, of as many columns as BLAS sums well beside each other."""
    width = max(1, min(columns, _WIDTH))
    height = min(_ENTRIES // width, _COLUMN * max(1, _BESIDE // width))
    for top in range(0, rows, height):
        for left in range(0, columns, width):
            yield slice(top, min(rows, top + height)), slice(left, min(columns, left + width))


def _as_blas_likes(tile: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """It takes rows that do not follow each other, and sums strided ones in another order."""
    if tile.shape[1] <= _WIDTH // 2 or tile.strides[1] != tile.itemsize:
        tile = np.ascontiguousarray(tile)
    return tile.astype(dtype, copy=False)


def _as(form: str, tile: np.ndarray, work: np.ndarray) -> np.ndarray:
    if form == "tile":
        return tile
    if form == "absolute":
        return np.absolute(tile, out=work[0, : tile.size].reshape(tile.shape))
    return np.square(tile, out=work[1, : tile.size].reshape(tile.shape))
