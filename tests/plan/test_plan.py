"""What is to be done: tasks, their cost and their memory."""

import pytest

import steelyard as sy
from steelyard.metrics import chosen
from steelyard.plan import plan_of
from steelyard.records import WeightSpec

pytestmark = pytest.mark.no_keras


def spec(shape, axes="", dtype="float32", address="a"):
    return WeightSpec(address, shape, dtype, True, "Dense", axes=axes)


def task(shape, metrics="spectral", **told):
    return plan_of([spec(shape, **told)], chosen(metrics)).tasks[0]


def test_what_is_known_is_left_out():
    rows = chosen(["mean", "std"])
    specs = [spec((3, 2)), spec((3, 2), address="b")]
    plan = plan_of(specs, rows, done={"a": frozenset({"mean", "std"}), "b": frozenset({"std"})})
    (only,) = plan.tasks
    assert only.spec.address == "b"
    assert [row.name for row in only.rows] == ["mean"]


def test_cost_grows_with_the_shorter_side():
    assert task((1000, 1000)).cost("flat") > 5 * task((100, 10_000)).cost("flat")
    assert task((100, 100), "values").cost("flat") < task((100, 100)).cost("flat")
    assert task((100, 100), ["spectral", "random"]).cost("flat") > task((100, 100)).cost("flat")


def test_memory_follows_the_axes():
    wide = (512, 8, 64)
    assert task(wide, axes="ioo").working("flat") > task(wide, axes="kio").working("pooled")
    assert task((64, 64), "values").working("flat") == 64 * 64 * 4
    assert task((64, 64), "values", dtype="float64").working("flat") == 64 * 64 * 8
    assert task((5,)).working("flat") == 20


def test_axes_of_another_rank_are_not_believed():
    assert task((4, 4), axes="kkio").axes == ""


@pytest.mark.parametrize("told", [{"view": "round"}, {"compat": "excel"}])
def test_wrong_use(told):
    with pytest.raises(sy.SteelyardError, match=r"round|excel"):
        plan_of([], (), **told)
