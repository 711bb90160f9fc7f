"""A run as a SQLite database in WAL mode: one row a step, there to the last one after a crash.

run       name, value          JSON: what the file is, its schema, what is known of the run
keys      id, address, metric, unit
steps     step, epoch, batch, logs, data     data: float64, little-endian, by the id of the key
notes     step, key, status, reason, bound, other
findings  step, code, address, message, fix
"""

from __future__ import annotations

import json
import math
import sqlite3
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

from steelyard.errors import SteelyardError
from steelyard.readings._heading import RUN, heading, understand
from steelyard.readings._jsonl import from_json, to_json
from steelyard.readings._run_step import (
    Key,
    Note,
    RunData,
    RunStep,
    key_of,
    note_of,
    number_of,
)
from steelyard.records import Finding

_TABLES = """
CREATE TABLE IF NOT EXISTS run (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS keys (
    id INTEGER PRIMARY KEY, address TEXT NOT NULL, metric TEXT NOT NULL, unit TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS steps (
    step INTEGER PRIMARY KEY, epoch INTEGER, batch INTEGER, logs TEXT, data BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS notes (
    step INTEGER, key INTEGER, status TEXT NOT NULL, reason TEXT NOT NULL, bound REAL, other TEXT,
    PRIMARY KEY (step, key));
CREATE TABLE IF NOT EXISTS findings (
    step INTEGER, code TEXT NOT NULL, address TEXT NOT NULL, message TEXT NOT NULL,
    fix TEXT NOT NULL);
"""


class SqliteRun:
    """Writes a run, a transaction a step.

    Args:
        path: The file. If it has a run, what that had after `start` is taken out.
        info: What is known of the run.
        start: After how many batches this one begins.

    Raises:
        SteelyardError: If the file is something else.
    """

    def __init__(self, path: Path, info: Mapping[str, Any], start: int) -> None:
        # Callbacks may be called by another thread than the one that made them.
        self._file = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        with _explained(path):
            _check(self._file)
            self._file.execute("PRAGMA journal_mode=WAL")
            # A killed process loses nothing; a power cut may lose the last steps.
            self._file.execute("PRAGMA synchronous=NORMAL")
            self._file.executescript(_TABLES)
            with self._transaction():
                told = ("heading", heading(info, None, RUN))
                self._file.execute("INSERT OR REPLACE INTO run VALUES (?, ?)", told)
                for table in ("steps", "notes", "findings"):
                    self._file.execute(f"DELETE FROM {table} WHERE step > ?", (start,))
                if start == 0:
                    self._file.execute("DELETE FROM keys")
        rows = self._file.execute("SELECT address, metric, unit, id FROM keys")
        self._keys: dict[Key, int] = {(a, m, u): number for a, m, u, number in rows}

    def append(self, step: RunStep) -> None:
        """Write one step."""
        with self._transaction():
            columns = [self._column(key_of(reading)) for reading in step.readings]
            values = [math.nan] * len(self._keys)
            for column, reading in zip(columns, step.readings, strict=True):
                values[column] = number_of(reading)
            data = struct.pack(f"<{len(values)}d", *values)
            logs = json.dumps({name: to_json(value) for name, value in step.logs.items()})
            row = (step.step, step.epoch, step.batch, logs, data)
            self._file.execute("INSERT OR REPLACE INTO steps VALUES (?, ?, ?, ?, ?)", row)
            for column, reading in zip(columns, step.readings, strict=True):
                if (note := note_of(reading)) is not None:
                    other = None if note.other is None else json.dumps(to_json_value(note.other))
                    told = (step.step, column, note.status, note.reason, note.bound, other)
                    self._file.execute("INSERT OR REPLACE INTO notes VALUES (?,?,?,?,?,?)", told)

    def found(self, finding: Finding) -> None:
        """Write one finding."""
        told = (finding.step, finding.code, finding.address, finding.message, finding.fix)
        self._file.execute("INSERT INTO findings VALUES (?, ?, ?, ?, ?)", told)

    def close(self) -> None:
        """Fold the log into the one file."""
        with suppress(sqlite3.OperationalError):  # somebody reads it: then the log stays beside it
            self._file.execute("PRAGMA journal_mode=DELETE")
        self._file.close()

    def _column(self, key: Key) -> int:
        if key not in self._keys:
            self._keys[key] = len(self._keys)
            self._file.execute("INSERT INTO keys VALUES (?, ?, ?, ?)", (self._keys[key], *key))
        return self._keys[key]

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._file.execute("BEGIN IMMEDIATE")
        known = dict(getattr(self, "_keys", {}))
        try:
            yield
        except BaseException:
            self._keys = known
            self._file.execute("ROLLBACK")
            raise
        self._file.execute("COMMIT")


def load(path: Path) -> RunData:
    """The run in a file, also while it is being written.

    Raises:
        SteelyardError: If it is something else or damaged.
    """
    with _explained(path):
        # Only to read: a look must not change the file.
        file = sqlite3.connect(f"file:{quote(str(path.absolute()))}?mode=ro", uri=True)
        try:
            file.execute("BEGIN")  # all that follows is of one moment
            return _read(file)
        finally:
            file.close()


def _read(file: sqlite3.Connection) -> RunData:
    import numpy as np  # late: a table of readings needs none

    line = _heading(file)
    if line is None:
        raise SteelyardError("it holds no run of Steelyard")
    info, _ = understand(line, RUN)
    keys: list[Key] = list(file.execute("SELECT address, metric, unit FROM keys ORDER BY id"))
    rows = file.execute("SELECT step, epoch, batch, logs, data FROM steps ORDER BY step").fetchall()
    values = np.full((len(rows), len(keys)), np.nan)
    for row, (step, _, _, _, data) in enumerate(rows):
        if len(data) % 8 or len(data) > 8 * len(keys):
            raise SteelyardError(f"step {step} has {len(data)} bytes for {len(keys)} numbers")
        values[row, : len(data) // 8] = np.frombuffer(data, "<f8")
    place = {step: row for row, (step, *_) in enumerate(rows)}
    notes = {
        (place[step], key): Note(status, reason, bound, from_json(json.loads(other or "null")))
        for step, key, status, reason, bound, other in file.execute("SELECT * FROM notes")
        if step in place
    }
    told = file.execute("SELECT code, address, message, fix, step FROM findings ORDER BY rowid")
    logs = [{k: from_json(v) for k, v in json.loads(row[3]).items()} for row in rows]
    steps, epochs, batches = ([row[i] for row in rows] for i in range(3))
    return RunData(
        info, steps, epochs, batches, logs, keys, values, notes, [Finding(*row) for row in told]
    )


def to_json_value(value: Any) -> Any:
    """A value that is no plain number, as JSON holds it."""
    return value if isinstance(value, str) else to_json(value)


def _heading(file: sqlite3.Connection) -> str | None:
    if not file.execute("SELECT 1 FROM sqlite_master WHERE name = 'run'").fetchone():
        return None
    row = file.execute("SELECT value FROM run WHERE name = 'heading'").fetchone()
    return None if row is None else str(row[0])


def _check(file: sqlite3.Connection) -> None:
    line = _heading(file)
    if line is not None:
        understand(line, RUN)
    elif file.execute("SELECT 1 FROM sqlite_master").fetchone():
        raise SteelyardError("it is a database of something else")


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except (SteelyardError, sqlite3.Error, ValueError, TypeError, AttributeError) as error:
        raise SteelyardError(f"{str(path)!r} cannot be used as a run: {error}") from error
