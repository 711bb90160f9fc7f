"""When to measure: at the end of each epoch, every so many batches, or when a function says so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from steelyard.errors import SteelyardError


class Schedule:
    """When to measure.

    Args:
        every: `"epoch"`, a number of batches, or a function of the number of batches trained on
            that says whether to measure after them.

    Raises:
        SteelyardError: It is none of these.
    """

    def __init__(self, every: Any) -> None:
        whole = isinstance(every, int) and not isinstance(every, bool)
        if not (every == "epoch" or (whole and every >= 1) or callable(every)):
            raise SteelyardError(
                f"`every` is 'epoch', a number of batches from 1, or a function of the number of "
                f"batches trained on. Received: {every!r}"
            )
        self.at_epochs = every == "epoch"
        self._every = every
        self._said: dict[int, bool] = {}
        self.text = (
            every if isinstance(every, str | int) else getattr(every, "__name__", "function")
        )

    def due(self, before: int, after: int) -> bool:
        """Whether a step after the first and up to the second count of batches is to be measured.

        There are several where Keras executes many steps at once.
        """
        if self.at_epochs:
            return False
        if isinstance(self._every, int):
            return after // self._every > before // self._every
        asked = [self._asked(step) for step in range(before + 1, after + 1)]
        return any(asked)

    def _asked(self, step: int) -> bool:
        """A function is asked once about each step."""
        ask: Callable[[int], Any] = self._every
        if step not in self._said:
            self._said = {step: False}  # so it stays, if the function fails
            self._said[step] = bool(ask(step))
        return self._said[step]
