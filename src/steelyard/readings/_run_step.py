"""One step of a run: what was measured in training after so many batches."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from steelyard.records import Finding, Reading, Value

if TYPE_CHECKING:
    import numpy as np

Key = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class RunStep:
    """What was measured at one moment of a training.

    Args:
        step: How many batches had been trained on.
        epoch: The epoch it was in, from 0 as Keras counts.
        batch: How many batches of that epoch had been trained on.
        readings: The readings, each address and metric once.
        logs: What Keras said then: the loss and its metrics.
    """

    step: int
    epoch: int
    batch: int
    readings: tuple[Reading, ...]
    logs: Mapping[str, float] = field(default_factory=dict)


class RunWriter(Protocol):
    """A file that a run is written to while it goes on."""

    def append(self, step: RunStep) -> None:
        """Write one step, so that it is there whatever happens next."""

    def found(self, finding: Finding) -> None:
        """Write one finding."""

    def close(self) -> None:
        """Finish the file. Nothing is appended after it."""


class Note(NamedTuple):
    """What a number alone does not say: a status, a reason, a bound, or a value that is none."""

    status: str
    reason: str
    bound: float | None
    other: Value


class RunData(NamedTuple):
    """A whole run, in columns."""

    info: dict[str, Any]
    steps: list[int]
    epochs: list[int]
    batches: list[int]
    logs: list[dict[str, float]]
    keys: list[Key]
    values: np.ndarray
    notes: dict[tuple[int, int], Note]
    findings: list[Finding]


def key_of(reading: Reading) -> Key:
    """What makes a column: address, metric and unit."""
    return reading.address, reading.metric, reading.unit


def number_of(reading: Reading) -> float:
    """The number, or NaN where there is none, or several, or a name."""
    value = reading.value
    return math.nan if value is None or isinstance(value, str | tuple) else float(value)


def note_of(reading: Reading) -> Note | None:
    """What must be kept beside the number; None where the number says it all."""
    number = number_of(reading)
    if reading.status == "ok" and reading.bound is None and number == number:
        return None
    other = reading.value if number != number else None
    return Note(reading.status, reading.reason, reading.bound, other)


def reading_at(data: RunData, row: int, column: int) -> Reading | None:
    """The reading of one step and key; None where nothing was measured."""
    number, note = float(data.values[row, column]), data.notes.get((row, column))
    address, metric, unit = data.keys[column]
    if note is not None:
        value = note.other if number != number else number
        return Reading(address, metric, value, unit, note.status, note.reason, note.bound)
    return Reading(address, metric, number, unit) if number == number else None


def readings_at(data: RunData, row: int) -> list[Reading]:
    """All readings of one step."""
    found = (reading_at(data, row, column) for column in range(len(data.keys)))
    return [reading for reading in found if reading is not None]


def collected(
    info: dict[str, Any], steps: Iterable[RunStep], findings: Iterable[Finding]
) -> RunData:
    """The columns of single steps. Of a step that is there twice, the later one counts."""
    import numpy as np  # late: a table of readings needs none

    by_step = {one.step: one for one in steps}
    told = [by_step[step] for step in sorted(by_step)]
    keys: dict[Key, int] = {}
    for one in told:
        for reading in one.readings:
            keys.setdefault(key_of(reading), len(keys))
    values = np.full((len(told), len(keys)), np.nan)
    notes = {}
    for row, one in enumerate(told):
        for reading in one.readings:
            column = keys[key_of(reading)]
            values[row, column] = number_of(reading)
            if (note := note_of(reading)) is not None:
                notes[row, column] = note
    return RunData(
        info,
        [one.step for one in told],
        [one.epoch for one in told],
        [one.batch for one in told],
        [dict(one.logs) for one in told],
        list(keys),
        values,
        notes,
        list(findings),
    )


def steps_of(data: RunData) -> list[RunStep]:
    """The single steps of columns: the way back."""
    rows = zip(data.steps, data.epochs, data.batches, data.logs, strict=True)
    return [
        RunStep(step, epoch, batch, tuple(readings_at(data, row)), logs)
        for row, (step, epoch, batch, logs) in enumerate(rows)
    ]
