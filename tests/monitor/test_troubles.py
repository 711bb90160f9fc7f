"""What goes wrong in or around `sy.Monitor`, told by hand as `fit` would tell it."""

import sqlite3

import keras
import numpy as np
import pytest

import steelyard as sy
from steelyard.errors import FindingError, UnknownAddressError, UnknownMetricError

QUIET = dict.fromkeys(("vanishing_update", "exploding_update"), None)


def net():
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(4, name="dense")])
    model.compile("sgd", "mse")
    return model


class Driven:
    """A training whose weights are set by hand, one batch a step."""

    def __init__(self, monitor):
        self.model, self.monitor, self.batch = net(), monitor, 0
        monitor.set_model(self.model)
        monitor.set_params({"steps": None})
        monitor.on_train_begin()
        monitor.on_epoch_begin(0)

    @property
    def kernel(self):
        return self.model.layers[0].kernel

    def step(self, value=None, loss=1.0):
        self.monitor.on_train_batch_begin(self.batch)
        if value is not None:
            self.kernel.assign(np.asarray(value, "float32") + np.zeros((6, 4), "float32"))
        self.monitor.on_train_batch_end(self.batch, {"loss": loss})
        self.batch += 1


class Broken:
    def __init__(self):
        self.calls = 0

    def log(self, step, readings):
        self.calls += 1
        raise OSError("No space left on device")


def test_a_sink_that_fails_is_a_warning_once(recwarn):
    broken, told = Broken(), []
    run = Driven(sy.Monitor(every=1, sinks=[broken, lambda step, _: told.append(step)]))
    for _ in range(10):
        run.step()
    run.monitor.on_train_end()
    assert told == list(range(1, 11))
    assert broken.calls == 3  # then it is left alone: a dead tracker may take long to fail
    said = [str(one.message) for one in recwarn if "No space left" in str(one.message)]
    assert len(said) == 1 and "Broken.log" in said[0] and "on_error='raise'" in said[0]


def test_on_error_raise():
    run = Driven(sy.Monitor(every=1, sinks=Broken(), on_error="raise"))
    with pytest.raises(OSError, match="No space"):
        run.step()


def test_a_database_that_is_taken_away(tmp_path):
    run = Driven(sy.Monitor(every=1, sinks=tmp_path / "run.db", limits=QUIET))
    run.step()
    other = sqlite3.connect(tmp_path / "run.db")
    other.execute("DROP TABLE steps")
    with pytest.warns(UserWarning, match="no such table"):
        run.step()
    assert run.monitor.readings["dense/kernel", "l2_norm"].status == "ok"


def test_a_schedule_of_ones_own(recwarn):
    asked, told = [], []

    def wanted(step):
        asked.append(step)
        if step == 5:
            raise RuntimeError("I forgot")
        return step & (step - 1) == 0

    metrics = ["l2_norm", "gradient_norm"]
    monitor = sy.Monitor(metrics, every=wanted, sinks=lambda step, _: told.append(step))
    run = Driven(monitor)
    for _ in range(9):
        run.step()
    assert told == [1, 2, 4, 8] and asked == list(range(1, 10))
    assert len([one for one in recwarn if "I forgot" in str(one.message)]) == 1


def test_a_weight_that_cannot_be_read_is_a_reading_that_says_so():
    run = Driven(sy.Monitor(every=1))

    def fails(*_):
        raise OSError("the disk is gone")

    run.monitor._source.view = fails
    with pytest.warns(UserWarning, match="the disk is gone"):
        run.step()
    reading = run.monitor.readings["dense/kernel", "l2_norm"]
    assert (reading.value, reading.status) == (None, "failed") and "disk" in reading.reason


@pytest.mark.parametrize("action", ["warn", "stop", "record", "raise", "ask"])
def test_what_is_done_about_the_first_weight_that_is_not_finite(action, recwarn, tmp_path):
    asked = []

    def ask(finding):
        asked.append(finding)
        return "stop"

    monitor = sy.Monitor(
        "l2_norm", every=1, sinks=tmp_path / "run.db", limits=QUIET,
        on_nonfinite=ask if action == "ask" else action,
    )  # fmt: skip
    run = Driven(monitor)
    run.step(0.5)
    bad = np.full((6, 4), 0.5)
    bad[0, :2], bad[1, 1] = np.nan, np.inf
    if action == "raise":
        with pytest.raises(FindingError, match="2 NaN and 1 infinite entries after batch 2"):
            run.step(bad)
    else:
        run.step(bad)
        run.step(bad)
    (found,) = monitor.findings
    assert (found.code, found.address, found.step) == ("non-finite-weight", "dense/kernel", 2)
    assert "of epoch 1 (step 2). Before: loss 1, l2_norm 2.449 at step 1." in found.message
    assert run.model.stop_training == (action in ("stop", "ask"))
    said = [one for one in recwarn if "non-finite" in str(one.message)]
    assert len(said) == (action in ("warn", "stop", "ask"))
    assert asked == ([found] if action == "ask" else [])
    monitor.on_train_end()
    assert sy.Run.load(tmp_path / "run.db").findings == [found]


@pytest.mark.parametrize("metrics", ["update_ratio", "training", "comparison"])
def test_what_compares_weights_that_are_not_finite_says_so(metrics):
    run = Driven(sy.Monitor(metrics, every=1, on_nonfinite="record", on_finding="record"))
    names = ["update_ratio", "cosine", "subspace_angle"]
    for value in (1.0, np.inf, np.nan, np.inf, 1.0, 2.0):
        run.step(value)
        for reading in run.monitor.readings.filter(metric=names, missing_ok=True):
            assert reading.status == ("ok" if run.batch in (1, 6) else "not finite"), reading


def test_a_loss_that_is_not_finite_is_looked_into_between_readings():
    run = Driven(sy.Monitor(every="epoch", on_nonfinite="record"))
    run.step(0.5)
    run.step(np.nan, loss=np.nan)
    (found,) = run.monitor.findings
    assert (found.code, found.address, found.step) == ("non-finite-weight", "dense/kernel", 2)
    other = Driven(sy.Monitor(every="epoch", on_nonfinite="record"))
    other.step(0.5, loss=np.inf)
    assert [(one.code, one.address) for one in other.monitor.findings] == [("non-finite-loss", "")]
    assert "all weights are finite" in other.monitor.findings[0].message


def test_a_function_that_is_asked_and_fails_ends_nothing():
    def ask(finding):
        raise KeyError("oh")

    run = Driven(sy.Monitor(every=1, on_nonfinite=ask, limits=QUIET))
    with pytest.warns(UserWarning, match="told of findings"):
        run.step(np.nan)
    run.step(np.nan)


def test_findings_beyond_limits_are_told_when_they_begin():
    metrics = ["update_ratio", "dead_units", "effective_rank"]
    monitor = sy.Monitor(metrics, every=1, on_finding="record")
    run = Driven(monitor)
    rng = np.random.default_rng(0)
    healthy = rng.normal(size=(6, 4))
    run.step(healthy)
    monitor.findings.clear()  # from the start to this it was a long way
    run.step(healthy * 1.01)
    assert monitor.findings == []
    run.step(healthy * 5)
    run.step(healthy * 30)
    run.step(healthy * 30)
    run.step(healthy * [0, 0, 0, 1])
    codes = [(one.code, one.step) for one in monitor.findings]
    assert codes == [("exploding-update", 3), ("vanishing-update", 5), ("dead-units", 6)]
    assert "75% of its output units" in monitor.findings[-1].message


def test_a_limit_of_ones_own():
    with pytest.warns(UserWarning, match=r"rank-collapse  dense/kernel at step 1: .*25.0%"):
        limits = {"rank_collapse": 0.3, **QUIET}
        Driven(sy.Monitor("effective_rank", every=1, limits=limits)).step(1.0)
    Driven(sy.Monitor("effective_rank", every=1, limits={"rank_collapse": None})).step(1.0)


@pytest.mark.parametrize(
    ("given", "error", "says"),
    [
        ({"metrics": "l2norm"}, UnknownMetricError, "l2_norm"),
        ({"every": 0}, sy.SteelyardError, "from 1"),
        ({"every": "batch"}, sy.SteelyardError, "'epoch', a number of batches"),
        ({"sinks": 7}, sy.SteelyardError, "A sink is 'logs'"),
        ({"sinks": "run.csv"}, sy.SteelyardError, "ends in '.db'"),
        ({"sinks": "no folder/run.db"}, sy.SteelyardError, "no folder"),
        ({"on_nonfinite": "pray"}, sy.SteelyardError, "'record', 'warn', 'stop', 'raise'"),
        ({"on_finding": None}, sy.SteelyardError, "on_finding"),
        ({"on_error": "ignore"}, sy.SteelyardError, "'warn' or 'raise'"),
        ({"limits": {"dead_unit": 1}}, sy.SteelyardError, "Did you mean 'dead_units'"),
        ({"limits": {"dead_units": "all"}}, sy.SteelyardError, "a number or None"),
        ({"view": "round"}, sy.SteelyardError, "`view`"),
        ({"max_memory": "much"}, sy.SteelyardError, "max_memory"),
    ],
)
def test_wrong_use_is_said_before_training(given, error, says, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error) as caught:
        sy.Monitor(**given)
    assert says in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_what_is_selected_must_be_there():
    with pytest.raises(UnknownAddressError, match="dense/kernel"):
        Driven(sy.Monitor(select="dens/kernel"))
