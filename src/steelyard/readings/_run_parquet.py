"""A run as a Parquet file: one row a reading, with its step, and the rest in the metadata.

A Parquet file cannot be read before it is finished. So a run is kept in a database beside it, and
becomes a Parquet file when it ends.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from steelyard.errors import SteelyardError
from steelyard.readings import _run_sqlite
from steelyard.readings._frames import METADATA, arrow_of, library
from steelyard.readings._heading import RUN, foreign, heading, understand
from steelyard.readings._jsonl import from_json, to_json
from steelyard.readings._replaced import replaced
from steelyard.readings._rows import COLUMNS, Row, reading_of, row_of
from steelyard.readings._run_step import RunData, RunStep, collected, steps_of
from steelyard.records import Finding

_REST = b"steelyard.run"


class ParquetRun:
    """Writes a run to a database, and when it ends, to a Parquet file in one piece.

    Args:
        path: The file. If it has a run, what that had after `start` is left out.
        info: What is known of the run.
        start: After how many batches this one begins.

    Raises:
        SteelyardError: If the file is something else.
        MissingDependencyError: If PyArrow is not installed.
    """

    def __init__(self, path: Path, info: Mapping[str, Any], start: int) -> None:
        library("pyarrow.parquet")
        self._path = path
        self._beside = path.with_name(f"{path.name}.db")
        before = load(path) if path.exists() else None
        unfinished = self._beside.exists()
        self._run = _run_sqlite.SqliteRun(self._beside, info, start)
        if before is not None and not unfinished:
            for step in (one for one in steps_of(before) if one.step <= start):
                self._run.append(step)
            for finding in (one for one in before.findings if (one.step or 0) <= start):
                self._run.found(finding)

    def append(self, step: RunStep) -> None:
        """Write one step."""
        self._run.append(step)

    def found(self, finding: Finding) -> None:
        """Write one finding."""
        self._run.found(finding)

    def close(self) -> None:
        """Make the Parquet file; the database goes when it is there."""
        self._run.close()
        replaced(self._path, dump(_run_sqlite.load(self._beside)))
        self._beside.unlink()


def dump(data: RunData) -> bytes:
    """The whole file."""
    steps = steps_of(data)
    rows = [row_of(reading) for step in steps for reading in step.readings]
    table = arrow_of(rows, heading(data.info, len(rows), RUN))
    for name in ("batch", "epoch", "step"):
        column = [getattr(step, name) for step in steps for _ in step.readings]
        arrow = library("pyarrow")
        table = table.add_column(0, arrow.field(name, arrow.int64()), [column])
    table = table.replace_schema_metadata({**table.schema.metadata, _REST: _rest(data).encode()})
    file = io.BytesIO()
    library("pyarrow.parquet").write_table(table, file, write_page_checksum=True)
    return file.getvalue()


def load(path: Path) -> RunData:
    """The run in a file.

    Raises:
        SteelyardError: If it is something else or damaged.
        MissingDependencyError: If PyArrow is not installed.
    """
    arrow, parquet = library("pyarrow"), library("pyarrow.parquet")
    try:
        table = parquet.read_table(io.BytesIO(path.read_bytes()), page_checksum_verification=True)
        metadata = table.schema.metadata or {}
        if METADATA not in metadata or _REST not in metadata:
            raise foreign()
        info, _ = understand(metadata[METADATA], RUN)
        return _data(info, json.loads(metadata[_REST]), table.to_pydict())
    except (
        SteelyardError,
        arrow.ArrowException,
        OSError,
        ValueError,
        KeyError,
        TypeError,
    ) as error:
        raise SteelyardError(f"{str(path)!r} cannot be used as a run: {error}") from error


def _rest(data: RunData) -> str:
    """What is no reading: when the steps were, what Keras logged, and the findings."""
    steps = [
        [step, epoch, batch, {name: to_json(value) for name, value in logs.items()}]
        for step, epoch, batch, logs in zip(
            data.steps, data.epochs, data.batches, data.logs, strict=True
        )
    ]
    return json.dumps({"steps": steps, "findings": [asdict(one) for one in data.findings]})


def _data(info: dict[str, Any], rest: Any, columns: Mapping[str, list[Any]]) -> RunData:
    steps = {
        step: RunStep(step, epoch, batch, (), {k: from_json(v) for k, v in logs.items()})
        for step, epoch, batch, logs in rest["steps"]
    }
    taken: dict[int, list[Any]] = {step: [] for step in steps}
    for step, *cells in zip(columns["step"], *(columns[name] for name in COLUMNS), strict=True):
        row = Row(*cells)
        many = row.values
        taken[step].append(reading_of(row._replace(values=None if many is None else tuple(many))))
    whole = [replace(one, readings=tuple(taken[step])) for step, one in steps.items()]
    return collected(info, whole, [Finding(**one) for one in rest["findings"]])
