"""What one worker is given at a time: tasks of about the same cost in all."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from steelyard.plan._plan import Task

# In operations. Some ten milliseconds: several times what it takes to send a batch and its answer.
ENOUGH = 3e7
# So many batches for each worker at least, so that none waits long for the others at the end.
_EACH = 4


@dataclass(frozen=True, slots=True)
class Batch:
    """Tasks that travel together.

    Args:
        tasks: Which.
        losses: How many workers were lost over them.
    """

    tasks: tuple[Task, ...]
    losses: int = 0

    def again(self) -> list[Batch]:
        """What to do after a loss: each task by itself, so that only one is to blame."""
        return [Batch((task,), self.losses + 1) for task in self.tasks]


def batches(tasks: Iterable[Task], view: str, workers: int) -> Iterator[Batch]:
    """Tasks in their order, small ones together; what they cost is known from their shapes.

    Args:
        tasks: The costliest first.
        view: How a kernel becomes matrices.
        workers: How many there are.
    """
    tasks = list(tasks)
    costs = [task.cost(view) for task in tasks]
    enough = min(ENOUGH, sum(costs) / (_EACH * workers))
    held: list[Task] = []
    total = 0.0
    for task, cost in zip(tasks, costs, strict=True):
        held.append(task)
        total += cost
        if total >= enough:
            yield Batch(tuple(held))
            held, total = [], 0.0
    if held:
        yield Batch(tuple(held))
