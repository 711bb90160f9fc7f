"""The layer laws on two processes, by PyTorch's `DistributedDataParallel` around a Keras model."""

import numpy as np
import pytest
from tests.laws import layer as laws

pytestmark = pytest.mark.skipif(laws.BACKEND != "torch", reason="the wrapper is PyTorch's")
if laws.BACKEND == "torch":
    from tests.laws import replicas_ddp as table

    BORROWED = [f"{case.name}, {way}" for case, way in table.BORROWED]
    REWRITTEN = [case.name for case in table.REWRITTEN]
    FITTED = [f"{name}, fit" for name in table.FITTED]
    PENALIZED = table.PENALIZED
else:
    BORROWED, REWRITTEN, FITTED, PENALIZED = (), (), (), ()


@pytest.fixture(scope="module")
def said():
    return laws.in_process("tests.laws.replicas_ddp")


def row(said, name):
    assert "error" not in said[name], said[name]["error"]
    return said[name]


def check_trained_as_one(told, exact=None):
    assert told["listed"], "torch knows of other parameters than those that the model has"
    assert told["apart"] == 0
    assert told["moved"] > 1e-5
    assert told["from one"] < 2e-5
    np.testing.assert_allclose(told["output"], told["should be"], **exact or laws.CLOSE)


@pytest.mark.parametrize("name", BORROWED)
def test_a_borrower_and_its_owner(name, said):
    check_trained_as_one(row(said, name))


@pytest.mark.parametrize("name", REWRITTEN)
def test_a_parametrized_weight(name, said):
    exact = table.parametrized.BY_NAME[name].way.exact
    check_trained_as_one(row(said, name), dict(rtol=2 * exact, atol=5 * exact))


@pytest.mark.parametrize("name", PENALIZED)
def test_a_penalty_is_counted_once(name, said):
    told = row(said, name)
    assert told["apart"] == 0
    assert told["listed"]
    np.testing.assert_allclose(told["now"], np.array(told["was"]) - 0.1, **laws.CLOSE)


@pytest.mark.parametrize("name", FITTED)
def test_by_fit_of_a_model_that_calls_the_wrapper(name, said):
    told = row(said, name)
    assert told["apart"] == 0
    assert told["from one"] < 2e-5


def test_keras_hides_a_weight_of_the_path_of_another(said):
    """Why `table.NOT_LISTED` is left out: where this fails, it need not be any more."""
    told = row(said, "unlisted")
    assert told["known"] == 1
    assert told["apart"] > 0.1
