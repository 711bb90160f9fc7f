"""What `map` makes of a weight, checked."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from steelyard.errors import SteelyardError
from steelyard.selection import Weight

if TYPE_CHECKING:
    import numpy as np

Map = Callable[[Weight, "np.ndarray"], Any]
Progress = Callable[[int, int], None]


def mapped(map: Map, weight: Weight, array: np.ndarray) -> np.ndarray:
    """The array that takes the place of a weight's.

    Raises:
        SteelyardError: It is none.
    """
    import numpy as np

    found = map(weight, array)
    if not isinstance(found, np.ndarray):
        raise SteelyardError(
            f"`map` gives the array to write; for {weight.address!r} it gave a "
            f"{type(found).__name__}."
        )
    return found
