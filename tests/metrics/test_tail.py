"""The fit of the tail: what pruning leaves out, it leaves out rightly."""

import numpy as np
import pytest

import steelyard as sy
from steelyard.metrics._bootstrap import goodness_of_fit, interval
from steelyard.metrics._tail import fit

pytestmark = pytest.mark.no_keras


def every_start(values):
    """All candidates in full, as the definition says."""
    logs, best = np.log(values), None
    count = len(values)
    for k in range(count - 1):
        n = count - k
        total = np.sum(logs[k:] - logs[k])
        if total <= 0 or (count < 20 and n < 8):
            continue
        alpha = 1 + (n - (count < 20)) / total
        fitted = 1 - (values[k:] / values[k]) ** (1 - alpha)
        distance = np.max(np.abs(fitted - np.arange(n) / n))
        if best is None or distance < best[2] - 1e-14:
            best = (alpha, values[k], distance, n)
    return best


def samples():
    rng = np.random.default_rng(0)
    for size in (8, 19, 20, 21, 50, 300):
        yield rng.pareto(1.5, size) + 1
        yield rng.exponential(size=size)
        yield np.exp(rng.normal(scale=2, size=size))
        yield rng.random(size)
        yield np.linalg.svd(rng.normal(size=(2 * size, size)), compute_uv=False) ** 2
        yield np.round(rng.pareto(2, size) + 1, 1)  # with equal values
        yield np.concatenate([rng.random(size // 2), rng.pareto(1, size - size // 2) + 2])


@pytest.mark.parametrize("values", map(np.sort, samples()))
def test_the_same_as_every_start_in_full(values):
    found = fit(values)
    alpha, xmin, distance, _ = every_start(values)
    assert found.alpha == pytest.approx(alpha, rel=1e-12)
    assert found.xmin == xmin
    assert found.ks == pytest.approx(distance, rel=1e-11)
    assert len(found.tail) == np.count_nonzero(values >= xmin)
    assert found.count == len(values)


def test_few_are_worked_out_in_full(monkeypatch):
    from steelyard.metrics import _tail

    worked = []
    real = _tail.distance_of
    monkeypatch.setattr(_tail, "distance_of", lambda *a: worked.append(1) or real(*a))
    fit(np.sort(np.random.default_rng(0).pareto(1.5, 2000) + 1))
    assert len(worked) < 200


@pytest.mark.parametrize("alpha", [1.5, 2.0, 3.0, 5.0])
def test_recovers_the_exponent_and_its_error(alpha):
    errors = []
    for seed in range(30):
        u = np.random.default_rng(seed).random(2000)
        found = fit(np.sort(u ** (-1 / (alpha - 1))))
        errors.append((found.alpha - alpha) / found.stderr)
    assert abs(np.mean(errors)) < 1.5
    assert 0.5 < np.std(errors) < 2.5


@pytest.mark.parametrize("values", [[], [1.0], [2.0, 2.0], [3.0] * 30])
def test_nothing_to_fit(values):
    assert fit(np.array(values)) is None


def test_the_bootstrap_tells_a_power_law_from_none():
    rng = np.random.default_rng(1)
    power = np.sort(rng.pareto(1.5, 300) + 1)
    assert goodness_of_fit(power, fit(power), draws=100) > 0.1
    body = np.sort(np.concatenate([rng.uniform(0.9, 1.0, 250), [5.0, 5.1, 5.2] * 20]))
    assert goodness_of_fit(body, fit(body), draws=100) < 0.1


def test_the_interval_holds_the_exponent():
    values = np.sort(np.random.default_rng(2).pareto(1.5, 500) + 1)
    low, high = interval(values, resamples=100)
    assert low < fit(values).alpha < high
    assert low - 0.1 < 2.5 < high + 0.1
    assert high - low < 2.0
    assert interval(values, resamples=100) == (low, high)


def test_hill():
    u = np.random.default_rng(3).random(4000)
    sigmas = np.sort(u ** (-1 / (2.0 - 1)))[::-1] ** 0.5
    got = sy.metrics._powerlaw.hill(sigmas**2)
    assert got == pytest.approx(2.0, abs=0.1)


def test_farms_is_free_of_the_aspect_ratio():
    rng = np.random.default_rng(4)
    exponents, corrected = [], []
    for rows in (128, 512, 2048):
        w = rng.normal(size=(rows, 128)).astype("float32")
        exponents.append(sy.metrics.hill_alpha(w))
        corrected.append(sy.metrics.farms_alpha(w))
    assert max(exponents) - min(exponents) > 1.0
    assert max(corrected) - min(corrected) < 0.1
