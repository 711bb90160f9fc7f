"""The random bulk of a spectrum, and what stands out of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from steelyard.metrics._answer import undefined, weak
from steelyard.metrics._catalog import metric
from steelyard.metrics._matrix import Matrices
from steelyard.metrics._powerlaw import hill, noise
from steelyard.metrics._spectrum import Spectrum
from steelyard.metrics._tail import SMALL

_MARTIN = "Martin and Mahoney 2021, 5; Marchenko and Pastur 1967"
_ZERO = "all entries are 0"
_POINTS = 1000
_BANDWIDTH = 0.1
_THIN = 0.01


class Bulk(NamedTuple):
    """A Marchenko-Pastur law fitted to eigenvalues of mean 1.

    Args:
        sigma: The standard deviation of the entries that the bulk speaks of, of all being 1.
        low: Where the bulk begins, in the unit of the λ.
        high: Where it ends.
        spikes: How many λ are above the end and its fluctuation.
        softrank: The end over λ₁.
    """

    sigma: float
    low: float
    high: float
    spikes: int
    softrank: float


def fit_bulk(squares: np.ndarray, long: int, short: int) -> Bulk | None:
    """The Marchenko-Pastur law nearest to a smoothed spectrum; None where all λ are 0.

    Least squares between the law's density and a triangular kernel density of bandwidth 0.1 at
    1,000 points, as WeightWatcher does; for square matrices the quarter circle of the σ.

    Args:
        squares: The λ, in any order.
        long: N, the longer side.
        short: M, the shorter side.
    """
    if not np.max(squares) > 0:
        return None
    scale = float(len(squares) / np.sum(squares))
    scaled = np.sort(squares) * scale
    ratio = long / short
    inner = np.sqrt(1 / ratio)
    sigma = _nearest(scaled, ratio)
    high, low = (sigma * (1 + inner)) ** 2, (sigma * (1 - inner)) ** 2
    fluctuation = np.sqrt(inner * high ** (2 / 3) * short ** (-2 / 3))
    spikes = int(np.count_nonzero(scaled > high + fluctuation))
    return Bulk(sigma, low / scale, high / scale, spikes, float(high / scaled[-1]))


def _nearest(scaled: np.ndarray, ratio: float) -> float:
    """The σ of the least squares: the best of a grid, refined by a simplex."""
    from scipy.optimize import fmin

    points, density = _smoothed(np.sqrt(scaled) if ratio == 1 else scaled)
    peak = points[np.argmax(density)]

    def misfit(sigma: float) -> float:
        if ratio == 1:
            law = np.sqrt(np.maximum(4 - points**2, 0.0)) / (np.pi * sigma**2)
            return float(np.sum((law - density) ** 2))
        high = (sigma * (1 + np.sqrt(1 / ratio))) ** 2
        low = (sigma * (1 - np.sqrt(1 / ratio))) ** 2
        if high < peak or high > points[-1] or low > peak:
            return 1e6 * len(points)
        inside = np.maximum((high - points) * (points - low), 0.0)
        with np.errstate(divide="ignore", invalid="ignore"):
            law = np.sqrt(inside) * ratio / (2 * np.pi * sigma**2 * points)
        law = np.where(inside > 0, law, 0.0)
        return float(np.sum((law - density) ** 2))

    step = np.sqrt(scaled[-1]) / (1 + 1 / np.sqrt(ratio))
    grid = np.arange(0.05 * step, 2.0 * step, 0.01 * step)
    start = grid[np.argmin([misfit(sigma) for sigma in grid])]
    return float(fmin(lambda p: misfit(p[0]), start, disp=False)[0])


def _smoothed(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A triangular kernel density of sorted values, at equal points where there is any."""
    points = np.linspace(0, values[-1] + 0.5, _POINTS)
    sums = np.concatenate([[0.0], np.cumsum(values)])
    left, middle, right = (
        np.searchsorted(values, points + shift) for shift in (-_BANDWIDTH, 0.0, _BANDWIDTH)
    )
    # Of the values within the bandwidth, the sum of 1 - distance/bandwidth.
    below = (middle - left) * points - (sums[middle] - sums[left])
    above = (sums[right] - sums[middle]) - (right - middle) * points
    density = ((right - left) - (below + above) / _BANDWIDTH) / (len(values) * _BANDWIDTH)
    kept = density > _THIN
    return points[kept], density[kept]


def bulk_of(spectrum: Spectrum) -> Bulk | None:
    """The fit to all λ, worked out once."""
    if "bulk" not in spectrum.kept:
        squares = spectrum.exact**2 if spectrum.compat else spectrum.squares
        spectrum.kept["bulk"] = fit_bulk(squares, spectrum.long, spectrum.short)
    return spectrum.kept["bulk"]


def _of(spectrum: Spectrum, found: Bulk | None, name: str) -> Any:
    if found is None:
        return undefined(_ZERO)
    value, count = getattr(found, name), len(spectrum.values)
    if count < SMALL and not spectrum.compat:
        return weak(value, f"only {count} eigenvalues")
    return value


@metric("bulk", range="(0, inf)", source=_MARTIN)
def mp_sigma(spectrum: Spectrum) -> Any:
    """The share of the entries' standard deviation that the random bulk accounts for."""
    return _of(spectrum, bulk_of(spectrum), "sigma")


@metric("bulk", unit="count", range="[0, M]", source=_MARTIN)
def mp_spikes(spectrum: Spectrum) -> Any:
    """How many eigenvalues stand out above the random bulk."""
    return _of(spectrum, bulk_of(spectrum), "spikes")


@metric("bulk", range="(0, inf)", source=_MARTIN)
def mp_softrank(spectrum: Spectrum) -> Any:
    """The end of the random bulk over λ₁: 1 is all bulk, near 0 is all signal."""
    return _of(spectrum, bulk_of(spectrum), "softrank")


@metric("bulk", unit="w²", range="[0, inf)", source=_MARTIN)
def mp_bulk_min(spectrum: Spectrum) -> Any:
    """Where the random bulk of the λ begins."""
    return _of(spectrum, bulk_of(spectrum), "low")


@metric("bulk", unit="w²", range="(0, inf)", source=_MARTIN)
def mp_bulk_max(spectrum: Spectrum) -> Any:
    """Where the random bulk of the λ ends."""
    return _of(spectrum, bulk_of(spectrum), "high")


@metric("bulk", unit="count", range="[1, M]", source="WeightWatcher, num_ERG_spikes")
def erg_spikes(spectrum: Spectrum) -> Any:
    """How many of the largest λ, rescaled to mean 1, are needed for a product below 1.

    The condition of the exact renormalization group on where the tail begins.
    """
    squares = spectrum.exact**2 if spectrum.compat else spectrum.squares
    if squares[0] == 0 or squares[0] == squares[-1]:
        return undefined("no two eigenvalues differ")
    return tail_of_product_one(squares)


def tail_of_product_one(squares: np.ndarray) -> int:
    """How many of the largest values, rescaled to mean 1, have a product below 1 together."""
    with np.errstate(divide="ignore"):
        # By logarithms: the product of thousands leaves the range of floats on the way.
        logs = np.cumsum(np.log(squares * (len(squares) / np.sum(squares))))
    below = np.flatnonzero(logs[:-1] < 0)
    return int(below[0]) + 1 if len(below) else len(squares)


# --- After the entries are permuted --------------------------------------------------------------


class Permuted(NamedTuple):
    """What is left of a spectrum when the entries of the weight change places at random."""

    squares: np.ndarray
    bulk: Bulk | None


_REPEATED = 100


def permuted(matrices: Matrices) -> Permuted:
    """The λ of the matrices with their entries permuted, by a generator of a fixed seed.

    Five times where there are fewer than a hundred, as WeightWatcher does.
    """
    generator = np.random.default_rng(0x5EED)
    times = 5 if matrices.short * matrices.count < _REPEATED else 1
    found = []
    for _ in range(times):
        blocks = [generator.permutation(b.ravel()).reshape(b.shape) for b in matrices.blocks]
        found.append(Spectrum(replace(matrices, blocks=np.stack(blocks))).squares)
    squares = np.sort(np.concatenate(found))[::-1]
    return Permuted(squares, fit_bulk(squares, matrices.long, matrices.short))


def _permuted(spectrum: Spectrum) -> Permuted:
    if "permuted" not in spectrum.kept:
        spectrum.kept["permuted"] = permuted(spectrum.matrices)
    return spectrum.kept["permuted"]


_TRAPS = "Martin and Mahoney 2021; WeightWatcher, randomize"


@metric("random", range="(0, inf)", source=_TRAPS)
def rand_sigma(spectrum: Spectrum) -> Any:
    """`mp_sigma` after the entries are permuted: near 1 unless some entries are far too large."""
    return _of(spectrum, _permuted(spectrum).bulk, "sigma")


@metric("random", unit="count", range="[0, M]", source=_TRAPS)
def rand_spikes(spectrum: Spectrum) -> Any:
    """`mp_spikes` after the entries are permuted: traps, due to single large entries."""
    return _of(spectrum, _permuted(spectrum).bulk, "spikes")


@metric("random", range="(0, inf)", source=_TRAPS)
def rand_softrank(spectrum: Spectrum) -> Any:
    """λ₁ after the entries are permuted over λ₁ before: near 1, there is no structure."""
    if spectrum.values[0] == 0:
        return undefined(_ZERO)
    return float(_permuted(spectrum).squares[0] / spectrum.squares[0])


@metric("random", unit="w²", range="[0, inf)", source=_TRAPS)
def rand_lambda_max(spectrum: Spectrum) -> Any:
    """λ₁ after the entries are permuted."""
    return float(_permuted(spectrum).squares[0])


@metric("random", range="[0, 0.833]", source=f"Lin 1991; {_TRAPS}")
def rand_distance(spectrum: Spectrum) -> Any:
    """The Jensen-Shannon distance between the λ and those after the entries are permuted."""
    squares = spectrum.squares
    if squares[0] == 0:
        return undefined(_ZERO)
    others = _permuted(spectrum).squares
    others = np.sort(others.reshape(-1))[::-1]
    if len(others) > len(squares):  # several draws: the mean of each place
        others = others.reshape(len(squares), -1).mean(1)
    p, q = squares / np.sum(squares), others / np.sum(others)
    middle = (p + q) / 2
    divergence = (_divergence(p, middle) + _divergence(q, middle)) / 2
    return float(np.sqrt(max(divergence, 0.0)))


def _divergence(p: np.ndarray, q: np.ndarray) -> float:
    there = p > 0
    return float(np.sum(p[there] * np.log(p[there] / q[there])))


# --- Whatever the aspect ratio -------------------------------------------------------------------


@metric("powerlaw", range="(1, inf)", source="Hu et al. 2025, FARMS; Hill 1975", on_demand=True)
def farms_alpha(matrices: Matrices) -> Any:
    """Hill's exponent of the λ of square submatrices: without the bias of the aspect ratio.

    Windows of M×M along the longer side, as few as cover it, evenly spread; their spectra pooled.
    """
    side = matrices.short
    count = -(-matrices.long // side)
    starts = np.linspace(0, matrices.long - side, count).round().astype(int)
    found = []
    for block in matrices.blocks:
        tall = block if block.shape[0] >= block.shape[1] else block.T
        windows = np.stack([tall[start : start + side] for start in starts])
        found.append(Spectrum(Matrices(windows, eps=matrices.eps)).squares)
    squares = np.sort(np.concatenate(found))[::-1]
    return hill(squares, noise(Spectrum(matrices)))
