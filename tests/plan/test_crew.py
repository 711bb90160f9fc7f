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

    shares_fate = False

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


class Pair(Crew):
    """Two workers that go down together."""

    shares_fate = True

    def __init__(self, fatal):
        super().__init__()
        self.fatal, self.batches = fatal, []

    def is_free(self):
        return len(self.batches) < 2

    def give(self, batch):
        self.batches.append(batch)

    def finished(self):
        batches, self.batches = self.batches, []
        names = [task.spec.address for batch in batches for task in batch.tasks]
        self.given.append(names)
        if self.fatal & set(names):
            return [(batch, Lost("gone")) for batch in batches]
        return [(b, [(task.spec.address,) for task in b.tasks]) for b in batches]


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


def test_none_is_blamed_for_another():
    crew = Pair({"b"})
    batches = [Batch((task,)) for task in TASKS]
    found = {task.spec.address: readings for task, readings in over(crew, Plan(()), batches)}
    assert found["b"][0].status == "failed"
    assert [found[x] for x in "acde"] == [(x,) for x in "acde"]
    assert crew.given == [["a", "b"], ["c", "d"], ["e"], ["a"], ["b"], ["b"]]


def test_who_stops_listening_ends_the_crew():
    crew = Crew()
    steps = over(crew, Plan(()), BATCHES)
    next(steps)
    steps.close()
    assert crew.closed
