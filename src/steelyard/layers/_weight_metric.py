"""`WeightMetric`: a number about a weight, for the logs of `fit` and `evaluate`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras


class WeightMetric(keras.metrics.Metric):
    """Gives the present number whenever it is asked; keeps no state, so that no file has any.

    Args:
        read: gives the number.
        **kwargs: as for any Keras metric.
    """

    def __init__(self, read: Callable[[], Any], **kwargs: Any) -> None:
        super().__init__(dtype="float32", **kwargs)
        self._read = read

    def update_state(self, *args: Any, **kwargs: Any) -> None:
        """Nothing: no batch has a part in the number."""

    def result(self) -> Any:
        """The number of now, a float32 scalar; no gradient flows through it."""
        return keras.ops.stop_gradient(self._read())
