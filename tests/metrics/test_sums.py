"""Sums over entries, rows and columns: against float64, of any shape and layout, and alone."""

import numpy as np
import pytest

from steelyard.metrics import _sums, chosen, compute
from steelyard.metrics._sums import Sums, in_memory_order

pytestmark = pytest.mark.no_keras

RNG = np.random.default_rng(0)


def wanted(matrix):
    a = np.asarray(matrix, "float64")
    return {
        "sum": a.sum(),
        "absolute": np.abs(a).sum(),
        "squares": (a**2).sum(),
        "min": a.min(),
        "max": a.max(),
        "largest": np.abs(a).max(),
        "zeros": (a == 0).sum(),
        "column_absolute": np.abs(a).sum(0),
        "column_squares": (a**2).sum(0),
        "row_absolute": np.abs(a).sum(1),
        "row_squares": (a**2).sum(1),
    }


MATRICES = {
    "one entry": (1, 1),
    "narrow": (60_001, 3),
    "a column": (140_000, 1),
    "a row": (1, 140_000),
    "wide": (5, 20_003),
    "more rows than a part": (700, 300),
    "whole parts": (256, 512),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("layout", ["rows", "columns", "neither"])
@pytest.mark.parametrize("name", MATRICES)
def test_by_float64(name, layout, dtype):
    rows, columns = MATRICES[name]
    matrix = RNG.normal(0.1, 1, (rows, columns)).astype(dtype)
    matrix[::3, 0] = 0
    if layout == "columns":
        matrix = np.asfortranarray(matrix)
    if layout == "neither":
        matrix = np.repeat(np.repeat(matrix, 2, axis=0), 2, axis=1)[::2, ::2]
    expected = wanted(matrix)
    together = Sums(matrix, expected)
    for key, value in expected.items():
        scale = np.sqrt(matrix.size) if key == "sum" else 0
        tolerance = 1e-6 if dtype == "float32" else 1e-13
        np.testing.assert_allclose(
            together[key], value, rtol=tolerance, atol=scale * tolerance, err_msg=key
        )
        np.testing.assert_array_equal(Sums(matrix)[key], together[key], err_msg=key)


@pytest.mark.parametrize("shape", [(0,), (7,), (256,), (300,), (3, 4), (2, 3, 4), (1, 70_000)])
def test_in_memory_order(shape):
    array = RNG.normal(size=shape)
    parts = in_memory_order(array)
    np.testing.assert_array_equal(np.concatenate([p.ravel() for p in parts] or [[]]), array.ravel())
    assert all(np.shares_memory(part, array) for part in parts)
    turned = in_memory_order(np.asfortranarray(array))
    assert sum(part.size for part in turned) == array.size


NORMS = ("l1_norm", "l2_norm", "max_abs", "max_unit_norm", "operator_norm_1", "operator_norm_inf")


@pytest.mark.parametrize(
    ("array", "axes"),
    [
        (RNG.normal(size=(300, 70)).astype("float32"), ""),
        (RNG.normal(size=(300, 70)).astype("float32"), "oi"),
        (np.asfortranarray(RNG.normal(size=(300, 70))), ""),
        (RNG.normal(size=(3, 3, 40, 7)).astype("float32"), ""),
        (RNG.normal(size=(300, 70)).astype("float16"), ""),
    ],
    ids=["io", "oi", "columns", "kernel", "half"],
)
def test_all_norms_of_a_weight_take_one_pass(array, axes, monkeypatch):
    passes = []
    taken = _sums._taken
    monkeypatch.setattr(_sums, "_taken", lambda m, names: passes.append(names) or taken(m, names))
    together = {row.name: answer.value for row, answer in compute(array, chosen(NORMS), axes=axes)}
    assert len(passes) == 1
    for name in NORMS:  # and each by itself is the same, to the last bit
        (alone,) = compute(array, chosen(name), axes=axes)
        assert alone[1].value == together[name], name
