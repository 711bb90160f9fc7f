"""How sure an exponent is, by fitting it again to data drawn anew."""

from __future__ import annotations

import numpy as np

from steelyard.metrics._tail import PowerLaw, fit

_SEED = 0x5EED
# p to ±0.01 wants about 2,500 (Clauset, section 4.1); ±0.02 is enough to decide at 0.1.
_DRAWS = 600
_RESAMPLES = 400


def goodness_of_fit(values: np.ndarray, found: PowerLaw, draws: int = _DRAWS) -> float:
    """The share of synthetic data sets that fit worse than the real one did.

    Semi-parametric, Clauset, Shalizi and Newman 2009, section 4.1: above the start of the tail from
    the power law, below from the values themselves; the start is sought again in each.

    Args:
        values: All values, smallest first.
        found: Their fit.
        draws: How many data sets; the error of the share is 1/(2√draws).
    """
    generator = np.random.default_rng(_SEED)
    body = values[: len(values) - len(found.tail)]
    share = len(found.tail) / len(values)
    worse = 0
    for _ in range(draws):
        size = int(generator.binomial(len(values), share)) if len(body) else len(values)
        tail = found.xmin * generator.random(size) ** (-1 / (found.alpha - 1))
        rest = generator.choice(body, len(values) - size) if len(body) else body
        again = fit(np.sort(np.concatenate([rest, tail])))
        worse += again is not None and again.ks >= found.ks
    return worse / draws


def interval(values: np.ndarray, resamples: int = _RESAMPLES) -> tuple[float, float]:
    """The 95% percentile interval of the exponent over resamples of all values, start and all."""
    generator = np.random.default_rng(_SEED)
    fits = (fit(np.sort(generator.choice(values, len(values)))) for _ in range(resamples))
    alphas = [found.alpha for found in fits if found is not None]
    low, high = np.quantile(alphas, (0.025, 0.975))
    return float(low), float(high)
