"""What becomes of a batch whose worker is lost, whoever the workers are."""

import pytest

from steelyard.metrics import chosen
from steelyard.plan._batches import Batch
from steelyard.plan._crew import Lost, over
from steelyard.plan._plan import Plan, Task
from steelyard.records import WeightSpec

pytestmark = pytest.mark.no_keras


class Crew:
    """One worker, which is lost over some tasks so many times."""

    def __init__(self, fatal=None):
        self.fatal, self.batch = dict(fatal or {}), None
        self.given, self.closed = [], False

    def is_free(self):
        return self.batch is None

    def give(self, batch):
        self.batch = batch
        self.given.append([task.spec.address for task in batch.tasks])

    def finished(self):
        batch, self.batch = self.batch, None
        for task in batch.tasks:
            address = task.spec.address
            if self.fatal.get(address):
                self.fatal[address] -= 1
                return [(batch, Lost("gone"))]
        return [(batch, [(task.spec.address,) for task in batch.tasks])]

    def close(self):
        self.closed = True


TASKS = [Task(WeightSpec(x, (2, 2), "float32", True, ""), chosen("mean")) for x in "abcde"]
BATCHES = [Batch(tuple(TASKS[:3])), Batch(tuple(TASKS[3:]))]


def test_what_was_lost_is_repeated_one_by_one_at_the_end():
    crew = Crew({"b": 1})
    found = [readings[0] for _, readings in over(crew, Plan(()), BATCHES)]
    assert sorted(found) == ["a", "b", "c", "d", "e"]
    assert crew.given == [["a", "b", "c"], ["d", "e"], ["a"], ["b"], ["c"]]
    assert crew.closed


def test_the_third_loss_is_the_last():
    crew = Crew({"b": 9})
    found = {task.spec.address: readings for task, readings in over(crew, Plan(()), BATCHES)}
    (reading,) = found.pop("b")
    assert reading.status == "failed" and reading.reason == "the worker was lost 3 times: gone"
    assert sorted(found) == ["a", "c", "d", "e"]


def test_who_stops_listening_ends_the_crew():
    crew = Crew()
    steps = over(crew, Plan(()), BATCHES)
    next(steps)
    steps.close()
    assert crew.closed
