"""What a sink is: where the numbers of a training go."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from steelyard.readings import RunStep
from steelyard.records import Finding


class Sink:
    """Takes what is measured, a step at a time. What a sink does not care for it leaves out.

    Attributes:
        name: What to call it in a warning.
        wants_weights: Whether it is shown the weights themselves, once an epoch.
        once: Whether it writes to one place for all processes of a training, so that only the first
            of them may.
    """

    name = "a sink"
    wants_weights = False
    once = False

    def begin(self, info: Mapping[str, Any], start: int) -> None:
        """Training begins, after so many batches."""

    def take(self, step: RunStep) -> None:
        """A step has been measured."""

    def found(self, finding: Finding) -> None:
        """Something goes wrong in the training."""

    def weight(self, step: int, address: str, value: np.ndarray) -> None:
        """A weight at the end of an epoch; the array is to be let go."""

    def end(self) -> None:
        """Training has ended."""


def numbers(step: RunStep) -> dict[str, float]:
    """The single numbers of a step by the names that sinks give them: `"l2_norm/dense/kernel"`.

    What has no value here is NaN; what can have none at this weight is left out.
    """
    return {
        f"{reading.metric}/{reading.address}": float(reading)
        for reading in step.readings
        if not isinstance(reading.value, str | tuple) and reading.status != "not applicable"
    }
