"""The catalog: one row a metric, and what a user may ask for."""

import inspect

import numpy as np
import pytest

import steelyard as sy
from steelyard.metrics import chosen
from steelyard.metrics._catalog import DEFAULT, GROUPS, function

pytestmark = pytest.mark.no_keras

FIXED = {
    *("l1_norm", "l2_norm", "max_abs", "spectral_norm", "lambda_max", "stable_rank"),
    *("effective_rank", "numerical_rank", "condition_number", "spectral_entropy", "alpha"),
    *("alpha_xmin", "alpha_ks", "alpha_stderr", "alpha_tail_size", "alpha_weighted"),
    *("log_alpha_norm", "mp_sigma", "mp_spikes", "mp_softrank", "erg_spikes", "zero_fraction"),
    *("nan_count", "inf_count", "dead_units", "mean", "std", "skewness", "kurtosis", "min"),
    *("max", "median", "relative_distance", "cosine", "update_ratio"),
}


def test_each_row_has_a_function_and_each_function_a_row():
    names = [row.name for row in sy.catalog()]
    assert len(names) == len(set(names))
    assert set(names) <= set(sy.metrics.__all__)
    assert set(names) >= FIXED
    for name in names:
        assert callable(getattr(sy.metrics, name))
        assert callable(function(name))


@pytest.mark.parametrize("row", sy.catalog(), ids=lambda row: row.name)
def test_a_row_says_all(row):
    assert row.group in GROUPS
    beside = ("pair", "gradient")
    assert row.needs in ("values", "units", "matrix", "largest", "spectrum", *beside)
    assert row.description.endswith(".")
    assert len(row.description) < 110
    assert row.range
    doc = inspect.getdoc(getattr(sy.metrics, row.name))
    assert doc.startswith(row.description)


def test_a_group_brings_its_metrics():
    names = [row.name for row in chosen("norms")]
    assert {"l1_norm", "l2_norm", "max_abs"} <= set(names)
    assert "spectral_norm" in [row.name for row in chosen(["l2_norm", "spectral"])]
    everything = [row.name for row in chosen("all")]
    assert "alpha_p_value" not in everything  # on demand
    assert "cosine" not in everything  # of two
    in_training = {row.name for row in chosen("training", training=True)}
    assert in_training == {"gradient_norm", "update_ratio", "distance_from_init", "ema_distance"}


def test_each_once_in_the_order_asked():
    assert [row.name for row in chosen(["std", "mean", "std"])] == ["std", "mean"]
    assert [row.name for row in chosen(None)] == list(DEFAULT)


@pytest.mark.parametrize("asked", ["l2norm", ["mean", "spektral"], "alphas"])
def test_an_unknown_name_names_the_nearest(asked):
    with pytest.raises(sy.errors.UnknownMetricError, match="Did you mean"):
        chosen(asked)


def test_none_at_all():
    with pytest.raises(sy.errors.UnknownMetricError, match="No metric was asked for"):
        chosen([])


def test_a_function_gives_a_number_or_nan():
    assert isinstance(sy.metrics.alpha(np.eye(3)), float)
    assert np.isnan(sy.metrics.alpha(np.eye(3)))
