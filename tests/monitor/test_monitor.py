"""`sy.Monitor` in real trainings: the same training, the right numbers, in every sink."""

import csv

import keras
import numpy as np
import pytest
from tests.monitor.training import IMAGES, LABELS, Keep, fit, model, weights
from tests.turns import in_turn, once

import steelyard as sy

RATE = 0.1
METRICS = (
    *("l2_norm", "update_ratio", "distance_from_init", "gradient_norm", "relative_distance"),
    *("spectral_norm", "stable_rank", "dead_units", "singular_values", "alpha", "ema_distance"),
)
OFF = dict.fromkeys(
    ("exploding_update", "vanishing_update", "exploding_gradient", "vanishing_gradient"), None
)
torch = keras.backend.backend() == "torch"


class Told:
    def __init__(self):
        self.steps = {}

    def log(self, step, readings):
        self.steps[step] = readings


class Watched:
    """One training with everything, and the same one without."""

    def __init__(self, folder):
        self.folder, self.told, self.called = folder, Told(), []
        self.plain = model(keras.optimizers.SGD(RATE))
        self.plain_history = fit(self.plain).history
        self.net = model(keras.optimizers.SGD(RATE))
        self.keep = Keep()
        self.monitor = sy.Monitor(
            METRICS,
            every=3,
            sinks=[
                *("logs", folder / "board", str(folder / "run.db"), folder / "run.jsonl"),
                *(folder / "run.parquet", self.told, lambda *told: self.called.append(told)),
            ],
            on_error="raise",
            limits=OFF,
        )
        table = keras.callbacks.CSVLogger(str(folder / "log.csv"))
        stopper = keras.callbacks.EarlyStopping("l2_norm/head/kernel", patience=5, mode="min")
        self.history = fit(self.net, self.monitor, self.keep, table, stopper).history


@pytest.fixture(scope="module")
def watched(tmp_path_factory):
    return Watched(tmp_path_factory.mktemp("run"))


def test_the_training_is_the_same_to_the_last_bit(watched):
    assert all(map(np.array_equal, weights(watched.plain), weights(watched.net)))
    assert watched.plain_history == {k: watched.history[k] for k in watched.plain_history}


def test_the_numbers_are_those_of_measure(watched):
    last = watched.told.steps[15]
    assert last.addresses == ("conv/kernel", "hidden/kernel", "head/kernel")
    assert last.metrics == METRICS
    alone = ["l2_norm", "spectral_norm", "stable_rank", "dead_units", "singular_values", "alpha"]
    twin = model()
    for name, value in watched.keep.steps[14].items():
        twin.get_layer(name).kernel.assign(value)
    measured = sy.measure(twin, alone, select="**/kernel")
    assert last.filter(metric=alone) == measured


def norm(array):
    return float(np.linalg.norm(array.astype("float64")))


def test_what_compares_takes_the_reading_before_or_the_start(watched):
    shown = watched.keep.steps
    for name in ("conv", "hidden", "head"):
        for step in (3, 6, 15):
            now = shown[step - 1][name]
            before = shown[step - 4][name] if step > 3 else watched.keep.start[name]
            start = watched.keep.start[name]
            told = watched.told.steps[step][f"{name}/kernel"]
            value = {one.metric: one.value for one in told}
            assert value["update_ratio"] == pytest.approx(norm(now - before) / norm(before))
            assert value["relative_distance"] == value["update_ratio"]
            assert value["distance_from_init"] == pytest.approx(norm(now - start))


def test_the_gradient_is_the_one_that_moved_the_weight(watched):
    shown = watched.keep.steps
    for step in (3, 9, 15):
        for name in ("conv", "hidden", "head"):
            moved = norm(shown[step - 1][name] - shown[step - 2][name])
            told = watched.told.steps[step][f"{name}/kernel", "gradient_norm"]
            assert told.status == "ok"
            assert told.value == pytest.approx(moved / RATE, rel=1e-4)


def test_without_an_average_there_is_no_distance_from_it(watched):
    reading = watched.told.steps[3]["head/kernel", "ema_distance"]
    assert (reading.value, reading.status) == (None, "not applicable")
    assert "use_ema=True" in reading.reason


@pytest.mark.parametrize("ending", ["db", "jsonl", "parquet"])
def test_a_file_has_every_step(watched, ending):
    run = sy.Run.load(watched.folder / f"run.{ending}")
    assert run.steps == [3, 6, 9, 12, 15] and run.epochs == [0, 0, 1, 1, 1]
    assert run.batches == [3, 6, 1, 4, 7]
    assert run.readings(9) == watched.told.steps[9]
    assert sy.Readings.load(watched.folder / f"run.{ending}") == watched.monitor.readings
    wanted = [watched.told.steps[s]["conv/kernel", "l2_norm"].value for s in run.steps]
    assert run.series("conv/kernel", "l2_norm").tolist() == wanted
    assert 0 < run.logs[0]["loss"] < 10
    assert run.info["select"] == "**/kernel" and run.info["every"] == 3


def test_keras_has_the_numbers_in_its_logs(watched):
    wanted = [watched.told.steps[step]["head/kernel", "l2_norm"].value for step in (6, 15)]
    assert watched.history["l2_norm/head/kernel"] == wanted
    assert "singular_values/head/kernel" not in watched.history
    rows = list(csv.DictReader((watched.folder / "log.csv").open()))
    assert [float(row["l2_norm/head/kernel"]) for row in rows] == wanted
    assert watched.called == list(watched.told.steps.items())


def test_tensorboard_reads_the_directory(watched, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "tensorboard.compat.notf", keras)
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    board = EventAccumulator(str(watched.folder / "board"), {"scalars": 0, "histograms": 0})
    board.Reload()
    scalars = board.Scalars("l2_norm/conv/kernel")
    assert [one.step for one in scalars] == [3, 6, 9, 12, 15]
    wanted = watched.told.steps[9]["conv/kernel", "l2_norm"].value
    assert scalars[2].value == pytest.approx(wanted, rel=1e-6)
    first, second = board.Histograms("weights/hidden/kernel")
    value = watched.keep.steps[-1]["hidden"].astype("float64")
    assert (first.step, second.step) == (8, 16)
    told = second.histogram_value
    assert (told.num, sum(told.bucket)) == (value.size, value.size)
    assert told.min == pytest.approx(value.min()) and told.max == pytest.approx(value.max())
    assert told.sum_squares == pytest.approx((value**2).sum())


VARIANTS = {
    "compiled with XLA": dict(optimizer="adam", jit_compile=not torch),
    "an average": dict(
        optimizer=lambda: keras.optimizers.Adam(use_ema=True, loss_scale_factor=8, clipnorm=0.1)
    ),
    "a scale": dict(optimizer=lambda: keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam())),
    "eager": dict(
        optimizer=lambda: keras.optimizers.SGD(gradient_accumulation_steps=2), run_eagerly=True
    ),
}


def made(optimizer, **compiled):
    optimizer = optimizer() if callable(optimizer) else optimizer
    return model(optimizer, convolution=False, **compiled)


@pytest.mark.parametrize("name", in_turn(VARIANTS))
def test_however_it_is_trained_it_is_the_same(name):
    short = dict(x=IMAGES[:128], y=LABELS[:128], epochs=1)
    plain, watched = made(**VARIANTS[name]), made(**VARIANTS[name])
    history = fit(plain, **short).history
    monitor = sy.Monitor(METRICS, "**", 1, None, limits=OFF, on_error="raise")
    assert fit(watched, monitor, **short).history == history
    assert all(map(np.array_equal, weights(plain), weights(watched)))
    gradients = [float(one) for one in monitor.readings.filter(metric="gradient_norm")]
    assert np.nanmin(gradients) > 1e-7 and np.nanmax(gradients) < 100
    if name == "an average":
        assert monitor.readings["head/kernel", "ema_distance"].value > 0


@pytest.mark.skipif(torch, reason="Keras runs one step at a time on PyTorch")
def test_many_steps_at_once_are_measured_at_their_end():
    short = dict(x=IMAGES, y=LABELS, epochs=1)
    plain, watched = (model("sgd", False, steps_per_execution=3) for _ in range(2))
    history = fit(plain, **short).history
    told = Told()
    monitor = sy.Monitor(["l2_norm", "gradient_norm"], every=2, sinks=told)
    with pytest.warns(UserWarning, match="steps_per_execution is 3"):
        assert fit(watched, monitor, **short).history == history
    assert all(map(np.array_equal, weights(plain), weights(watched)))
    assert list(told.steps) == [3, 6, 8]
    reading = told.steps[8]["head/kernel", "gradient_norm"]
    assert reading.value is None and "steps_per_execution=1" in reading.reason


def test_what_has_a_step_of_its_own_has_no_gradient_that_we_know():
    class Own(keras.Sequential):
        def train_step(self, *given):
            return super().train_step(*given)

    net = Own([keras.Input((64,)), keras.layers.Dense(10, name="head")])
    net.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    monitor = sy.Monitor(["gradient_norm", "l2_norm"])
    with pytest.warns(UserWarning, match="train_step of its own"):
        fit(net, monitor, epochs=1, x=IMAGES[:64], y=LABELS[:64])
    assert monitor.readings["head/kernel", "gradient_norm"].status == "not applicable"
    assert monitor.readings["head/kernel", "l2_norm"].status == "ok"


@once("tensorflow")
@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="TensorFlow's random state")
def test_a_random_state_that_cannot_be_put_back_is_left_alone():
    import tensorflow as tf

    class Noise(keras.layers.Layer):
        def call(self, x):
            return x + 0.1 * tf.random.normal(tf.shape(x))

    def noisy():
        keras.utils.set_random_seed(0)
        net = keras.Sequential([keras.Input((64,)), Noise(), keras.layers.Dense(10, name="head")])
        net.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        return net

    plain, watched = noisy(), noisy()
    fit(plain, epochs=1)
    keras.utils.set_random_seed(0)
    monitor = sy.Monitor("gradient_norm", every=1)
    fit(watched, monitor, epochs=1)
    assert all(map(np.array_equal, weights(plain), weights(watched)))
    assert "keras.random" in monitor.readings["head/kernel", "gradient_norm"].reason


class Measured(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        self.readings = sy.measure(self.model, ["l2_norm", "spectral_norm"], select="**/kernel")


def test_lora_and_codes_are_read_as_what_they_mean():
    net = model("adam", False)
    net.get_layer("hidden").enable_lora(2)
    net.get_layer("head").quantize("int8")
    net.compile("adam", net.loss)
    monitor = sy.Monitor(["l2_norm", "spectral_norm", "distance_from_init"], limits=OFF)
    measured = Measured()
    fit(net, monitor, measured, epochs=1, x=IMAGES[:128], y=LABELS[:128])
    for reading in measured.readings:
        assert monitor.readings[reading.address, reading.metric] == reading
    assert monitor.readings["hidden/kernel", "distance_from_init"].value > 1e-4
    assert monitor.readings["head/kernel", "distance_from_init"].value == 0


def test_the_first_weight_that_is_not_finite_is_named_and_training_stops(tmp_path):
    net = model(keras.optimizers.SGD(1e12), False)
    monitor = sy.Monitor("l2_norm", "hidden/kernel", 1, tmp_path / "run.db", "stop", limits=OFF)
    with pytest.warns(UserWarning, match=r"(?s)non-finite-weight  .*Training stops here"):
        fit(net, monitor)
    run = sy.Run.load(tmp_path / "run.db")
    assert run.findings == monitor.findings and len(run.steps) < 8
    found = run.findings[0]
    assert found.code == "non-finite-weight" and found.step == run.steps[-1]
    assert f"after batch {run.batches[-1]} of epoch 1 (step {found.step})" in found.message
    assert "Before: loss" in found.message


def test_training_taken_up_again_counts_on(tmp_path):
    net = keras.Sequential([keras.Input((64,)), keras.layers.Dense(10, name="head")])
    net.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    short = dict(x=IMAGES[:80], y=LABELS[:80], epochs=1)  # the last batch is a smaller one
    for _ in range(2):
        fit(net, sy.Monitor("gradient_norm", every=1, sinks=tmp_path / "run.db"), **short)
    run = sy.Run.load(tmp_path / "run.db")
    assert run.steps == [1, 2, 3, 4]
    assert np.isfinite(run.values).all()


def test_an_average_of_what_is_stored_is_not_held_against_what_is_used():
    dense = keras.layers.Dense(3, name="dense")
    model = keras.Sequential([keras.Input((4,)), dense])
    sy.parametrize(dense, "kernel", sy.parametrizations.WeightNorm())
    model.compile(keras.optimizers.SGD(0.1, use_ema=True), "mse")
    monitor = sy.Monitor(["l2_norm", "ema_distance"], select="**")
    model.fit(np.ones((8, 4)), np.zeros((8, 3)), epochs=3, verbose=0, callbacks=[monitor])
    kernel, bias = (monitor.readings[f"dense/{at}", "ema_distance"] for at in ("kernel", "bias"))
    assert (kernel.value, kernel.status) == (None, "not applicable")
    assert bias.value > 0
    assert monitor.readings["dense/kernel", "l2_norm"].value > 0
