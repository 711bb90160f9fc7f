"""`Run`: what was measured at the steps of a training."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from copy import deepcopy
from os import PathLike
from typing import TYPE_CHECKING, Any

from steelyard.errors import SteelyardError
from steelyard.readings import _run_files
from steelyard.readings._readings import Readings
from steelyard.readings._run_step import RunData, RunStep, collected, readings_at
from steelyard.records import Finding

if TYPE_CHECKING:
    import numpy as np


class Run:
    """What was measured at the steps of a training: a table of numbers. It never changes.

    Args:
        steps: The single steps. Of two with the same number, the later one counts.
        findings: What was found to go wrong.
        info: What is known of the run: names and values that JSON can hold.
    """

    def __init__(
        self,
        steps: Iterable[RunStep] = (),
        findings: Iterable[Finding] = (),
        info: Mapping[str, Any] | None = None,
    ) -> None:
        self._data = collected(dict(info or {}), steps, findings)

    @classmethod
    def load(cls, path: str | PathLike[str]) -> Run:
        """Read a run that `steelyard.Monitor` has written, also while it is writing it.

        Args:
            path: A file that ends in `.db`, `.jsonl` or `.parquet`.

        Raises:
            SteelyardError: If there is no such file, or it is something else or damaged.
            MissingDependencyError: If PyArrow is needed and not installed.
        """
        return cls._of(_run_files.load(path))

    @classmethod
    def _of(cls, data: RunData) -> Run:
        run = cls()
        run._data = data
        return run

    def save(self, path: str | PathLike[str]) -> None:
        """Write it to a file that ends in `.db`, `.jsonl` or `.parquet`; one there is replaced."""
        _run_files.save(path, self._data)

    @property
    def info(self) -> dict[str, Any]:
        """What is known of the run. A copy."""
        return deepcopy(self._data.info)

    @property
    def steps(self) -> list[int]:
        """After how many batches of training each row of `values` was measured, in order."""
        return list(self._data.steps)

    @property
    def epochs(self) -> list[int]:
        """The epoch of each step, from 0."""
        return list(self._data.epochs)

    @property
    def batches(self) -> list[int]:
        """How many batches of its epoch had been trained on, at each step."""
        return list(self._data.batches)

    @property
    def logs(self) -> list[dict[str, float]]:
        """What Keras logged at each step: the loss and its metrics."""
        return [dict(logs) for logs in self._data.logs]

    @property
    def keys(self) -> list[tuple[str, str, str]]:
        """What each column of `values` is: address, metric and unit."""
        return list(self._data.keys)

    @property
    def values(self) -> np.ndarray:
        """The numbers, float64, of shape (steps, keys); NaN where there is none."""
        return self._data.values.copy()

    @property
    def findings(self) -> list[Finding]:
        """What was found to go wrong, each with its step."""
        return list(self._data.findings)

    def __len__(self) -> int:
        return len(self._data.steps)

    def series(self, address: str, metric: str) -> np.ndarray:
        """One number at all steps, of shape (steps,); NaN where there is none.

        Raises:
            SteelyardError: If it was never measured.
        """
        for column, (one, name, _) in enumerate(self._data.keys):
            if (one, name) == (address, metric):
                return self._data.values[:, column].copy()
        raise SteelyardError(f"{metric!r} of {address!r} was not measured in this run.")

    def readings(self, step: int = -1) -> Readings:
        """All that was measured at one step, with statuses and reasons.

        Args:
            step: One of `steps`; or from the end, -1 for the last.

        Raises:
            SteelyardError: If nothing was measured then.
        """
        steps = self._data.steps
        row = steps.index(step) if step in steps else step
        if not -len(steps) <= row < 0 and step not in steps:
            shown = f"{len(steps)} from {steps[0]} to {steps[-1]}" if steps else "none"
            raise SteelyardError(f"Nothing was measured at step {step}. Steps: {shown}.")
        row %= len(steps)
        info = {**self.info, "step": steps[row], "epoch": self._data.epochs[row]}
        return Readings(readings_at(self._data, row), info)

    def __repr__(self) -> str:
        steps = self._data.steps
        span = f", {steps[0]:,} to {steps[-1]:,}" if steps else ""
        addresses = len({address for address, _, _ in self._data.keys})
        return (
            f"Run({len(steps):,} steps{span}; {addresses:,} weights, {len(self._data.keys):,} "
            f"series, {len(self._data.findings):,} findings)"
        )
