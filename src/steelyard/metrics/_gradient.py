"""What can be said of the gradient of a weight, which only training has."""

from __future__ import annotations

from typing import Any

from steelyard.metrics._catalog import Gradient, metric
from steelyard.metrics._values import Values


@metric("training", range="[0, inf)", unit="loss/w")
def gradient_norm(gradient: Gradient) -> Any:
    """The Euclidean norm of the gradient of the loss of a batch, before any clipping."""
    return Values(gradient).l2
