"""What is to be measured: one task a weight, with all the numbers that are asked of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from steelyard.errors import SteelyardError
from steelyard.metrics import compute, sides, working_bytes
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
        spec = self.spec
        return self.nbytes + working_bytes(self.rows, spec.shape, self.axes, view, self.nbytes)

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
        spec = task.spec
        answers = compute(
            array,
            task.rows,
            dtype=spec.dtype,
            axes=task.axes,
            view=self.view,
            compat=self.compat,
            budget=budget - array.nbytes,
        )
        for row, (value, status, reason, bound) in answers:
            yield Reading(spec.address, row.name, value, row.unit, status, reason, bound)

    def without(self, task: Task, status: str, reason: str) -> tuple[Reading, ...]:
        """Readings of a weight that has none, with the reason."""
        address = task.spec.address
        return tuple(Reading(address, r.name, None, r.unit, status, reason) for r in task.rows)


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
