"""What is to be measured: one task a weight, with all the numbers that are asked of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from steelyard.errors import SteelyardError
from steelyard.metrics import compute
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

    @property
    def cost(self) -> float:
        """How long it takes, roughly, in operations: for the order in which tasks begin."""
        shape = self.spec.shape
        cost = float(self.spec.size) * 4
        if len(shape) >= 2 and any(row.needs in ("spectrum", "matrix") for row in self.rows):
            side = min(shape[-1], self.spec.size // max(shape[-1], 1))
            repeats = 2 if any(row.group == "random" for row in self.rows) else 1
            cost += repeats * (float(self.spec.size) * side + 2.0 * side**3)
        elif any(row.needs == "largest" for row in self.rows):
            cost += float(self.spec.size) * 100
        return cost

    @property
    def working(self) -> float:
        """How many bytes it uses at most: the value, and what is made of it."""
        shape = self.spec.shape
        if len(shape) < 2 or all(row.needs in ("values", "pair") for row in self.rows):
            return self.nbytes
        side = min(shape[-1], self.spec.size // max(shape[-1], 1))
        square = 8.0 * side * side * 2.5
        copies = 2 if any(row.group == "random" for row in self.rows) else 0
        return self.nbytes * (1 + copies) + square


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
            axes=spec.axes if len(spec.axes) == array.ndim else "",
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
