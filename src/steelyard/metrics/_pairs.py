"""Two weights of one shape, compared."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from steelyard.errors import ShapeMismatchError
from steelyard.metrics._catalog import metric
from steelyard.metrics._matrix import matrices
from steelyard.metrics._values import Values

_CHUNK = 1 << 16
_PIECE = 1 << 15


@metric("comparison", range="[0, inf]")
def relative_distance(a: Any, b: Any) -> float:
    """The Euclidean norm of b - a over that of a; infinite where only a is 0."""
    a, b = _flat(a, b)
    moved, norm = _distance(a, b), Values(a).l2
    if norm == 0:
        return math.inf if moved else 0.0
    return moved / norm


@metric("comparison", range="[-1, 1]")
def cosine(a: Any, b: Any) -> float:
    """The cosine of the angle between two weights as vectors; NaN where one is 0 or not finite."""
    a, b = _flat(a, b)
    with np.errstate(invalid="ignore"):
        norms = Values(a).l2, Values(b).l2
    if not all(norms) or not all(map(math.isfinite, norms)):
        return math.nan
    total = sum(
        float(np.dot(x.astype("float64") / norms[0], y.astype("float64") / norms[1]))
        for x, y in _chunks(a, b)
    )
    return min(1.0, max(-1.0, total))


@metric("comparison", unit="w", range="[0, inf)")
def max_abs_difference(a: Any, b: Any) -> float:
    """The largest absolute difference of an entry."""
    a, b = _flat(a, b)
    return max(
        (
            float(np.max(np.abs(y.astype("float64") - x.astype("float64"))))
            for x, y in _chunks(a, b)
        ),
        default=0.0,
    )


@metric("training", range="[0, inf]", source="You, Gitman and Ginsburg 2017, LARS")
def update_ratio(before: Any, after: Any) -> float:
    """How far a step went: the norm of the change over that of the weight before."""
    return relative_distance(before, after)


@metric("training", unit="w", range="[0, inf]", source="Nagarajan and Kolter 2019")
def distance_from_init(initial: Any, value: Any) -> float:
    """How far training has moved a weight: the Euclidean norm of the change since it began."""
    return _distance(*_flat(initial, value))


@metric("training", unit="w", range="[0, inf]")
def ema_distance(average: Any, value: Any) -> float:
    """How far a weight is from its moving average: the Euclidean norm of the difference."""
    return _distance(*_flat(average, value))


@metric("comparison", unit="rad", range="[0, π/2]", source="Björck and Golub 1973")
def subspace_angle(a: Any, b: Any, rank: int = 10) -> float:
    """The largest principal angle between the spaces of the leading right singular vectors.

    Args:
        a: A weight with two axes or more.
        b: Another of the same shape.
        rank: How many singular vectors span each space; as many as there are, if fewer.
    """
    _same(np.shape(a), np.shape(b))
    spaces = []
    for array in (a, b):
        block = matrices(np.asarray(array)).blocks
        flat = block.reshape(-1, block.shape[-1]).astype("float64")
        spaces.append(np.linalg.svd(flat, full_matrices=False)[2][:rank].T)
    first, second = spaces
    cosines = np.linalg.svd(first.T @ second, compute_uv=False)
    # Small angles by the sine, which keeps their digits.
    if cosines[-1] ** 2 > 0.5:
        sines = float(np.linalg.norm(second - first @ (first.T @ second), 2))
        return float(np.arcsin(min(1.0, sines)))
    return float(np.arccos(max(0.0, cosines[-1])))


def _flat(a: Any, b: Any) -> tuple[np.ndarray, np.ndarray]:
    a, b = np.asarray(a), np.asarray(b)
    _same(a.shape, b.shape)
    return np.ravel(a), np.ravel(b)


def _same(a: tuple[int, ...], b: tuple[int, ...]) -> None:
    if a != b:
        raise ShapeMismatchError(f"Two weights are compared entry by entry. Received: {a} and {b}")


def _chunks(a: np.ndarray, b: np.ndarray) -> Any:
    for start in range(0, a.size, _CHUNK):
        yield a[start : start + _CHUNK], b[start : start + _CHUNK]


def _distance(a: np.ndarray, b: np.ndarray) -> float:
    if a.dtype == b.dtype == np.float32 and math.isfinite(squares := _squares(a, b)):
        return math.sqrt(squares)
    # Sums of float64 may over- or underflow on the way: scaled by the largest entry.
    scale = float(np.fmax(Values(a).max_abs, Values(b).max_abs)) if a.size else 0.0
    if scale == 0 or not math.isfinite(scale):
        return scale
    total = sum(
        float(np.sum(np.square((y.astype("float64") - x.astype("float64")) / scale)))
        for x, y in _chunks(a, b)
    )
    return scale * math.sqrt(total)


def _squares(a: np.ndarray, b: np.ndarray, keep: bool = False) -> float:
    """The sum of the squares of the differences of float32, in pieces that stay in the cache.

    Args:
        a: Contiguous entries.
        b: As many.
        keep: Whether b is put in the place of a on the way.
    """
    work, total = np.empty(min(_PIECE, a.size), "float32"), 0.0
    least = float(np.finfo("float32").tiny / np.finfo("float32").eps) * _PIECE
    with np.errstate(all="ignore"):
        for start in range(0, a.size, _PIECE):
            x, y = a[start : start + _PIECE], b[start : start + _PIECE]
            moved = np.subtract(y, x, out=work[: x.size])
            squares = float(np.dot(moved, moved))
            # If it over- or underflowed: in float64 it cannot.
            if not least < squares < math.inf and moved.any():
                wide = moved.astype("float64")
                squares = float(np.dot(wide, wide))
            total += squares
            if keep:
                x[:] = y
    return total


def moved_on(before: np.ndarray, after: np.ndarray) -> float:
    """`distance_from_init(before, after)`, and then `before` is `after`: in one pass for float32.

    Args:
        before: Contiguous and writeable.
        after: Of the same shape.
    """
    a, b = _flat(before, after)
    if a.dtype == b.dtype == np.float32 and before.flags.c_contiguous:
        return math.sqrt(_squares(a, b, keep=True))
    distance = _distance(a, b)
    np.copyto(before, after)
    return distance
