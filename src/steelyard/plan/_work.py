"""One task, from reading the weight to its readings, whatever becomes of it."""

from __future__ import annotations

import functools
import sys
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any

import numpy as np

from steelyard.plan._budget import Budget
from steelyard.plan._plan import Plan, Task
from steelyard.records import Reading
from steelyard.source import BlockSource, WeightSource

Readings = tuple[Reading, ...]


class Work:
    """Measures one task after the other, or several at a time in threads.

    A weight that does not fit into the memory allowed, with what is made of it, is measured in
    blocks as far as its source gives it so.

    Args:
        plan: How all weights are seen.
        source: What holds them. It is read by one thread at a time.
        memory: How many bytes may be used.
    """

    def __init__(self, plan: Plan, source: WeightSource, memory: float) -> None:
        self.plan = plan
        self.source = source
        self.budget = Budget(memory)
        self._reading = threading.Lock()

    def __call__(self, task: Task) -> Readings:
        """The readings of a task; what cannot be measured has some that say so."""
        whole, rest = task, None
        try:
            if task.working(self.plan.view) > self.budget.total and self._blocks(task, 1):
                whole, rest = task.split(self.plan.view, self.budget.total)
            found = [*self._whole(whole)] if whole.rows else []
            if rest is not None:
                found += self._in_blocks(rest)
        except MemoryError:
            return self.plan.without(task, "too large", "there was no memory for it")
        except Exception as error:  # one weight must not end the others
            return self.plan.without(task, "failed", f"{type(error).__name__}: {error}")
        known = {reading.metric: reading for reading in found}
        return tuple(known[row.name] for row in task.rows)

    def _whole(self, task: Task) -> Readings:
        if task.nbytes > self.budget.total:
            reason = f"the weight alone takes {task.nbytes:,} bytes"
            return self.plan.without(task, "too large", reason)
        with self.budget.of(task.working(self.plan.view)):
            # Neither Keras nor h5py promises more than one reader at a time.
            with self._reading:
                array = self.source.read(task.spec.address)
            return tuple(self.plan.measure(task, array, self.budget.total))

    def _in_blocks(self, task: Task) -> Readings:
        with self.budget.of(self.budget.total) as memory:
            return tuple(
                self.plan.measure_in_blocks(task, lambda rows: self._one_by_one(task, rows), memory)
            )

    def _blocks(self, task: Task, rows: int) -> Iterator[np.ndarray] | None:
        if not isinstance(self.source, BlockSource) or not task.spec.shape:
            return None
        return self.source.blocks(task.spec.address, rows)

    def _one_by_one(self, task: Task, rows: int) -> Iterator[np.ndarray]:
        blocks: Any = self._blocks(task, rows)
        while True:
            with self._reading:
                block = next(blocks, None)
            if block is None:
                return
            yield block
            del block  # before the next one is there


def one_blas_thread() -> AbstractContextManager[object]:
    """BLAS computes in the thread that calls it, for the while."""
    loaded = tuple(name in sys.modules for name in _BRING_BLAS)
    limits: AbstractContextManager[object] = _libraries(loaded).limit(limits=1, user_api="blas")
    return limits


# With each of these, another BLAS may be in the process.
_BRING_BLAS = ("numpy", "scipy.linalg", "torch", "tensorflow", "jaxlib")


@functools.cache
def _libraries(loaded: tuple[bool, ...]) -> Any:
    """The BLAS libraries of this process; to look for them takes milliseconds."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()
