"""Norms, ranks and conditions out of the singular values of a weight."""

from __future__ import annotations

from typing import Any

import numpy as np

from steelyard.metrics._answer import Answer, undefined
from steelyard.metrics._catalog import metric
from steelyard.metrics._spectrum import Largest, Spectrum

_ZERO = "all entries are 0"


@metric(
    "spectral", unit="w", range="[0, inf)", source="Golub and Van Loan 2013, 2.3", in_graph=True
)
def spectral_norm(largest: Largest) -> Any:
    """The largest singular value σ₁: how far the weight can stretch an input."""
    value, bound = largest.largest
    return value if bound is None else Answer(value, bound=bound)


@metric("spectral", unit="w²", range="[0, inf)", source="WeightWatcher, lambda_max", in_graph=True)
def lambda_max(largest: Largest) -> Any:
    """The largest eigenvalue λ₁ = σ₁² of the Gram matrix."""
    value, bound = largest.largest
    return value**2 if bound is None else Answer(value**2, bound=(2 * value + bound) * bound)


@metric("spectral", range="[1, rank]", source="Rudelson and Vershynin 2007", in_graph=True)
def stable_rank(largest: Largest) -> Any:
    """The squared Frobenius norm over the squared spectral norm."""
    value, bound = largest.largest
    if bound is None and largest.xp is not np:
        return largest.frobenius_squared / largest.xp.square(value)
    if value == 0:
        return undefined(_ZERO)
    rank = max(1.0, largest.frobenius_squared / value**2)
    return (
        rank if bound is None else Answer(rank, bound=rank * (1 - (value / (value + bound)) ** 2))
    )


@metric(
    "spectral", unit="w", range="[0, inf)", source="Golub and Van Loan 2013, 2.4", in_graph=True
)
def sigma_min(spectrum: Spectrum) -> Any:
    """The smallest singular value, of as many as the shorter side has."""
    return spectrum.exact[-1]


@metric(
    "spectral", unit="w", range="[0, inf)", source="Horn and Johnson 2013, 7.4.7", in_graph=True
)
def nuclear_norm(spectrum: Spectrum) -> Any:
    """The sum of all singular values: the Schatten 1-norm."""
    return spectrum.xp.sum(spectrum.values)


@metric(
    "spectral", unit="w", range="[0, inf)", source="Horn and Johnson 2013, 7.4.7", in_graph=True
)
def schatten_4_norm(spectrum: Spectrum) -> Any:
    """The fourth root of the sum of the fourth powers of all singular values."""
    top = spectrum.values[0]
    if spectrum.xp is np and top == 0:
        return 0.0
    return top * spectrum.xp.sum((spectrum.values / top) ** 4) ** 0.25


@metric("spectral", range="[1, rank]", source="Roy and Vetterli 2007", in_graph=True)
def effective_rank(spectrum: Spectrum) -> Any:
    """The exponential of the entropy of the singular values, taken as shares of their sum."""
    if spectrum.xp is np and spectrum.values[0] == 0:
        return undefined(_ZERO)
    shares = spectrum.values / spectrum.xp.sum(spectrum.values)
    return spectrum.xp.exp(_entropy(shares, spectrum.xp))


@metric("spectral", unit="count", range="[0, M]", source="NumPy, linalg.matrix_rank")
def numerical_rank(spectrum: Spectrum) -> Any:
    """How many singular values are above σ₁·N·ε: those that rounding alone could not give."""
    return numerical_rank_of(spectrum, spectrum.matrices.eps)


def numerical_rank_of(spectrum: Spectrum, eps: float) -> int:
    """The numerical rank for a rounding unit."""
    if spectrum.compat == "weightwatcher":
        eps = float(np.finfo("float64").eps)
    values = spectrum.values
    threshold = values[0] * spectrum.long * eps
    if threshold < 1e-6 * values[0]:
        values = spectrum.exact
    return int(np.count_nonzero(values > threshold))


@metric("spectral", range="[1, inf]", source="Golub and Van Loan 2013, 2.6.2", in_graph=True)
def condition_number(spectrum: Spectrum) -> Any:
    """The largest singular value over the smallest; infinite where the smallest is 0."""
    values = spectrum.exact
    if spectrum.xp is not np:
        return values[0] / values[-1]
    if values[0] == 0:
        return undefined(_ZERO)
    return float(values[0] / values[-1]) if values[-1] > 0 else np.inf


@metric("spectral", range="[0, 1]", source="WeightWatcher, entropy")
def spectral_entropy(spectrum: Spectrum) -> Any:
    """The entropy of the λ as shares of their sum, over the logarithm of the rank: 1 is flat."""
    if spectrum.values[0] == 0:
        return undefined(_ZERO)
    squares = np.square(spectrum.values / spectrum.values[0])  # which cannot overflow
    shares = squares / np.sum(squares)
    if spectrum.compat == "weightwatcher":
        shares, rank = shares + 1e-10, numerical_rank_of(spectrum, 0.0) + 1e-10
        return float(-np.sum(shares * np.log(shares)) / np.log(rank))
    rank = numerical_rank_of(spectrum, spectrum.matrices.eps)
    if rank < 2:
        return undefined("a matrix of rank 1 has a single share")
    return float(_entropy(shares, np) / np.log(rank))


@metric("spectral", unit="w", range="[0, inf)", source="Golub and Van Loan 2013, 2.4")
def singular_values(spectrum: Spectrum) -> Any:
    """All singular values, the largest first."""
    return tuple(map(float, spectrum.exact))


@metric("spectral", range="[0, 64]", source="Martin and Mahoney 2021, ESD")
def spectral_density(spectrum: Spectrum) -> Any:
    """The density of λ/λ₁ in 64 equal parts of [0, 1], whose mean is 1."""
    if spectrum.values[0] == 0:
        return undefined(_ZERO)
    shares = spectrum.squares / spectrum.squares[0]
    return tuple(map(float, np.histogram(shares, 64, (0.0, 1.0), density=True)[0]))


def _entropy(shares: Any, xp: Any) -> Any:
    # 0·log 0 is 0, and so is its slope here.
    safe = xp.where(shares > 0, shares, 1.0)
    return -xp.sum(shares * xp.log(safe))
