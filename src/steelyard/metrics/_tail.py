"""The power law that fits the upper tail of a spectrum: exact, without trying every start in full.

Clauset, Shalizi and Newman 2009, "Power-law distributions in empirical data", continuous case: for
each possible start of the tail the exponent of maximal likelihood, and among the starts the one
whose fit has the least Kolmogorov-Smirnov distance. Conventions are those of WeightWatcher: the
distance compares with the step before each point.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# A lower bound of every distance out of a few points each orders the candidates, so that few are
# worked out in full.
_POINTS = 24
# Below so many values, WeightWatcher takes the bias out of the exponent.
SMALL = 20
_SHORTEST = 8


@dataclass(frozen=True)
class PowerLaw:
    """The density (α-1)/xmin·(x/xmin)^-α of all values from `xmin` on.

    Args:
        alpha: The exponent α.
        xmin: The start of the tail.
        ks: The largest distance between the fitted and the empirical distribution.
        stderr: The standard error of α, (α-1)/√n.
        tail: The values of the tail, smallest first.
        count: How many values there are, the tail and the others.
    """

    alpha: float
    xmin: float
    ks: float
    stderr: float
    tail: np.ndarray
    count: int


def fit(values: np.ndarray) -> PowerLaw | None:
    """The best power law of an upper tail; None where no two values differ or fewer than two are.

    Args:
        values: Positive, smallest first.
    """
    count = len(values)
    if count < 2 or values[0] == values[-1]:
        return None
    logs = np.log(values)
    sizes = count - np.arange(count - 1)
    sums = np.cumsum(logs[::-1])[::-1][:-1] - sizes * logs[:-1]
    with np.errstate(divide="ignore", invalid="ignore"):
        if count < SMALL:
            alphas, start, distance = _few(logs, sizes, sums)
        else:
            alphas = 1 + sizes / sums
            start, distance = _least(logs, alphas, sizes)
    if start is None or not np.isfinite(alphas[start]):
        return None
    alpha = float(alphas[start])
    spread = (alpha - 1) / np.sqrt(sizes[start])
    # Equal values below the start belong to the tail, as they would in any data.
    tail = values[np.searchsorted(values, values[start], "left") :]
    return PowerLaw(alpha, float(values[start]), distance, float(spread), tail, count)


def distance_of(logs: np.ndarray, alpha: float) -> float:
    """The KS distance of a tail, given as sorted logarithms, from its power law."""
    fitted = -np.expm1((1 - alpha) * (logs - logs[0]))
    return float(np.max(np.abs(fitted - np.arange(len(logs)) / len(logs))))


def _least(logs: np.ndarray, alphas: np.ndarray, sizes: np.ndarray) -> tuple[int | None, float]:
    """The start of the least distance, the first of equal ones."""
    bounds = _lower_bounds(logs, alphas, sizes)
    best, least = None, np.inf
    for start in np.argsort(bounds, kind="stable"):
        if bounds[start] > least:
            break
        if not 1 < alphas[start] < np.inf:
            continue
        distance = distance_of(logs[start:], alphas[start])
        if distance < least or (distance == least and best is not None and start < best):
            best, least = int(start), distance
    return best, least


def _lower_bounds(logs: np.ndarray, alphas: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """For each start, the largest distance at some of the points of its tail."""
    starts = np.arange(len(alphas))
    bounds = np.zeros(len(alphas))
    for part in np.arange(1, _POINTS + 1) / _POINTS:
        steps = np.minimum((part * sizes).astype(int), sizes - 1)
        fitted = -np.expm1((1 - alphas) * (logs[starts + steps] - logs[starts]))
        np.maximum(bounds, np.abs(fitted - steps / sizes), out=bounds)
    # Rounding must not put a bound above the distance that it bounds.
    return np.where(np.isfinite(bounds), bounds - 1e-12, 0.0)


def _few(
    logs: np.ndarray, sizes: np.ndarray, sums: np.ndarray
) -> tuple[np.ndarray, int | None, float]:
    """Few values: the exponent without its bias, and no tail shorter than eight."""
    alphas = 1 + (sizes - 1) / sums
    best, least = None, np.inf
    for start in range(len(alphas)):
        if (sizes[start] < _SHORTEST and len(logs) >= _SHORTEST) or sums[start] <= 1e-12:
            continue
        if len(logs) < _SHORTEST and start:
            break
        distance = distance_of(logs[start:], alphas[start])
        if alphas[start] > 1 and distance < least:
            best, least = start, distance
    return alphas, best, least
