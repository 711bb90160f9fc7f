"""From what a user passes as `sinks` to the sinks."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from os import PathLike, fspath
from pathlib import Path
from typing import Any

from steelyard.errors import SteelyardError
from steelyard.monitor._logs import LogsSink
from steelyard.monitor._object import ObjectSink
from steelyard.monitor._run_file import FileSink
from steelyard.monitor._sink import Sink
from steelyard.monitor._tensorboard import TensorBoardSink
from steelyard.monitor._trackers import TRACKERS, tracker_sink
from steelyard.readings import RUN_ENDINGS

# Who names a file of this kind does not mean a directory of that name.
_FILES = (".csv", ".json", ".txt", ".tsv", ".sqlite", ".sqlite3", ".h5", ".keras", ".log", ".html")


def sinks_of(told: Any) -> list[Sink]:
    """The sinks that a user asked for.

    Args:
        told: As `Monitor` takes `sinks`: one, a list of several, or None.

    Raises:
        SteelyardError: If one is nothing that can be a sink.
        MissingDependencyError: If one needs a library that is not installed.
    """
    if told is None:
        return []
    if isinstance(told, list | tuple | set):
        return [sink for one in told for sink in sinks_of(one)]
    return [_sink(told)]


def _sink(told: Any) -> Sink:
    if isinstance(told, Sink):
        return told
    if isinstance(told, str | PathLike):
        return _named(fspath(told))
    kind = tracker_of(told)
    if kind is not None:
        return tracker_sink(kind, told)
    log: Callable[..., Any] | None = getattr(told, "log", None)
    if callable(log) and not isinstance(told, type):
        return ObjectSink(log, f"{type(told).__name__}.log")
    if callable(told):
        return ObjectSink(told, getattr(told, "__name__", type(told).__name__))
    raise SteelyardError(
        f"A sink is 'logs', a directory for TensorBoard, a file that ends in "
        f"{', '.join(map(repr, RUN_ENDINGS))}, a module or run of {', '.join(TRACKERS)}, an object "
        f"with `log(step, readings)`, or a function of the two. Received: {told!r}"
    )


def _named(text: str) -> Sink:
    if text == "logs":
        return LogsSink()
    if text in TRACKERS:
        return tracker_sink(text, None)
    path = Path(text)
    ending = path.suffix.lower()
    if ending in RUN_ENDINGS:
        return FileSink(path)
    if ending in _FILES or path.is_file():
        raise SteelyardError(
            f"A run is kept in a file that ends in {', '.join(map(repr, RUN_ENDINGS))}, and a "
            f"directory is for TensorBoard. Received: {text!r}"
        )
    return TensorBoardSink(path)


def tracker_of(target: Any) -> str | None:
    """Which tracker an object comes from: its module, or a run of it."""
    named: Iterable[str] = (
        getattr(target, "__name__", "") if type(target).__name__ == "module" else "",
        *(base.__module__ for base in type(target).__mro__),
    )
    roots = [name.partition(".")[0] for name in named]
    return next((root for root in roots if root in TRACKERS), None)
