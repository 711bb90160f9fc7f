"""The laws on several devices: under each strategy the rows of `replicas.ROWS` train as on one."""

import numpy as np
import pytest
from tests.laws import layer as laws
from tests.laws import parametrized as table
from tests.laws import replicas, strategies

HERE = [name for name, backend in strategies.BACKENDS.items() if backend == laws.BACKEND]
# Of trained weights, in float32, of which devices add the gradients in another order.
TRAINED = dict(rtol=1e-4, atol=1e-5)

if not HERE:
    reason = "Keras trains on several devices on TensorFlow and JAX; for torch see test_*_ddp.py"
    pytest.skip(reason, allow_module_level=True)


def under(*tables):
    """A test for each row of these tables, under each strategy."""
    stands = [
        pytest.param(strategy, which, row, id=f"{strategy}-{row}".replace(" ", "_"))
        for strategy in HERE
        for which, row in replicas.rows(strategy, *tables)
        if not row.startswith("by_")
    ]
    return pytest.mark.parametrize(("strategy", "which", "row"), stands)


def only(strategy):
    """A test of one strategy, which other backends do not have."""
    return pytest.mark.skipif(strategy not in HERE, reason=f"of {strategies.BACKENDS[strategy]}'s")


def told(said, which, row):
    said = said[f"{which}: {row}"]
    assert "error" not in said, said["error"]
    return said


@under("zoo", "parametrized", "called", "penalized")
def test_trains_as_on_one_device(trained, strategy, which, row):
    said = told(trained(strategy), which, row)
    assert said["moved"] > 1e-5
    if "output" in said:
        exact = table.BY_NAME[row].way.exact if which == "parametrized" else 1e-5
        loose = dict(rtol=max(2e-4, 2 * exact), atol=max(2e-5, 5 * exact))
        np.testing.assert_allclose(said["output"], said["should be"], **loose)
    for several, one in zip(said["values"], said["of one"], strict=True):
        np.testing.assert_allclose(several, one, **TRAINED)
    if said.get("loss"):
        np.testing.assert_allclose(*said["loss"], **TRAINED)


@under("zoo", "parametrized", "called", "penalized", "digits")
def test_weights_are_where_they_should_be(trained, strategy, which, row):
    said = told(trained(strategy), which, row)
    assert said["misplaced"] == []


@under("digits")
def test_says_and_carries_what_one_device_does(trained, strategy, which, row):
    said = told(trained(strategy), which, row)
    for name, (several, one) in said["pairs"].items():
        if one is None:
            assert several is None, name
        else:
            np.testing.assert_allclose(several, one, **TRAINED, err_msg=name)


@pytest.mark.parametrize("strategy", HERE)
def test_the_training_is_the_same_to_the_bit_without_the_monitor(trained, strategy):
    said = told(trained(strategy), "digits", "monitored")
    assert said["same"]
    assert said["wrote"]


# --- What one strategy alone has ------------------------------------------------------------------


@only("workers")
@pytest.mark.parametrize(("which", "row"), replicas.rows("workers", "zoo", "parametrized"))
def test_both_workers_hold_the_same(trained, which, row):
    said = told(trained("workers"), which, row)
    assert said["other"]["values"] == said["values"]
    assert said["other"]["output"] == said["output"]


@only("workers")
def test_both_workers_read_the_same_and_the_first_alone_writes(trained):
    said = told(trained("workers"), "digits", "monitored")
    assert said["other"]["pairs"] == said["pairs"]
    assert (said["wrote"], said["other"]["wrote"]) == (True, False)


@only("workers")
@pytest.mark.parametrize(
    ("row", "why"), [("by_fit", "PerReplica"), ("by_codes", "int8 is not in the list")]
)
def test_what_keras_itself_does_not_do_between_workers(trained, row, why):
    """Once one of these fails, Keras has learned it: train by `fit`, add the row `quantized`."""
    assert why in trained("workers")[f"digits: {row}"].get("error", "")


@only("model")
@pytest.mark.parametrize(("which", "row"), replicas.rows("model", "zoo", "parametrized", "digits"))
def test_no_device_has_all_of_a_sharded_weight(trained, which, row):
    said = told(trained("model"), which, row)
    assert any("kernel" in path or "embeddings" in path for path in said["spread"])


@only("model")
def test_a_sharded_borrower_of_a_sharded_owner(trained):
    spread = set(told(trained("model"), "zoo", "tied")["spread"])
    assert {"proj/kernel", "borrower/bias"} <= spread


@only("model")
def test_the_analyzer_puts_no_weight_together(trained):
    said = told(trained("model"), "digits", "analyzed")
    assert said["reduces"] and not said["gathers"]


@only("model")
def test_the_host_keeps_no_copy_and_has_no_more_than_is_allowed(trained):
    said = told(trained("model"), "digits", "large")  # of a weight of 4 MB, with 2 MB allowed
    assert said["kept"] < 500_000
    assert said["in blocks"] < 2_000_000
