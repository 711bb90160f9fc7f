"""Two weights of one shape, compared."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from steelyard.errors import ShapeMismatchError
from steelyard.metrics._catalog import metric
from steelyard.metrics._matrix import matrices
from steelyard.metrics._sums import dot
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
    if a.dtype == b.dtype == np.float32 and math.isfinite(squares := _squares(a, b)[0]):
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


def _squares(a: np.ndarray, b: np.ndarray, moves_on: bool = False) -> tuple[float, float]:
    """The sum of the squares of the differences of float32, in pieces that stay in the cache.

    Args:
        a: Contiguous entries.
        b: As many.
        moves_on: Whether b is put in the place of a on the way, and its own squares are summed.

    Returns:
        The sum, and that of the squares of b, or 0.
    """
    work, total, own = np.empty(min(_CHUNK, a.size), "float32"), 0.0, 0.0
    with np.errstate(all="ignore"):
        for x, y in _chunks(a, b):
            moved = np.subtract(y, x, out=work[: x.size])
            for start in range(0, x.size, _PIECE):
                total += _square(moved[start : start + _PIECE])
            if moves_on:
                own += dot(y, y)
                x[:] = y
    return total, own


# From where on a sum of squares of float32 has lost nothing to what is too small, an entry.
_LEAST = float(np.finfo("float32").tiny / np.finfo("float32").eps)


def _square(moved: np.ndarray) -> float:
    squares = float(np.dot(moved, moved))
    # If it over- or underflowed: in float64 it cannot.
    if not _LEAST * _PIECE < squares < math.inf and moved.any():
        wide = moved.astype("float64")
        squares = float(np.dot(wide, wide))
    return squares


class Moved(NamedTuple):
    """What a weight has become.

    Attributes:
        distance: How far it is from what it was: `distance_from_init(before, after)`.
        norm: Its norm: `l2_norm(after)`.
    """

    distance: float
    norm: float


def moved_on(before: np.ndarray, after: np.ndarray) -> Moved:
    """How far a weight went, and its norm; then `before` is `after`: in one pass for float32.

    Args:
        before: Contiguous and writeable.
        after: Of the same shape.
    """
    a, b = _flat(before, after)
    if a.dtype == b.dtype == np.float32 and before.flags.c_contiguous:
        moved, own = _squares(a, b, moves_on=True)
        # If it over- or underflowed, or is 0, the norm is worked out with more care.
        norm = math.sqrt(own) if _LEAST * a.size < own < math.inf else Values(b).l2
        return Moved(math.sqrt(moved), norm)
    distance = _distance(a, b)
    np.copyto(before, after)
    return Moved(distance, Values(b).l2)
