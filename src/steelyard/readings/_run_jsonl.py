"""A run as JSON lines: a first line about the file, then one line a step or finding, as it comes.

A step is `{"step": …, "epoch": …, "batch": …, "logs": {…}, "readings": […]}`, each reading as in a
file of readings; a finding `{"finding": {…}}`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from steelyard.errors import SteelyardError
from steelyard.readings._heading import RUN, foreign, heading, understand
from steelyard.readings._jsonl import cells_of, from_json, parse, row_from, to_json
from steelyard.readings._rows import reading_of, row_of
from steelyard.readings._run_step import RunData, RunStep, collected
from steelyard.records import Finding


class JsonlRun:
    """Writes a run, a line a step.

    Args:
        path: The file. If it has a run, what that had after `start` is taken out.
        info: What is known of the run.
        start: After how many batches this one begins.

    Raises:
        SteelyardError: If the file is something else.
    """

    def __init__(self, path: Path, info: Mapping[str, Any], start: int) -> None:
        kept = _before(path, start) if path.exists() else []
        new = path.with_name(f"{path.name}.new")
        new.write_text("".join(f"{line}\n" for line in (heading(info, None, RUN), *kept)), "ascii")
        os.replace(new, path)
        self._file = open(path, "a", encoding="ascii")  # noqa: SIM115

    def append(self, step: RunStep) -> None:
        """Write one step."""
        told = {
            "step": step.step,
            "epoch": step.epoch,
            "batch": step.batch,
            "logs": {name: to_json(value) for name, value in step.logs.items()},
            "readings": [cells_of(row_of(reading)) for reading in step.readings],
        }
        self._write(told)

    def found(self, finding: Finding) -> None:
        """Write one finding."""
        self._write({"finding": asdict(finding)})

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _write(self, told: Mapping[str, Any]) -> None:
        self._file.write(json.dumps(told, allow_nan=False) + "\n")
        self._file.flush()


def load(path: Path) -> RunData:
    """The run in a file. A last line without an end is not counted: it is being written.

    Raises:
        SteelyardError: If it is something else or damaged.
    """
    try:
        line, *rest = _lines(path)
        info, _ = understand(line, RUN)
        steps: list[RunStep] = []
        findings: list[Finding] = []
        for number, text in enumerate(rest, 2):
            try:
                told = parse(text)
                if "finding" in told:
                    findings.append(Finding(**told["finding"]))
                else:
                    steps.append(_step(told))
            except (SteelyardError, KeyError, TypeError, AttributeError) as error:
                raise SteelyardError(f"line {number}: {error}") from error
    except SteelyardError as error:
        raise SteelyardError(f"{str(path)!r} cannot be used as a run: {error}") from error
    return collected(info, steps, findings)


def _step(told: Any) -> RunStep:
    readings = tuple(reading_of(row_from(cells)) for cells in told["readings"])
    logs = {name: from_json(value) for name, value in told["logs"].items()}
    return RunStep(int(told["step"]), int(told["epoch"]), int(told["batch"]), readings, logs)


def _lines(path: Path) -> list[bytes]:
    *lines, _ = path.read_bytes().split(b"\n")
    if not lines:
        raise foreign()
    return lines


def _before(path: Path, start: int) -> list[str]:
    """The lines of a run up to a step, less the first."""
    load(path)  # nothing but a run is ever written over
    lines = [line.decode() for line in _lines(path)[1:]]
    return [line for line in lines if _when(json.loads(line)) <= start]


def _when(told: Any) -> int:
    step = told["finding"]["step"] if "finding" in told else told["step"]
    return 0 if step is None else int(step)
