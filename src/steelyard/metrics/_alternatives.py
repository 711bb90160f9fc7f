"""Other tails than the power law, each fitted by maximal likelihood to the same values.

Clauset, Shalizi and Newman 2009, table 2.1 and appendix C. All in units of the start of the tail,
so that the numbers are the same whatever the scale of the weight.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from steelyard.metrics._tail import PowerLaw

MODELS = ("truncated power law", "exponential", "log-normal")


def parameters(found: PowerLaw, name: str) -> tuple[tuple[float, ...], bool]:
    """The parameters of a model in the units of the values, and whether they are settled.

    Exponent and rate of the cutoff; rate; or mean and standard deviation of the logarithms. They
    are not settled where the likelihood still grows at the edge of what is searched.
    """
    one, *rest = _FITS[name](_scaled(found))[0]
    if name == "truncated power law":
        low, high = _cutoffs(one)[0]
        return (one, rest[0] / found.xmin), low + 1e-3 < one < high - 1e-3
    if name == "exponential":
        return (one / found.xmin,), True
    low, high = _LOGNORMAL[0]
    return (one + math.log(found.xmin), rest[0]), low + 1e-3 < one < high - 1e-3


def against(found: PowerLaw, name: str) -> tuple[float, float]:
    """How the power law does against a model: a ratio, negative where it does worse, and p.

    For the models that are no special case of each other, Vuong's ratio, normalized; p is the
    probability of one as large if both were as far from the truth. The truncated power law has the
    power law as a special case: the ratio of the log-likelihoods, and p by Wilks's theorem.
    """
    x = _scaled(found)
    logs = np.log(x)
    power = math.log(found.alpha - 1) - found.alpha * logs
    # The exponent of maximal likelihood for this tail, whatever correction was made to it.
    if (total := float(np.sum(logs))) > 0:
        best = 1 + len(x) / total
        power = math.log(best - 1) - best * logs
    other = _FITS[name](x)[1]
    difference = power - other
    ratio = float(np.sum(difference))
    if name == "truncated power law":
        return ratio, math.erfc(math.sqrt(max(-ratio, 0.0)))
    spread = float(np.std(difference)) * math.sqrt(len(x))
    if spread == 0:
        return 0.0, 1.0
    return ratio / spread, math.erfc(abs(ratio) / spread / math.sqrt(2))


def _scaled(found: PowerLaw) -> np.ndarray:
    return found.tail / found.xmin


def _exponential(x: np.ndarray) -> tuple[tuple[float, ...], np.ndarray]:
    rate = 1 / max(float(np.mean(x)) - 1, 1e-300)
    return (rate,), math.log(rate) - rate * (x - 1)


def _lognormal(x: np.ndarray) -> tuple[tuple[float, ...], np.ndarray]:
    from scipy.special import log_ndtr

    logs = np.log(x)

    def each(mu: float, sigma: float) -> np.ndarray:
        standard = (logs - mu) / sigma
        # Of the density above 1 only: its share is Φ(mu/sigma).
        norm = math.log(sigma) + 0.5 * math.log(2 * math.pi) + float(log_ndtr(mu / sigma))
        return -logs - 0.5 * standard**2 - norm

    start = np.array([float(np.mean(logs)), math.log(float(np.std(logs)) or 1.0)])
    mu, log_sigma = _maximize(
        lambda p: float(np.sum(each(p[0], math.exp(p[1])))), start, _LOGNORMAL
    )
    return (mu, math.exp(log_sigma)), each(mu, math.exp(log_sigma))


_LOGNORMAL = ((-50.0, 50.0), (-6.0, 6.0))


def _truncated(x: np.ndarray) -> tuple[tuple[float, ...], np.ndarray]:
    logs = np.log(x)
    exponent = 1 + len(x) / max(float(np.sum(logs)), 1e-300)

    def each(a: float, rate: float) -> np.ndarray:
        return -a * logs - rate * (x - 1) - log_tail_integral(a, rate)

    # The power law itself is the case of rate 0, so that the best is never worse.
    best, likelihood = (exponent, 0.0), float(np.sum(each(exponent, 0.0)))
    for rate in (0.01, 1.0):
        a, log_rate = _maximize(
            lambda p: float(np.sum(each(p[0], math.exp(p[1])))),
            np.array([exponent, math.log(rate)]),
            _cutoffs(exponent),
        )
        found = float(np.sum(each(a, math.exp(log_rate))))
        if found > likelihood:
            best, likelihood = (a, math.exp(log_rate)), found
    return best, each(*best)


def _cutoffs(exponent: float) -> tuple[tuple[float, float], ...]:
    """Where exponent and logarithm of the rate are searched."""
    return (-10.0, max(2 * exponent, 5.0)), (-20.0, 5.0)


_FITS: dict[str, Callable[[np.ndarray], tuple[tuple[float, ...], np.ndarray]]] = {
    "truncated power law": _truncated,
    "exponential": _exponential,
    "log-normal": _lognormal,
}


def log_tail_integral(a: float, rate: float) -> float:
    """The logarithm of ∫ x^-a·e^(-rate·(x-1)) dx over [1, ∞).

    By Gauss-Legendre quadrature in log x, over as far as the integrand is felt; relative error
    below 1e-10 for all parameters that the fit looks at.
    """
    if rate == 0:
        return -math.log(a - 1)
    # Substituted x = e^u: the integrand is e^((1-a)u - rate·(e^u - 1)).
    end = _end(a, rate)
    u = 0.5 * end * (_NODES + 1)
    exponents = (1 - a) * u - rate * np.expm1(u)
    top = float(np.max(exponents))
    return top + math.log(0.5 * end * float(np.sum(_WEIGHTS * np.exp(exponents - top))))


_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(120)


def _end(a: float, rate: float) -> float:
    """Where the integrand has fallen to e^-45 of its largest."""

    def value(u: float) -> float:
        return (1 - a) * u - rate * math.expm1(min(u, 700.0))

    peak = math.log((1 - a) / rate) if a < 1 and (1 - a) > rate else 0.0
    low, high = peak, peak + 1.0
    while value(high) > value(peak) - 45 and high < 700:
        low, high = high, 2 * high + 1
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (middle, high) if value(middle) > value(peak) - 45 else (low, middle)
    return high


def _maximize(
    likelihood: Callable[[Any], float], start: np.ndarray, bounds: tuple[tuple[float, float], ...]
) -> tuple[float, float]:
    from scipy.optimize import minimize

    inside = np.clip(start, [low for low, _ in bounds], [high for _, high in bounds])
    with np.errstate(all="ignore"):
        found = minimize(
            lambda p: -likelihood(p),
            inside,
            method="Nelder-Mead",
            bounds=bounds,
            options=dict(xatol=1e-9, fatol=1e-10, maxiter=2000),
        )
    return float(found.x[0]), float(found.x[1])
