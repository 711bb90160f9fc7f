"""What is to be measured: one task a weight, with all the numbers that are asked of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from steelyard.errors import SteelyardError
from steelyard.metrics import compute, compute_in_blocks, sides, working_bytes
from steelyard.records import Metric, Reading, WeightSpec

COMPATS = (None, "weightwatcher")
VIEWS = ("flat", "pooled")


@dataclass(frozen=True, slots=True)
class Task:
    """All numbers of one weight.

    Args:
        spec: Which weight.
        rows: Which numbers.
    """

    spec: WeightSpec
    rows: tuple[Metric, ...]

    @property
    def nbytes(self) -> int:
        """What the effective value takes when it has been read."""
        width = {"float64": 8, "int64": 8, "uint64": 8}.get(self.spec.dtype, 4)
        return self.spec.size * width

    def cost(self, view: str) -> float:
        """How long it takes, roughly, in operations: for the order in which tasks begin."""
        cost = 4.0 * self.spec.size
        if len(self.spec.shape) < 2 or not self.spec.size:
            return cost
        count, high, wide = sides(self.spec.shape, self.axes, view)
        short = min(high, wide)
        if any(row.needs in ("spectrum", "matrix") for row in self.rows):
            repeats = 2 if any(row.group == "random" for row in self.rows) else 1
            cost += repeats * count * (float(high) * wide * short + 2.0 * short**3)
        elif any(row.needs == "largest" for row in self.rows):
            cost += 100.0 * self.spec.size
        return cost

    def working(self, view: str) -> float:
        """How many bytes it uses at most: the value, and what is made of it."""
        return self.nbytes + self._beside(self.rows, view)

    def split(self, view: str, memory: float) -> tuple[Task, Task]:
        """What is measured with all of the weight in memory, and what only without."""
        fits = [self.nbytes + self._beside((row,), view) <= memory for row in self.rows]
        whole = tuple(row for row, fit in zip(self.rows, fits, strict=True) if fit)
        rest = tuple(row for row, fit in zip(self.rows, fits, strict=True) if not fit)
        return replace(self, rows=whole), replace(self, rows=rest)

    def _beside(self, rows: tuple[Metric, ...], view: str) -> float:
        return working_bytes(rows, self.spec.shape, self.axes, view, self.nbytes)

    @property
    def axes(self) -> str:
        """What the axes are, where the source knows it of as many as there are."""
        return self.spec.axes if len(self.spec.axes) == len(self.spec.shape) else ""


@dataclass(frozen=True, slots=True)
class Plan:
    """Tasks, and how all of them see a weight.

    Args:
        tasks: In the order of the source.
        view: How a kernel becomes matrices: `"flat"` or `"pooled"`.
        compat: `"weightwatcher"` for its conventions.
    """

    tasks: tuple[Task, ...]
    view: str = "flat"
    compat: str | None = None

    def __len__(self) -> int:
        return len(self.tasks)

    def measure(self, task: Task, array: np.ndarray, budget: float) -> Iterator[Reading]:
        """The readings of one task, of a value that has been read."""
        told = self._told(task) | {"budget": budget - array.nbytes}
        return _readings(task, compute(array, task.rows, **told))

    def measure_in_blocks(
        self, task: Task, blocks: Callable[[int], Iterable[np.ndarray]], budget: float
    ) -> Iterator[Reading]:
        """The readings of one task, of a value that is never in memory as a whole."""
        told = self._told(task) | {"budget": budget, "nbytes": task.nbytes}
        return _readings(task, compute_in_blocks(blocks, task.spec.shape, task.rows, **told))

    def _told(self, task: Task) -> dict[str, Any]:
        return dict(dtype=task.spec.dtype, axes=task.axes, view=self.view, compat=self.compat)

    def without(self, task: Task, status: str, reason: str) -> tuple[Reading, ...]:
        """Readings of a weight that has none, with the reason."""
        address = task.spec.address
        return tuple(Reading(address, r.name, None, r.unit, status, reason) for r in task.rows)


def _readings(task: Task, answers: Iterable[tuple[Metric, Any]]) -> Iterator[Reading]:
    for row, (value, status, reason, bound) in answers:
        yield Reading(task.spec.address, row.name, value, row.unit, status, reason, bound)


def plan_of(
    specs: Iterable[WeightSpec],
    rows: Iterable[Metric],
    *,
    view: str = "flat",
    compat: str | None = None,
    done: Mapping[str, frozenset[str]] | None = None,
) -> Plan:
    """A task for each weight.

    Args:
        specs: Which weights.
        rows: Which numbers.
        view: How a kernel becomes matrices.
        compat: `None` or `"weightwatcher"`.
        done: By address, the names of numbers that are known already and left out.

    Raises:
        SteelyardError: There is no such view or convention.
    """
    if view not in VIEWS:
        raise SteelyardError(f"`view` is one of {', '.join(map(repr, VIEWS))}. Received: {view!r}")
    if compat not in COMPATS:
        raise SteelyardError(f"`compat` is None or 'weightwatcher'. Received: {compat!r}")
    rows, done = tuple(rows), done or {}
    tasks = []
    for spec in specs:
        known = done.get(spec.address, frozenset())
        left = tuple(row for row in rows if row.name not in known)
        if left:
            tasks.append(Task(spec, left))
    return Plan(tuple(tasks), view, compat)
