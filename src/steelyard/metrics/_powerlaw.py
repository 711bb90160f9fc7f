"""How heavy the tail of a spectrum is, and whether the question makes sense for it."""

from __future__ import annotations

from typing import Any

import numpy as np

from steelyard.metrics import _alternatives
from steelyard.metrics._answer import undefined, weak
from steelyard.metrics._bootstrap import goodness_of_fit, interval
from steelyard.metrics._catalog import metric
from steelyard.metrics._spectrum import RESOLVED, Spectrum
from steelyard.metrics._tail import SMALL, PowerLaw, fit

_CLAUSET = "Clauset, Shalizi and Newman 2009"
_WEIGHTWATCHER = "Martin, Peng and Mahoney 2021"
_VUONG = "Clauset, Shalizi and Newman 2009, appendix C; Vuong 1989"


def tail_of(spectrum: Spectrum) -> PowerLaw | None:
    """The fit to the eigenvalues λ, worked out once."""
    if "tail" not in spectrum.kept:
        spectrum.kept["tail"] = fit(_fitted(spectrum))
    return spectrum.kept["tail"]


def _fitted(spectrum: Spectrum) -> np.ndarray:
    """The λ that take part, smallest first: in all scales those that are resolved."""
    if spectrum.compat == "weightwatcher":
        squares = spectrum.exact[::-1] ** 2
        return squares[squares > 1e-5]
    squares = spectrum.squares[::-1]
    return squares[squares > (RESOLVED**2) * squares[-1]]


def doubt(spectrum: Spectrum) -> str:
    """Why the exponent says little; empty where it may be taken for what it is."""
    if "doubt" not in spectrum.kept:
        spectrum.kept["doubt"] = _doubt(spectrum)
    return spectrum.kept["doubt"]


def _doubt(spectrum: Spectrum) -> str:
    found = tail_of(spectrum)
    if spectrum.compat == "weightwatcher" or found is None:
        return ""
    if found.count < SMALL:
        return f"only {found.count} eigenvalues"
    if len(found.tail) < _ENOUGH:
        return f"only {len(found.tail)} eigenvalues in the tail"
    if reason := noise(spectrum):
        return reason
    ratio, p = _alternatives.against(found, "exponential")
    if ratio < 0 and p < 0.05:
        return "an exponential fits the tail significantly better than a power law"
    return ""


_ENOUGH = 10


def noise(spectrum: Spectrum) -> str:
    """Why all of the spectrum may be that of a random matrix; empty where some of it is not."""
    if spectrum.squares[0] > random_edge(spectrum):
        return ""
    return (
        "no eigenvalue is above the edge of a random matrix of the same variance: noise could have "
        "given this tail"
    )


def random_edge(spectrum: Spectrum) -> float:
    """Where the λ of independent entries of this variance end (Marchenko and Pastur 1967).

    With three times the width of the fluctuation there (Tracy and Widom; Johnstone 2001).
    """
    long, short = spectrum.long, spectrum.short
    variance = spectrum.frobenius_squared / (long * short * spectrum.matrices.count)
    root = np.sqrt(long) + np.sqrt(short)
    width = root * (1 / np.sqrt(long) + 1 / np.sqrt(short)) ** (1 / 3)
    return float(variance * (root**2 + 3 * width))


def _said(spectrum: Spectrum, take: Any) -> Any:
    found = tail_of(spectrum)
    if found is None:
        return undefined("fewer than two different eigenvalues")
    value, reason = take(found), doubt(spectrum)
    return weak(value, reason) if reason else value


@metric("powerlaw", range="(1, inf)", source=_CLAUSET)
def alpha(spectrum: Spectrum) -> Any:
    """The exponent of the power law that fits the tail of the λ; smaller is heavier."""
    return _said(spectrum, lambda found: found.alpha)


@metric("powerlaw", unit="w²", range="(0, inf)", source=_CLAUSET)
def alpha_xmin(spectrum: Spectrum) -> Any:
    """Where the tail that the power law fits begins."""
    return _said(spectrum, lambda found: found.xmin)


@metric("powerlaw", range="[0, 1]", source=_CLAUSET)
def alpha_ks(spectrum: Spectrum) -> Any:
    """The Kolmogorov-Smirnov distance between the tail and its power law."""
    return _said(spectrum, lambda found: found.ks)


@metric("powerlaw", range="[0, inf)", source=_CLAUSET)
def alpha_stderr(spectrum: Spectrum) -> Any:
    """The standard error of `alpha` for a tail that does begin there: (α-1)/√n."""
    return _said(spectrum, lambda found: found.stderr)


@metric("powerlaw", unit="count", range="[2, M]", source=_CLAUSET)
def alpha_tail_size(spectrum: Spectrum) -> Any:
    """How many eigenvalues the tail has."""
    return _said(spectrum, lambda found: len(found.tail))


@metric("powerlaw", source=_WEIGHTWATCHER)
def alpha_weighted(spectrum: Spectrum) -> Any:
    """The exponent times the decimal logarithm of λ₁."""
    return _said(spectrum, lambda found: found.alpha * np.log10(spectrum.squares[0]))


@metric("powerlaw", source=_WEIGHTWATCHER)
def log_alpha_norm(spectrum: Spectrum) -> Any:
    """The decimal logarithm of the sum of all λ to the power of the exponent."""

    def norm(found: PowerLaw) -> float:
        top = spectrum.squares[0]
        shares = spectrum.squares / top
        return float(found.alpha * np.log10(top) + np.log10(np.sum(shares**found.alpha)))

    return _said(spectrum, norm)


@metric("powerlaw", range="(1, inf)", source="Hill 1975")
def hill_alpha(spectrum: Spectrum) -> Any:
    """The exponent by Hill's estimator from the upper half of the λ: cheap, with a fixed tail."""
    return hill(spectrum.squares, noise(spectrum))


def hill(squares: np.ndarray, reason: str = "") -> Any:
    """Hill's estimator from the upper half of the λ, sorted from the largest on.

    Args:
        squares: The λ; those that are not resolved take no part.
        reason: Why the exponent would say little, if it does.
    """
    squares = squares[squares > RESOLVED**2 * squares[0]]
    size = len(squares) // 2
    if size < 1 or squares[0] == squares[size]:
        return undefined("too few different eigenvalues")
    exponent = float(1 + size / np.sum(np.log(squares[:size] / squares[size])))
    if len(squares) < SMALL:
        reason = f"only {len(squares)} eigenvalues"
    return weak(exponent, reason) if reason else exponent


@metric("powerlaw", unit="1", range="[0, 1]", source=_CLAUSET, on_demand=True)
def alpha_p_value(spectrum: Spectrum) -> Any:
    """How often data that follow the power law fit it worse; below 0.1 speaks against it."""
    return _said(spectrum, lambda found: goodness_of_fit(_fitted(spectrum), found))


@metric("powerlaw", range="(1, inf)", source=f"Efron 1979; {_CLAUSET}", on_demand=True)
def alpha_low(spectrum: Spectrum) -> Any:
    """The lower end of the 95% bootstrap interval of `alpha`."""
    return _said(spectrum, lambda found: _interval(spectrum)[0])


@metric("powerlaw", range="(1, inf)", source=f"Efron 1979; {_CLAUSET}", on_demand=True)
def alpha_high(spectrum: Spectrum) -> Any:
    """The upper end of the 95% bootstrap interval of `alpha`."""
    return _said(spectrum, lambda found: _interval(spectrum)[1])


def _interval(spectrum: Spectrum) -> tuple[float, float]:
    if "interval" not in spectrum.kept:
        spectrum.kept["interval"] = interval(_fitted(spectrum))
    return spectrum.kept["interval"]


# --- Other tails ---------------------------------------------------------------------------------


@metric("powerlaw", range="name", source=_VUONG, on_demand=True)
def tail_model(spectrum: Spectrum) -> Any:
    """Which tail fits: another one where the likelihoods speak against the power law (p < 0.05)."""

    def choose(found: PowerLaw) -> str:
        ratios = {name: _alternatives.against(found, name) for name in _alternatives.MODELS}
        better = {name: r for name, (r, p) in ratios.items() if r < 0 and p < 0.05}
        return min(better, key=better.__getitem__) if better else "power law"

    found = tail_of(spectrum)
    if found is None or len(found.tail) < 3:
        return undefined("fewer than three eigenvalues in the tail")
    reason = noise(spectrum) or (len(found.tail) < _ENOUGH and doubt(spectrum))
    return weak(choose(found), reason) if reason else choose(found)


def _ratio(spectrum: Spectrum, name: str) -> Any:
    found = tail_of(spectrum)
    if found is None or len(found.tail) < 3:
        return undefined("fewer than three eigenvalues in the tail")
    ratio, p = _alternatives.against(found, name)
    if p > 0.1:
        return weak(ratio, f"the likelihoods do not tell the two apart (p = {p:.2g})")
    return ratio


@metric("powerlaw", source=_VUONG, on_demand=True)
def ratio_truncated(spectrum: Spectrum) -> Any:
    """The log-likelihood ratio of the power law to one with a cutoff; never positive."""
    return _ratio(spectrum, "truncated power law")


@metric("powerlaw", source=_VUONG, on_demand=True)
def ratio_exponential(spectrum: Spectrum) -> Any:
    """Vuong's ratio of the power law to an exponential; negative speaks for the exponential."""
    return _ratio(spectrum, "exponential")


@metric("powerlaw", source=_VUONG, on_demand=True)
def ratio_lognormal(spectrum: Spectrum) -> Any:
    """Vuong's ratio of the power law to a log-normal; negative speaks for the log-normal."""
    return _ratio(spectrum, "log-normal")


def _parameter(spectrum: Spectrum, name: str, index: int) -> Any:
    found = tail_of(spectrum)
    if found is None or len(found.tail) < 3:
        return undefined("fewer than three eigenvalues in the tail")
    values, settled = _alternatives.parameters(found, name)
    if not settled:
        return weak(values[index], "the likelihood is largest at the edge of what was searched")
    return values[index]


@metric("powerlaw", source=_CLAUSET, on_demand=True)
def truncated_alpha(spectrum: Spectrum) -> Any:
    """The exponent of the power law with an exponential cutoff, x^-α·e^-λx."""
    return _parameter(spectrum, "truncated power law", 0)


@metric("powerlaw", unit="w⁻²", range="[0, inf)", source=_CLAUSET, on_demand=True)
def truncated_rate(spectrum: Spectrum) -> Any:
    """The rate of the cutoff of the power law with an exponential cutoff; 0 is no cutoff."""
    return _parameter(spectrum, "truncated power law", 1)


@metric("powerlaw", unit="w⁻²", range="(0, inf)", source=_CLAUSET, on_demand=True)
def exponential_rate(spectrum: Spectrum) -> Any:
    """The rate of the exponential that fits the tail."""
    return _parameter(spectrum, "exponential", 0)


@metric("powerlaw", source=_CLAUSET, on_demand=True)
def lognormal_mu(spectrum: Spectrum) -> Any:
    """The mean of the logarithms of the log-normal that fits the tail."""
    return _parameter(spectrum, "log-normal", 0)


@metric("powerlaw", range="(0, inf)", source=_CLAUSET, on_demand=True)
def lognormal_sigma(spectrum: Spectrum) -> Any:
    """The standard deviation of the logarithms of the log-normal that fits the tail."""
    return _parameter(spectrum, "log-normal", 1)
