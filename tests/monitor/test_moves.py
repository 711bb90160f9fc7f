"""The norm and the way that a weight has gone, out of one pass over it."""

import keras
import numpy as np
import pytest

import steelyard as sy

BOTH = ("l2_norm", "update_ratio")
QUIET = dict(on_nonfinite="record", on_finding="record")


def trained(monitor):
    """A real fit, in which one kernel grows past one piece of what is compared at a time."""
    keras.utils.set_random_seed(1)
    inputs = keras.Input((300,))
    hidden = keras.layers.Dense(400, activation="relu", name="hidden")
    model = keras.Model(inputs, keras.layers.Dense(3, name="head")(hidden(inputs)))
    sy.parametrize(model, "head/kernel", sy.parametrizations.WeightNorm())
    model.compile(keras.optimizers.SGD(0.1), "mse")
    x = np.random.default_rng(2).normal(size=(12, 300)).astype("float32")
    model.fit(x, x[:, :3], batch_size=4, epochs=2, verbose=0, callbacks=[monitor])
    return model


def test_as_measured_on_its_own():
    """The same as where each is worked out by itself."""
    steps, alone = {}, {}
    one = sy.Monitor(BOTH, "**", 1, lambda step, told: steps.update({step: told}), **QUIET)
    model = trained(one)
    apart = (*BOTH, "mean", "cosine")
    trained(sy.Monitor(apart, "**", 1, lambda step, told: alone.update({step: told}), **QUIET))
    assert list(steps) == [1, 2, 3, 4, 5, 6]
    for step, told in steps.items():
        for reading in told:
            wanted = alone[step][reading.address, reading.metric]
            assert reading.value == pytest.approx(wanted.value, rel=1e-7)
            assert (reading.status, reading.unit) == (wanted.status, wanted.unit)
    last = sy.measure(model, "l2_norm")
    for reading in last:
        assert steps[6][reading.address, "l2_norm"].value == pytest.approx(reading.value, rel=1e-7)


def test_of_a_weight_that_is_not_finite():
    told = []
    model = trained(sy.Monitor(sinks=None, **QUIET))
    kernel = model.get_layer("hidden").kernel
    kernel.assign(keras.ops.full(kernel.shape, np.nan))
    monitor = sy.Monitor(BOTH, "**/kernel", 1, lambda step, said: told.append(said), **QUIET)
    monitor.set_model(model)
    monitor.on_train_begin()
    kernel.assign(keras.ops.ones(kernel.shape))
    monitor.on_train_batch_end(0, {"loss": 1.0})
    norm, ratio = (told[-1]["hidden/kernel", metric] for metric in BOTH)
    assert (norm.value, norm.status) == (pytest.approx(np.sqrt(120_000)), "ok")
    assert (ratio.status, ratio.reason) == ("not finite", "before: its norm was not finite")
    kernel.assign(keras.ops.full(kernel.shape, np.nan))
    monitor.on_train_batch_end(1, {"loss": 1.0})
    measured = sy.measure(model, "l2_norm")["hidden/kernel", "l2_norm"]
    norm, ratio = (told[-1]["hidden/kernel", metric] for metric in BOTH)
    assert norm == measured
    assert (ratio.status, ratio.reason) == ("not finite", measured.reason)
