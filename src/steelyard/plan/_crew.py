"""Workers that are processes of their own, here or elsewhere, and what becomes of a lost one."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from steelyard.plan._batches import Batch
from steelyard.plan._plan import Plan, Task
from steelyard.plan._work import Readings

# A weight over which so many workers were lost has no readings.
MOST_LOSSES = 3


@dataclass(frozen=True, slots=True)
class Lost:
    """Instead of readings: the worker ended.

    Args:
        how: In half a sentence.
    """

    how: str


class Crew(Protocol):
    """Workers that take a batch each.

    Attributes:
        shares_fate: Whether a lost worker may have had more than one batch in hand.
    """

    shares_fate: bool

    def is_free(self) -> bool:
        """Whether one of them has nothing to do."""
        ...

    def give(self, batch: Batch) -> None:
        """Hands a batch to one of them; it returns at once."""
        ...

    def finished(self) -> Iterable[tuple[Batch, list[Readings] | Lost]]:
        """Waits until at least one batch is done, and gives all that are."""
        ...

    def close(self) -> None:
        """Ends all that the crew started, whatever it is doing."""
        ...


class Cluster(Crew, Protocol):
    """A crew of another engine.

    Attributes:
        is_local: Whether it is of this machine, for the while.
        size: How many workers it has.
        memory: How many bytes each may use.
    """

    is_local: bool
    size: int
    memory: float

    def tell(self, told: bytes) -> None:
        """What goes along with each batch: `_remote.packed`."""
        ...


def over(crew: Crew, plan: Plan, waiting: Iterable[Batch]) -> Iterator[tuple[Task, Readings]]:
    """Measures batches with a crew; a lost worker costs what it had in hand, which is repeated."""
    queue = deque(waiting)
    running = 0
    try:
        while queue or running:
            while queue and crew.is_free() and not (running and _is_suspect(queue[0], crew)):
                crew.give(queue.popleft())
                running += 1
            for batch, found in crew.finished():
                running -= 1
                if not isinstance(found, Lost):
                    yield from zip(batch.tasks, found, strict=True)
                elif len(batch.tasks) == 1 and batch.losses + 1 >= MOST_LOSSES:
                    why = f"the worker was lost {batch.losses + 1} times: {found.how}"
                    yield batch.tasks[0], plan.without(batch.tasks[0], "failed", why)
                else:
                    # At the end: what kills its worker should not hold the others up.
                    queue.extend(batch.again())
    finally:
        crew.close()


def _is_suspect(batch: Batch, crew: Crew) -> bool:
    """Whether a batch must run alone, so that no other one is blamed for what it does."""
    return crew.shares_fate and batch.losses > 0
