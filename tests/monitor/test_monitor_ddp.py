"""`Monitor` in two processes, by PyTorch's `DistributedDataParallel` around a Keras model."""

import keras
import numpy as np
import pytest
from tests.laws.layer import BACKEND, in_process

import steelyard as sy

WAYS = ("fit", "loop")
METRICS = ("l2_norm", "update_ratio", "gradient_norm")


@pytest.fixture(scope="module")
def said():
    return in_process("tests.monitor.watched_ddp")


@pytest.mark.skipif(BACKEND != "torch", reason="the wrapper is PyTorch's")
@pytest.mark.parametrize("way", WAYS)
def test_each_process_reads_the_numbers_of_the_whole_batch(way, said):
    assert "error" not in said[way], said[way]["error"]
    first, second = said[way]["each"]
    assert first["steps"] == second["steps"]
    assert [*first["steps"]] == ["1", "2", "3", "4"]
    one = said[way]["one"]["steps"]
    for step, numbers in first["steps"].items():
        assert len(numbers) == 6
        for name, number in numbers.items():
            np.testing.assert_allclose(number, one[step][name], rtol=1e-4, err_msg=name)
    # Callbacks behind it, such as EarlyStopping, must decide alike.
    ours = {name: value for name, value in first["logs"].items() if "/" in name}
    assert ours
    assert ours.items() <= second["logs"].items()


@pytest.mark.skipif(BACKEND != "torch", reason="the wrapper is PyTorch's")
@pytest.mark.parametrize("way", WAYS)
def test_the_first_process_alone_writes_files(way, said):
    assert "error" not in said[way], said[way]["error"]
    assert said[way]["files"] == ["events", "events/events", "run.db", "run.jsonl"]
    assert said[way]["run"] == {"steps": [1, 2, 3, 4], "findings": 0}
    for process in said[way]["each"]:
        assert process["findings"] == []
        assert process["warnings"] == []


def test_in_a_loop_of_ones_own():
    """Of a model that was never compiled."""
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="dense")])
    monitor = sy.Monitor(METRICS, every=1)
    callbacks = keras.callbacks.CallbackList([monitor], model=model, epochs=1, steps=1)
    kernel = model.layers[0].kernel
    if BACKEND == "torch":
        callbacks.on_train_begin()
    else:
        with pytest.warns(UserWarning, match="the model has no optimizer"):
            callbacks.on_train_begin()
    callbacks.on_epoch_begin(0)
    callbacks.on_train_batch_begin(0)
    before = np.array(keras.ops.convert_to_numpy(kernel))
    if BACKEND == "torch":
        keras.ops.sum(model(np.ones((2, 4), "float32"))).backward()
    kernel.assign(kernel * 2)
    callbacks.on_train_batch_end(0, {"loss": 1.0})
    callbacks.on_epoch_end(0)
    callbacks.on_train_end()
    wanted = np.linalg.norm(2 * before.astype("float64"))
    said = {metric: monitor.readings["dense/kernel", metric] for metric in METRICS}
    np.testing.assert_allclose(said["l2_norm"].value, wanted, rtol=1e-6)
    np.testing.assert_allclose(said["update_ratio"].value, 1.0, rtol=1e-6)
    gradient = said["gradient_norm"]
    if BACKEND == "torch":
        np.testing.assert_allclose(gradient.value, np.sqrt(12) * 2, rtol=1e-6)
    else:
        assert (gradient.value, gradient.status) == (None, "not applicable")
        assert "no optimizer" in gradient.reason
