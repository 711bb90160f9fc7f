"""WeightWatcher's numbers, to 1e-9; and where it is wrong, ours."""

import json
import math
from pathlib import Path

import mpmath
import numpy as np
import pytest

import steelyard as sy
from steelyard.metrics import chosen, compute
from steelyard.metrics._bulk import tail_of_product_one

pytestmark = pytest.mark.no_keras

DATA = Path(__file__).parent.parent / "data" / "weightwatcher"
GOLDEN = json.loads((DATA / "golden.json").read_text())["matrices"]
# Their column, and our metric.
COLUMNS = {
    "alpha": "alpha",
    "D": "alpha_ks",
    "xmin": "alpha_xmin",
    "sigma": "alpha_stderr",
    "num_pl_spikes": "alpha_tail_size",
    "alpha_weighted": "alpha_weighted",
    "log_alpha_norm": "log_alpha_norm",
    "entropy": "spectral_entropy",
    "spectral_norm": "lambda_max",
    "lambda_max": "lambda_max",
    "sv_max": "spectral_norm",
    "stable_rank": "stable_rank",
    "matrix_rank": "numerical_rank",
    "sigma_mp": "mp_sigma",
    "num_spikes": "mp_spikes",
    "mp_softrank": "mp_softrank",
    "bulk_min": "mp_bulk_min",
    "bulk_max": "mp_bulk_max",
    "num_ERG_spikes": "erg_spikes",
}
# No eigenvalue differs from another, or all are 0: theirs are made up (-1, 1.0).
NO_SPECTRUM = ("identity_64", "zeros_64x32")
BULK = ("sigma_mp", "num_spikes", "mp_softrank", "bulk_min", "bulk_max")
# They take N and M of this kernel the wrong way around, and with them the law of its bulk.
SWAPPED = "conv_2x2x64x32"


def load(name):
    return np.load(DATA / f"{name}.npy")


def ours(name, **told):
    answers = compute(load(name), chosen(COLUMNS.values()), **told)
    return {row.name: answer for row, answer in answers}


@pytest.mark.parametrize("name", [name for name in GOLDEN if name not in NO_SPECTRUM])
def test_its_numbers(name):
    got = ours(name, view="pooled", compat="weightwatcher")
    for column, metric in COLUMNS.items():
        if name == SWAPPED and column in BULK:
            continue
        assert got[metric].value == pytest.approx(GOLDEN[name]["out"][column], rel=1e-9), column
        assert got[metric].status == "ok"


@pytest.mark.parametrize("name", [n for n in GOLDEN if "conv" not in n and n not in NO_SPECTRUM])
def test_by_default_the_same_of_plain_matrices(name):
    got = ours(name)
    # The smallest λ are no part of a tail by default where rounding made them.
    for column in ("alpha", "xmin", "num_pl_spikes", "stable_rank", "sigma_mp", "num_spikes"):
        wanted = GOLDEN[name]["out"][column]
        assert got[COLUMNS[column]].value == pytest.approx(wanted, rel=1e-6), column


# --- Its faults ----------------------------------------------------------------------------------


def test_a_zero_kernel_is_undefined_not_over_trained():
    assert GOLDEN["zeros_64x32"]["out"]["warning"] == "over-trained"
    got = ours("zeros_64x32")
    assert got["spectral_norm"].value == 0
    for metric in ("alpha", "stable_rank", "mp_sigma", "spectral_entropy", "erg_spikes"):
        assert got[metric].value is None
        assert got[metric].status == "undefined"
        assert got[metric].reason


def test_equal_eigenvalues_have_no_tail():
    assert GOLDEN["identity_64"]["out"]["warning"] == "under-trained"
    got = ours("identity_64")
    assert (got["alpha"].value, got["alpha"].status) == (None, "undefined")
    assert got["spectral_norm"].value == 1
    assert got["stable_rank"].value == 64


def test_the_sides_of_a_small_kernel_are_right():
    kernel = load(SWAPPED)
    theirs, mine = GOLDEN[SWAPPED]["out"], ours(SWAPPED, view="pooled", compat="weightwatcher")
    assert (theirs["N"], theirs["M"]) == (32, 64)
    # They find spikes in a Gaussian kernel; with N = 64 and M = 32 there are none.
    assert theirs["num_spikes"] == 6
    assert mine["mp_spikes"].value == 0
    assert mine["mp_sigma"].value == pytest.approx(1, abs=0.05)
    scaled = sum(np.linalg.norm(kernel[i, j]) ** 2 for i in range(2) for j in range(2)) / 2
    assert mine["lambda_max"].value * mine["stable_rank"].value == pytest.approx(scaled)


@pytest.mark.parametrize("scale", [1e-12, 1e-3, 1.0, 1e3, 1e12])
@pytest.mark.parametrize("name", ["gauss_512x128", "mlp_fc1_trained", "pareto2.0_400x300"])
def test_the_exponent_is_the_same_at_any_scale(name, scale):
    wanted = sy.metrics.alpha(load(name))
    assert sy.metrics.alpha(load(name) * np.float32(scale)) == pytest.approx(wanted, rel=1e-5)


def test_a_random_matrix_says_that_it_says_nothing():
    exponents = []
    for seed in range(20):
        kernel = np.random.default_rng(seed).normal(size=(256, 128)).astype("float32")
        ((_, answer),) = compute(kernel, chosen("alpha"))
        exponents.append(answer.value)
        assert answer.status == "weak"
        assert "random matrix" in answer.reason or "eigenvalues in the tail" in answer.reason
    assert max(exponents) > 2 * min(exponents)  # which is why


@pytest.mark.parametrize("name", ["mlp_fc1_trained", "mlp_fc2_trained", "cnn_fc1_trained"])
def test_a_trained_one_speaks(name):
    got = ours(name)
    assert got["alpha"].status == "ok"
    assert 1.5 < got["alpha"].value < 2


def test_a_short_tail_is_weak():
    got = ours("smallN_64x12")
    assert got["alpha"].status == "weak"
    assert "only 12 eigenvalues" in got["alpha"].reason


def test_the_product_of_thousands_of_eigenvalues():
    rng = np.random.default_rng(0)
    sigmas = np.sort(np.exp(rng.normal(scale=2, size=4096)))[::-1]
    squares = sigmas**2 / np.mean(sigmas**2)
    # By a product, as theirs, the answer is lost: it overflows, and is 0 or infinite from there on.
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        products = np.cumprod(squares[::-1])[::-1]
    assert not (products[0] > 0)
    with mpmath.workdps(30):
        product, wanted = mpmath.mpf(1), 0
        while product >= 1:
            product *= mpmath.mpf(float(squares[wanted]))
            wanted += 1
    assert tail_of_product_one(sigmas**2) == wanted
    assert sy.metrics.erg_spikes(np.diag(sigmas[::40])) == tail_of_product_one(sigmas[::40] ** 2)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_one_bad_entry_is_one_reading(bad):
    kernel = load("mlp_fc1_trained")
    kernel[3, 5] = bad
    for row, answer in compute(kernel, chosen(["nan_count", "inf_count", "alpha", "l2_norm"])):
        if row.name.endswith("count"):
            wanted = (row.name == "nan_count") == math.isnan(bad)
            assert answer.value == wanted
        else:
            assert answer.status == "not finite"
            assert "1 NaN" in answer.reason or "1 infinite" in answer.reason
