"""The sink that is a file: a run in `.db`, `.jsonl` or `.parquet`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from steelyard.monitor._sink import Sink
from steelyard.readings import RunStep, RunWriter, check_run_path, run_writer
from steelyard.records import Finding


class FileSink(Sink):
    """Writes a run that `sy.Run.load` reads, also while it is being written.

    Args:
        path: The file.

    Raises:
        SteelyardError: If it cannot be written.
    """

    once = True

    def __init__(self, path: Path) -> None:
        check_run_path(path)
        self.name = f"the sink {str(path)!r}"
        self._path = path.absolute()  # wherever the process goes
        self._writer: RunWriter | None = None

    def begin(self, info: Mapping[str, Any], start: int) -> None:
        """Open the file, wound back to where this training begins."""
        self.end()
        self._writer = run_writer(self._path, info, start)

    def take(self, step: RunStep) -> None:
        """Write the step."""
        if self._writer is not None:
            self._writer.append(step)

    def found(self, finding: Finding) -> None:
        """Write the finding."""
        if self._writer is not None:
            self._writer.found(finding)

    def end(self) -> None:
        """Finish the file."""
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()
