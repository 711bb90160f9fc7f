"""Batches: by what tasks cost, which is known from their shapes."""

import pytest

from steelyard.metrics import chosen
from steelyard.plan._batches import ENOUGH, Batch, batches
from steelyard.plan._plan import Task
from steelyard.records import WeightSpec

pytestmark = pytest.mark.no_keras


def task(number, *shape):
    return Task(WeightSpec(f"w{number}", shape, "float32", True, ""), chosen("spectral_norm"))


def test_large_ones_travel_alone_and_small_ones_together():
    tasks = [task(i, 1000, 1000) for i in range(3)] + [task(i, 10) for i in range(3, 50)]
    found = [*batches(tasks, "flat", 2)]
    assert [len(batch.tasks) for batch in found] == [1, 1, 1, 47]
    assert [t for batch in found for t in batch.tasks] == tasks


def test_each_worker_has_several():
    tasks = [task(i, 50, 50) for i in range(100)]
    assert sum(t.cost("flat") for t in tasks) < 2 * ENOUGH
    sizes = [len(batch.tasks) for batch in batches(tasks, "flat", 3)]
    assert len(sizes) >= 12 and max(sizes) - min(sizes[:-1]) == 0


def test_none():
    assert [*batches([], "flat", 2)] == []


def test_after_a_loss_each_is_by_itself():
    tasks = (task(0, 3), task(1, 4))
    assert Batch(tasks).again() == [Batch(tasks[:1], 1), Batch(tasks[1:], 1)]
