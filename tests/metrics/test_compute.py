"""What is said of a weight of which a number does not exist."""

import ml_dtypes
import numpy as np
import pytest

from steelyard.metrics import _compute as module
from steelyard.metrics import chosen, compute, spectral_entropy

pytestmark = pytest.mark.no_keras

W = np.random.default_rng(0).normal(size=(20, 10)).astype("float32")
ALL = chosen("all")


def answers(array, metrics="all", **told):
    return {row.name: answer for row, answer in compute(array, chosen(metrics), **told)}


def test_a_vector_has_values_and_no_spectrum():
    got = answers(np.float32([3, -4]))
    assert got["l2_norm"].value == 5
    assert got["spectral_norm"].status == "not applicable"
    assert "(2,)" in got["spectral_norm"].reason
    assert got["dead_units"].status == "not applicable"


@pytest.mark.parametrize("shape", [(0,), (0, 5), (3, 0)])
def test_no_entries(shape):
    for answer in answers(np.zeros(shape, "float32")).values():
        assert (answer.value, answer.status) == (None, "undefined")


@pytest.mark.parametrize("shape", [(), (1,), (1, 1), (1, 1, 1, 1)])
@pytest.mark.parametrize("value", [0.0, 2.0])
def test_a_single_entry(shape, value):
    got = answers(np.full(shape, value, "float32"))
    assert got["l2_norm"].value == value
    assert {a.status for a in got.values()} <= {"ok", "undefined", "not applicable", "weak"}
    if len(shape) > 1:
        assert got["spectral_norm"].value == value


@pytest.mark.parametrize("dtype", ["int8", "uint8", "bool", "int64", "float16", ml_dtypes.bfloat16])
def test_any_dtype(dtype):
    array = (np.arange(24).reshape(6, 4) % 5).astype(dtype)
    got = answers(array)
    wide = answers(array.astype("float64"))
    for name in ("l2_norm", "spectral_norm", "mean", "zero_fraction", "stable_rank"):
        assert got[name].value == pytest.approx(wide[name].value, rel=1e-6), name


def test_one_that_fails_leaves_the_others(monkeypatch):
    def broken(spectrum):
        raise np.linalg.LinAlgError("did not converge")

    real = module.function
    monkeypatch.setattr(
        module, "function", lambda name: broken if name == "nuclear_norm" else real(name)
    )
    got = answers(W)
    assert got["nuclear_norm"].status == "failed"
    assert "did not converge" in got["nuclear_norm"].reason
    assert got["spectral_norm"].status == "ok"


def test_a_budget_leaves_out_what_is_too_large():
    wide = np.random.default_rng(0).normal(size=(300, 300)).astype("float32")
    got = answers(wide, budget=1000)
    assert got["spectral_norm"].status == "too large"
    assert "needs" in got["spectral_norm"].reason
    assert got["l2_norm"].status == "ok"


def test_norms_need_no_room_for_a_spectrum():
    wide = np.ones((300, 300), "float32")
    got = answers(wide, ["operator_norm_1", "max_unit_norm", "nuclear_norm"], budget=wide.nbytes)
    assert got["operator_norm_1"].value == 300
    assert got["max_unit_norm"].value == pytest.approx(300**0.5)
    assert got["nuclear_norm"].status == "too large"


def test_what_several_share_is_made_once(monkeypatch):
    made = []
    real = module.Spectrum
    monkeypatch.setattr(module, "Spectrum", lambda m: made.append(1) or real(m))
    answers(W)
    assert made == [1]


def test_the_largest_alone_makes_no_spectrum(monkeypatch):
    monkeypatch.setattr(module, "Spectrum", lambda m: pytest.fail("all of it was worked out"))
    got = answers(np.ones((1100, 1100), "float32"), ["spectral_norm", "lambda_max", "stable_rank"])
    assert got["spectral_norm"].value == pytest.approx(1100)
    assert got["spectral_norm"].bound < 0.1


def test_all_values_are_plain_python():
    for name, answer in answers(W).items():
        assert type(answer.value) in (float, tuple, str, type(None)), name


@pytest.mark.parametrize("size", [1e-320, 1e-180, 1e180])
def test_what_over_or_underflows_is_no_number_that_is_none(size):
    """Its squares do not exist in float64, which some metrics are made of."""
    array = np.random.default_rng(0).normal(size=(40, 30)) * size
    for row, answer in compute(array, chosen("all")):
        assert not (isinstance(answer.value, float) and np.isnan(answer.value)), row.name
    plain = np.random.default_rng(0).normal(size=(40, 30))
    if size != 1e-320:  # there the entries themselves have lost their digits
        assert spectral_entropy(array) == pytest.approx(spectral_entropy(plain), rel=1e-9)
