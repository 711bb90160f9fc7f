"""The sink that is a user's own: an object with `log(step, readings)`, or a function of the two."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from steelyard.monitor._sink import Sink
from steelyard.readings import Readings, RunStep


class ObjectSink(Sink):
    """Hands each step on as its number and a `Readings`.

    Args:
        take: The function.
        name: What to call it.
    """

    def __init__(self, take: Callable[[int, Readings], Any], name: str) -> None:
        self._take = take
        self.name = f"the sink {name}"

    def take(self, step: RunStep) -> None:
        """Call the function."""
        info = {"step": step.step, "epoch": step.epoch}
        self._take(step.step, Readings(step.readings, info))
