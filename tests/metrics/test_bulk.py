"""The random bulk: the law, its density, and what stands out."""

import numpy as np
import pytest

import steelyard as sy
from steelyard.metrics import chosen, compute
from steelyard.metrics._bulk import _smoothed, fit_bulk

pytestmark = pytest.mark.no_keras

m = sy.metrics


@pytest.mark.parametrize("seed", range(3))
def test_the_density_is_the_sum_of_triangles(seed):
    values = np.sort(np.random.default_rng(seed).gamma(1.0, size=200))
    points, density = _smoothed(values)
    distance = np.abs(points[:, None] - values) / 0.1
    wanted = np.sum(np.maximum(1 - distance, 0), axis=1) / (200 * 0.1)
    np.testing.assert_allclose(density, wanted, rtol=1e-9, atol=1e-12)
    assert (density > 0.01).all()


@pytest.mark.parametrize("shape", [(400, 200), (300, 300), (1000, 100)])
def test_a_random_matrix_is_all_bulk(shape):
    w = np.random.default_rng(0).normal(0, 0.3, size=shape).astype("float32")
    assert m.mp_sigma(w) == pytest.approx(1, abs=0.03)
    assert m.mp_spikes(w) == 0
    assert m.mp_softrank(w) == pytest.approx(1, abs=0.08)
    edge = 0.3**2 * (np.sqrt(shape[0]) + np.sqrt(shape[1])) ** 2
    assert m.mp_bulk_max(w) == pytest.approx(edge, rel=0.05)


@pytest.mark.parametrize("count", [1, 4])
def test_spikes_are_counted(count):
    rng = np.random.default_rng(1)
    w = rng.normal(size=(400, 200)) / np.sqrt(400)
    u = np.linalg.qr(rng.normal(size=(400, count)))[0]
    v = np.linalg.qr(rng.normal(size=(200, count)))[0]
    w += 5 * u @ v.T
    assert m.mp_spikes(w) == count
    assert m.mp_sigma(w) < 1
    assert m.mp_softrank(w) < 0.3
    # With the entries permuted, the structure is gone.
    assert m.rand_spikes(w) == 0
    assert m.rand_softrank(w) < 0.3
    assert m.rand_distance(w) > 0.05


def test_a_trap_stays_when_entries_are_permuted():
    w = np.random.default_rng(2).normal(size=(256, 128))
    w[3, 5] = 60.0
    assert m.rand_spikes(w) == 1
    assert m.rand_softrank(w) == pytest.approx(1, abs=0.1)


def test_the_permutation_is_the_same_each_time():
    w = np.random.default_rng(3).normal(size=(80, 40))
    assert m.rand_lambda_max(w) == m.rand_lambda_max(w.copy())


def test_few_eigenvalues_are_weak():
    w = np.random.default_rng(0).normal(size=(30, 5)).astype("float32")
    for row, answer in compute(w, chosen(["mp_sigma", "mp_spikes", "rand_spikes"])):
        assert answer.status == "weak", row.name
        assert "only 5 eigenvalues" in answer.reason


def test_nothing_to_fit():
    assert fit_bulk(np.zeros(5), 7, 5) is None
    assert np.isnan(m.mp_sigma(np.zeros((7, 5))))
    assert np.isnan(m.rand_distance(np.zeros((7, 5))))
