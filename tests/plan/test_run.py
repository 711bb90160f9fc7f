"""Every engine gives the same readings; one weight never ends the others."""

import threading
import time

import numpy as np
import pytest

import steelyard as sy
from steelyard.metrics import chosen
from steelyard.plan import _run as module
from steelyard.plan import plan_of, run

pytestmark = pytest.mark.no_keras


def readings(source, engine="threads", metrics="all", workers=3, memory=1e9):
    plan = plan_of(source.specs(), chosen(metrics))
    steps = run(plan, lambda: source, engine=engine, workers=workers, memory=memory)
    return {(r.address, r.metric): r for _, found in steps for r in found}


def test_threads_give_what_one_after_the_other_gives(source):
    assert readings(source) == readings(source, "serial")


def test_the_costliest_is_first(source):
    readings(source, "serial")
    order = [address for address, _ in source.reads]
    assert set(order[:2]) == {"w1", "w5"}
    assert order[-1] == "w2"


def test_one_reader_at_a_time(source):
    readings(source, workers=4)
    assert source.most == 1
    assert len({thread for _, thread in source.reads}) > 1


@pytest.mark.parametrize("engine", ["serial", "threads"])
def test_one_that_cannot_be_read_leaves_the_others(source, engine):
    source.fails = {"w1"}
    got = readings(source, engine, ["l2_norm", "spectral_norm"])
    for metric in ("l2_norm", "spectral_norm"):
        assert got["w1", metric].status == "failed"
        assert "the disk said no" in got["w1", metric].reason
        assert got["w3", metric].status == "ok"


def test_a_weight_larger_than_the_budget_is_not_read(source):
    got = readings(source, memory=200_000)
    assert got["w1", "l2_norm"].status == "too large"
    assert got["w4", "spectral_norm"].status == "ok"
    assert "w1" not in [address for address, _ in source.reads]


def test_the_budget_holds_over_all_workers(source, monkeypatch):
    held, most, lock = [0], [0], threading.Lock()
    real = module.Plan.measure

    def watched(plan, task, array, budget):
        amount = task.working(plan.view)
        with lock:
            held[0] += amount
            most[0] = max(most[0], held[0])
        time.sleep(0.01)
        yield from real(plan, task, array, budget)
        with lock:
            held[0] -= amount

    monkeypatch.setattr(module.Plan, "measure", watched)
    largest = max(task.working("flat") for task in plan_of(source.specs(), chosen("all")).tasks)
    readings(source, workers=4, memory=1.2 * largest)
    assert largest <= most[0] <= 1.2 * largest
    readings(source, workers=4, memory=1e12)
    assert most[0] > 1.2 * largest


def test_blas_is_kept_to_one_thread(source, monkeypatch):
    from threadpoolctl import threadpool_info

    seen = []
    real = module.Plan.measure

    def watched(plan, task, array, budget):
        seen.extend(p["num_threads"] for p in threadpool_info() if p["user_api"] == "blas")
        return real(plan, task, array, budget)

    monkeypatch.setattr(module.Plan, "measure", watched)
    readings(source)
    assert set(seen) == {1}


def test_what_was_broken_off_ends_its_threads(source):
    before = threading.active_count()
    plan = plan_of(source.specs(), chosen("all"))
    steps = run(plan, lambda: source, engine="threads", workers=2)
    next(steps)
    steps.close()
    assert threading.active_count() == before


@pytest.mark.parametrize(
    ("told", "says"),
    [
        ({"engine": "cloud"}, "'auto', 'serial', 'threads'"),
        ({"workers": 0}, "`workers` is a number from 1"),
    ],
)
def test_wrong_use(source, told, says):
    plan = plan_of(source.specs(), chosen("l2_norm"))
    with pytest.raises(sy.SteelyardError, match=says):
        list(run(plan, lambda: source, **told))


def test_no_weights_at_all():
    from tests.plan.conftest import Source

    assert readings(Source({})) == {}
    assert readings(Source({"a": np.zeros((0, 3), "float32")}))["a", "mean"].status == "undefined"


class InBlocks:
    """A source of a user that also gives its weights in blocks."""

    def __init__(self, source):
        self.specs, self.stored, self.source = source.specs, source.stored, source
        self.asked = []

    def read(self, address):
        self.asked.append(address)
        return self.source.read(address)

    def blocks(self, address, rows):
        if address == "w3":
            return None
        array = self.source.arrays[address]
        return (array[i : i + rows].copy() for i in range(0, len(array), rows))


def test_a_weight_larger_than_the_budget_is_measured_in_blocks(source):
    blocks = InBlocks(source)
    expected = readings(source)
    got = readings(blocks, memory=75_000, metrics=["l2_norm", "median", "alpha", "duplicate_units"])
    assert not {"w1", "w5", "w3"} & set(blocks.asked)  # larger than the budget
    for address in ("w0", "w1", "w5"):
        for metric in ("l2_norm", "median"):
            value = expected[address, metric].value
            assert got[address, metric].value == pytest.approx(value, rel=1e-6)
    assert got["w0", "alpha"] == expected["w0", "alpha"]
    assert got["w1", "alpha"].status == "too large"
    assert "all of the weight" in got["w1", "duplicate_units"].reason
    assert got["w3", "l2_norm"].reason == "the weight alone takes 80,000 bytes"


def test_what_fits_is_read_whole_and_the_rest_in_blocks(source):
    blocks = InBlocks(source)
    got = readings(blocks, memory=660_000, metrics=["duplicate_units", "l2_norm", "rand_sigma"])
    assert got["w1", "l2_norm"].status == "ok"
    assert got["w1", "duplicate_units"].status == "too large"
    assert got["w4", "duplicate_units"].status == "ok"
    assert "w1" in blocks.asked


def test_blocks_that_cannot_be_read_leave_the_others(source):
    blocks = InBlocks(source)
    source.arrays["w1"] = source.arrays["w1"][:7]
    specs = InBlocks(source).specs()
    blocks.specs = lambda: [
        type(s)(s.address, (400, 300), s.dtype, True, "") if s.address == "w1" else s for s in specs
    ]
    got = readings(blocks, memory=75_000, metrics=["l2_norm"])
    assert got["w1", "l2_norm"].status == "failed"
    assert "7 rows" in got["w1", "l2_norm"].reason
    assert got["w5", "l2_norm"].status == "ok"
