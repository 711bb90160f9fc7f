"""The files that hold a run, by their endings."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from steelyard.errors import SteelyardError
from steelyard.readings import _run_jsonl, _run_parquet, _run_sqlite
from steelyard.readings._frames import METADATA, library
from steelyard.readings._heading import is_run
from steelyard.readings._run_step import RunData, RunWriter, steps_of

_WRITERS: dict[str, Any] = {
    ".db": _run_sqlite.SqliteRun,
    ".jsonl": _run_jsonl.JsonlRun,
    ".parquet": _run_parquet.ParquetRun,
}
_LOADERS: dict[str, Any] = {
    ".db": _run_sqlite.load,
    ".jsonl": _run_jsonl.load,
    ".parquet": _run_parquet.load,
}
RUN_ENDINGS = tuple(_WRITERS)


def run_writer(
    path: str | os.PathLike[str], info: Mapping[str, Any] | None = None, start: int = 0
) -> RunWriter:
    """A file to write a run to, a step at a time.

    Args:
        path: The file, which ends in `.db`, `.jsonl` or `.parquet`. A run that it has already is
            wound back: what it has after `start` goes, so that a training that is taken up again
            continues it and one from the start replaces it.
        info: What is known of the run: what JSON can hold.
        start: After how many batches it begins.

    Raises:
        SteelyardError: If the ending is another, or the file is there and no run.
        MissingDependencyError: If PyArrow is needed and not installed.
    """
    writer: RunWriter = _of(path, _WRITERS)(Path(path), dict(info or {}), start)
    return writer


def check_run_path(path: str | os.PathLike[str]) -> None:
    """Whether a run can be written to a path: asked before long work, not in its midst.

    Raises:
        SteelyardError: If its ending is another, there is no such folder, or no run in the file.
        MissingDependencyError: If PyArrow is needed and not installed.
    """
    _of(path, _WRITERS)
    place = Path(path)
    if not place.parent.is_dir():
        raise SteelyardError(
            f"{str(path)!r} cannot be written: there is no folder {str(place.parent)!r}. "
            f"Make it first."
        )
    if place.suffix.lower() == ".parquet":
        library("pyarrow.parquet")
    if place.exists():
        load(place)


def load(path: str | os.PathLike[str]) -> RunData:
    """The run in a file.

    Raises:
        SteelyardError: If it cannot be read; says what and where.
    """
    loader = _of(path, _LOADERS)
    if not Path(path).is_file():
        raise SteelyardError(f"There is no file {str(path)!r}.")
    data: RunData = loader(Path(path))
    return data


def save(path: str | os.PathLike[str], data: RunData) -> None:
    """Write a run to a file; one that is there is replaced."""
    _of(path, _WRITERS)
    new = Path(path).with_name(f".new-{Path(path).name}")
    writer = run_writer(new, data.info)
    for step in steps_of(data):
        writer.append(step)
    for finding in data.findings:
        writer.found(finding)
    writer.close()
    os.replace(new, path)


def holds_run(path: str | os.PathLike[str]) -> bool:
    """Whether a file holds a run rather than readings."""
    place = Path(path)
    ending = place.suffix.lower()
    if ending == ".db":
        return True
    try:
        if ending == ".jsonl":
            with open(place, "rb") as file:
                return is_run(file.readline())
        if ending == ".parquet":
            schema = library("pyarrow.parquet").read_schema(place)
            return is_run((schema.metadata or {}).get(METADATA, b""))
    except (OSError, ValueError):  # the reader says what is the matter; ArrowInvalid is one
        return False
    return False


def _of(path: str | os.PathLike[str], table: Mapping[str, Any]) -> Any:
    ending = Path(path).suffix.lower()
    if ending in table:
        return table[ending]
    known = ", ".join(map(repr, table))
    raise SteelyardError(f"A run is kept in a file that ends in one of {known}. Got: {str(path)!r}")
