"""The sink that is a directory: event files that TensorBoard shows, without TensorFlow."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from steelyard.errors import MissingDependencyError
from steelyard.monitor._sink import Sink, numbers
from steelyard.readings import RunStep

_BINS = 60


class TensorBoardSink(Sink):
    """Writes scalars at each step, one tag a metric and weight, and once an epoch histograms.

    Args:
        folder: Where; made if it is not there.

    Raises:
        MissingDependencyError: If TensorBoard is not installed.
    """

    wants_weights = True
    once = True

    def __init__(self, folder: Path) -> None:
        self.name = f"the sink {str(folder)!r}"
        self._folder = folder.absolute()
        self._events = _library("tensorboard.compat.proto.event_pb2")
        self._summaries = _library("tensorboard.compat.proto.summary_pb2")
        self._records = _library("tensorboard.summary.writer.record_writer")
        self._file: Any = None

    def begin(self, info: Mapping[str, Any], start: int) -> None:
        """Begin an event file."""
        self.end()
        self._folder.mkdir(parents=True, exist_ok=True)
        stamp = f"{time.time():.6f}.{socket.gethostname()}.{os.getpid()}.steelyard"
        self._file = open(self._folder / f"events.out.tfevents.{stamp}", "wb")  # noqa: SIM115
        self._write(file_version="brain.Event:2")
        if start:
            # Readers drop what an earlier file has from this step on.
            session = self._events.SessionLog(status=self._events.SessionLog.START)
            self._write(step=start + 1, session_log=session)

    def take(self, step: RunStep) -> None:
        """Write the numbers of a step."""
        values = [
            self._summaries.Summary.Value(tag=tag, simple_value=value)
            for tag, value in numbers(step).items()
        ]
        self._write(step=step.step, summary=self._summaries.Summary(value=values))

    def weight(self, step: int, address: str, value: np.ndarray) -> None:
        """Write the histogram of a weight."""
        flat = np.ravel(value).astype("float64", copy=False)
        flat = flat[np.isfinite(flat)]
        if not flat.size:
            return
        counts, edges = np.histogram(flat, bins=_BINS)
        told = self._summaries.HistogramProto(
            min=flat.min(),
            max=flat.max(),
            num=flat.size,
            sum=flat.sum(),
            sum_squares=np.dot(flat, flat),
            bucket_limit=edges[1:],
            bucket=counts,
        )
        one = self._summaries.Summary.Value(tag=f"weights/{address}", histo=told)
        self._write(step=step, summary=self._summaries.Summary(value=[one]))

    def end(self) -> None:
        """Close the file."""
        file, self._file = self._file, None
        if file is not None:
            file.close()

    def _write(self, **told: Any) -> None:
        if self._file is None:
            return
        event = self._events.Event(wall_time=time.time(), **told)
        self._records.RecordWriter(self._file).write(event.SerializeToString())
        self._file.flush()


def _library(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError as error:
        raise MissingDependencyError(
            f"TensorBoard's event files need its library, which cannot be imported ({error}): "
            f'pip install "steelyard[tensorboard]"'
        ) from error
