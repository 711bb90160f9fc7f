"""The sink `"logs"`: the numbers become logs of Keras, for History and all callbacks behind."""

from __future__ import annotations

from steelyard.monitor._sink import Sink, numbers
from steelyard.readings import RunStep


class LogsSink(Sink):
    """Puts the last numbers of an epoch into the epoch's logs."""

    name = "the sink 'logs'"

    def __init__(self) -> None:
        self._latest: dict[str, float] = {}

    def take(self, step: RunStep) -> None:
        """Keep the numbers for the end of the epoch."""
        self._latest = numbers(step)

    def into(self, logs: dict[str, float]) -> None:
        """Add the numbers to the logs of an epoch."""
        logs.update(self._latest)
