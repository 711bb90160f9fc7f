"""Whether somebody still writes a run, and where it is meanwhile."""

from __future__ import annotations

import os
from pathlib import Path


def run_file(path: str | os.PathLike[str]) -> Path:
    """The file to read a run from now: of a Parquet file to be, the database beside it."""
    beside = Path(f"{os.fspath(path)}.db")
    return beside if Path(path).suffix.lower() == ".parquet" and beside.is_file() else Path(path)


def run_is_open(path: str | os.PathLike[str]) -> bool | None:
    """Whether a run goes on, or was cut off; None where the file does not tell."""
    file = run_file(path)
    if file.suffix.lower() == ".db":
        # SQLite keeps its log beside the database until whoever writes closes it.
        return Path(f"{file}-wal").exists()
    return None if file.suffix.lower() == ".jsonl" else False
