"""Readings to and from a file, which is written whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from steelyard.errors import MissingDependencyError, SteelyardError
from steelyard.readings import _csv, _jsonl, _parquet, _run_files
from steelyard.readings._heading import heading, understand
from steelyard.readings._replaced import replaced
from steelyard.readings._rows import reading_of, row_of
from steelyard.readings._run_step import RunData, readings_at
from steelyard.records import Reading

# Each has `dump(rows, heading)` and `split(data)`.
_FORMATS: dict[str, ModuleType] = {".parquet": _parquet, ".csv": _csv, ".jsonl": _jsonl}


def save(
    path: str | os.PathLike[str], readings: Sequence[Reading], info: Mapping[str, Any]
) -> None:
    """Write readings to a file.

    Raises:
        SteelyardError: If it cannot be written; then nothing was.
    """
    target, kind = _checked(path)
    rows = [row_of(reading) for reading in readings]
    replaced(target, kind.dump(rows, heading(info, len(rows))))


def check_path(path: str | os.PathLike[str]) -> None:
    """Whether readings can be saved to a path: asked before long work, not after it.

    Raises:
        SteelyardError: If its ending is none of the formats, or there is no such folder.
        MissingDependencyError: If PyArrow is needed and not installed.
    """
    _, kind = _checked(path)
    if kind is _parquet:
        _parquet.library("pyarrow.parquet")


def _checked(path: str | os.PathLike[str]) -> tuple[Path, ModuleType]:
    # A link is followed: what it points at is replaced.
    target = Path(os.path.realpath(path))
    kind = _format(Path(path))
    if not target.parent.is_dir():
        raise SteelyardError(
            f"{str(path)!r} cannot be written: there is no folder {str(target.parent)!r}. "
            f"Make it first."
        )
    if target.is_dir():
        raise SteelyardError(f"{str(path)!r} is a folder; readings are written to a file.")
    return target, kind


def load(path: str | os.PathLike[str]) -> tuple[list[Reading], dict[str, Any]]:
    """The readings in a file, and what it says of them all.

    Raises:
        SteelyardError: If it cannot be read; says what and where.
    """
    if Path(path).is_file() and _run_files.holds_run(path):
        return _last(_run_files.load(path))
    kind = _format(Path(path))
    if not Path(path).is_file():
        raise SteelyardError(f"There is no file {str(path)!r}.")
    try:
        return _read(kind, Path(path).read_bytes())
    except MissingDependencyError:
        raise
    except SteelyardError as error:
        raise SteelyardError(f"{str(path)!r} cannot be read as readings: {error}") from error


def _last(run: RunData) -> tuple[list[Reading], dict[str, Any]]:
    """The readings of the last step of a run."""
    if not run.steps:
        return [], run.info
    info = {**run.info, "step": run.steps[-1], "epoch": run.epochs[-1]}
    return readings_at(run, len(run.steps) - 1), info


def _read(kind: ModuleType, data: bytes) -> tuple[list[Reading], dict[str, Any]]:
    told, rows = kind.split(data)
    info, count = understand(told)
    readings = []
    for place, row in rows:
        try:
            readings.append(reading_of(row))
        except SteelyardError as error:
            raise SteelyardError(f"{place}: {error}") from error
    if count not in (None, len(readings)):
        raise SteelyardError(
            f"it says that it holds {count:,} readings, and holds {len(readings):,}"
        )
    return readings, info


def _format(path: Path) -> ModuleType:
    if path.suffix.lower() in _FORMATS:
        return _FORMATS[path.suffix.lower()]
    known = ", ".join(map(repr, _FORMATS))
    raise SteelyardError(
        f"Readings are kept in files that end in one of {known}. Received: {str(path)!r}"
    )
