"""A weight in blocks has the numbers that it has in memory, or says that it is too large."""

import math

import numpy as np
import pytest

import steelyard as sy
from steelyard.metrics import chosen, compute
from steelyard.metrics._block_quantiles import block_quantiles
from steelyard.metrics._blocks import compute_in_blocks
from steelyard.metrics._lanczos import largest_by_gram

pytestmark = pytest.mark.no_keras

ALL = [row for row in sy.catalog() if row.needs != "pair" and not row.on_demand]
WHOLE = {row.name for row in ALL if row.group == "random"} | {"duplicate_units"}


def heavy(rows, columns, dtype="float32", seed=0):
    rng = np.random.default_rng(seed)
    w = rng.normal(size=(rows, columns)) * (rng.pareto(3, size=columns) + 0.5)
    return w.astype(dtype)


def in_blocks(array, rows=ALL, budget=np.inf, **told):
    passes = []

    def blocks(count):
        passes.append(count)
        return (array[i : i + count] for i in range(0, len(array), count))

    answers = compute_in_blocks(
        blocks,
        array.shape,
        rows,
        nbytes=array.nbytes,
        dtype=array.dtype.name,
        budget=budget,
        **told,
    )
    return {row.name: answer for row, answer in answers}, passes


def in_memory(array, rows=ALL, **told):
    return {row.name: answer for row, answer in compute(array, rows, **told)}


def budget_of(array, parts):
    """So little that the weight comes in about so many parts."""
    short = min(math.prod(array.shape[:-1]), array.shape[-1]) if array.ndim > 1 else 0
    return 2.1 * 8 * short**2 + 6 * array.nbytes / parts + 1


CASES = {
    "tall": heavy(700, 40),
    "wide": heavy(30, 500),
    "float64": heavy(400, 30, "float64"),
    "far from 0": heavy(500, 20) + np.float32(1000),
    "huge": heavy(300, 30, "float64") * 1e100,
    "tiny": heavy(300, 30, "float64") * 1e-100,
    "kernel": heavy(9 * 32, 24).reshape(3, 3, 32, 24),
    "one axis": heavy(900, 1)[:, 0],
    "whole numbers": (heavy(300, 20) * 9).astype("int64"),
    "zeros": np.zeros((300, 20), "float32"),
    "equal": np.full((300, 20), 0.1, "float32"),
    "dead": np.where(np.arange(20) % 3, heavy(300, 20), np.float32(0)),
}


@pytest.mark.parametrize("case", CASES)
def test_the_numbers_are_those_in_memory(case):
    array = CASES[case]
    expected = in_memory(array)
    got, passes = in_blocks(array, budget=budget_of(array, 3 if array.ndim == 4 else 7))
    assert passes[0] < len(array) / 2
    for name, answer in got.items():
        if name in WHOLE and array.ndim > 1:
            assert answer.status == "too large" and "all of the weight" in answer.reason
            continue
        if answer.status == "too large":  # what the Gram matrix does not resolve
            assert "below 1e-06 of the largest" in answer.reason
            assert case in ("dead", "equal", "far from 0", "float64", "huge", "tiny")
            continue
        assert answer.status == expected[name].status, name
        assert answer.reason == expected[name].reason, name
        if isinstance(answer.value, str | None):
            assert answer.value == expected[name].value, name
        else:
            close = {"rel": 1e-5, "abs": 1e-6 if name in ("mean", "skewness") else 1e-12}
            assert answer.value == pytest.approx(expected[name].value, **close), name


def test_all_but_quantiles_is_one_pass():
    array = heavy(700, 40)
    rows = [row for row in ALL if row.name != "median" and "quantile" not in row.name]
    assert len(in_blocks(array, rows, budget_of(array, 7))[1]) == 1
    assert len(in_blocks(array, ALL, budget_of(array, 7))[1]) == 3


def test_entries_that_are_not_finite():
    array = heavy(300, 20)
    array[7, 3], array[250, 2] = np.nan, np.inf
    expected = in_memory(array)
    got, _ = in_blocks(array, budget=budget_of(array, 5))
    for name in ("nan_count", "inf_count", "zero_fraction", "l2_norm", "alpha", "median"):
        assert got[name] == expected[name]


def test_the_largest_singular_value_alone_is_certified():
    array = heavy(1500, 1200)
    row = chosen(["spectral_norm", "stable_rank", "l2_norm"])
    true = np.linalg.svd(array.astype("float64"), compute_uv=False)[0]
    # No room for the Gram matrix.
    got, passes = in_blocks(array, row, budget=3e6)
    value, status, _, bound = got["spectral_norm"]
    assert status == "ok" and value <= true * (1 + 1e-6) <= value + bound + 1e-6 * true
    assert bound < 2e-4 * true
    assert got["stable_rank"].value == pytest.approx(np.sum(array.astype("float64") ** 2) / true**2)
    assert got["l2_norm"].value == pytest.approx(np.linalg.norm(array.astype("float64")))
    assert 5 < len(passes) < 60


def test_what_has_no_room_says_so():
    array = heavy(1500, 1200)
    got, _ = in_blocks(array, chosen(["alpha", "spectral_norm", "mean"]), budget=3e6)
    assert got["alpha"].status == "too large" and "23.1 MiB" in got["alpha"].reason
    assert got["mean"].status == got["spectral_norm"].status == "ok"
    assert got["spectral_norm"].bound > 0  # not by way of the Gram matrix
    got, passes = in_blocks(array, chosen(["alpha", "mean"]), budget=10_000)
    assert {answer.status for answer in got.values()} == {"too large"} and not passes
    assert "a single step along its first axis" in got["mean"].reason


def test_blocks_that_are_not_rows_have_values_only():
    array = heavy(60, 50).reshape(6, 10, 50)
    got, _ = in_blocks(array, chosen(["spectral_norm", "l2_norm"]), budget=30_000, view="pooled")
    assert got["spectral_norm"].status == "too large"
    assert got["l2_norm"].value == pytest.approx(np.linalg.norm(array.astype("float64")))


def test_weightwatcher():
    array = heavy(400, 30)
    names = chosen(["spectral", "powerlaw", "bulk"])
    got, _ = in_blocks(array, names, budget_of(array, 5), compat="weightwatcher", view="pooled")
    expected = in_memory(array, names, compat="weightwatcher", view="pooled")
    for name, answer in got.items():
        assert answer.value == pytest.approx(expected[name].value, rel=1e-9), name


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_quantiles_are_exact(dtype):
    rng = np.random.default_rng(1)
    parts = [rng.normal(size=3000), np.zeros(500), -np.zeros(400), rng.pareto(1, 5000), [1e30, -5]]
    flat = np.concatenate(parts).astype(dtype)
    rng.shuffle(flat)
    shares = (0, 0.01, 0.25, 0.5, 0.75, 0.99, 1)
    got = block_quantiles(lambda: np.array_split(flat, 7), flat.size, shares)
    assert got == pytest.approx(np.quantile(flat.astype("float64"), shares), rel=1e-12, abs=0)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda a, n: [a[:n]],
        lambda a, n: [a],
        lambda a, n: [a[i : i + n, :5] for i in range(0, len(a), n)],
        lambda a, n: [a[i : i + n] for i in [*range(0, len(a), n), 0]],
    ],
)
def test_blocks_that_are_not_as_promised(wrong):
    array = heavy(100, 10)
    with pytest.raises(sy.SteelyardError, match=r"shape \(100, 10\)"):
        told = dict(nbytes=array.nbytes, dtype="float32", budget=6000)
        [*compute_in_blocks(lambda n: wrong(array, n), array.shape, ALL, **told)]


@pytest.mark.parametrize("seed", range(5))
def test_the_bound_of_one_pass_a_step(seed):
    rng = np.random.default_rng(seed)
    matrix = rng.normal(size=(300, 200))
    true = np.linalg.svd(matrix, compute_uv=False)[0]
    found = largest_by_gram(lambda v: matrix.T @ (matrix @ v), 200, tolerance=1e-3)
    assert found.value <= true * (1 + 1e-12) and true <= found.value + found.bound
    assert 0 < found.bound <= 1e-3 * found.value
    low = np.outer(rng.normal(size=300), rng.normal(size=200))
    found = largest_by_gram(lambda v: low.T @ (low @ v), 200, tolerance=1e-3)
    assert found.value == pytest.approx(np.linalg.norm(low), rel=1e-12)
