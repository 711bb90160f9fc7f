"""What holds weights: a live model and a checkpoint file answer to the same three questions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from steelyard.records import Borrowing, WeightSpec

if TYPE_CHECKING:
    import numpy as np


@runtime_checkable
class WeightSource(Protocol):
    """Lists weights by address, and reads one at a time."""

    def specs(self) -> Sequence[WeightSpec]:
        """All weights, each once, in the order of the model. Reads no values."""
        ...

    def read(self, address: str) -> np.ndarray:
        """The effective value, the one that the layer computes with.

        Args:
            address: One of the addresses that `specs` lists.

        Returns:
            A new array of the shape that the spec says: float32 for codes and for floats that are
            narrower; wider floats, and integers that are no codes, as they are.
        """
        ...

    def stored(self, address: str) -> dict[str, np.ndarray]:
        """The raw arrays that make up a weight, by their names, each in its own dtype."""
        ...


@runtime_checkable
class BlockSource(WeightSource, Protocol):
    """A source that also gives a weight in parts: one that is larger than the memory allowed."""

    def blocks(self, address: str, rows: int) -> Iterator[np.ndarray] | None:
        """The effective value in slices along its first axis, in order.

        Several passes are made: each call begins anew, and gives the same entries.

        Args:
            address: One of the addresses that `specs` lists.
            rows: How many steps along the first axis a slice has; the last may have fewer. No
                more than one slice should be in memory.

        Returns:
            The slices, each as `read` would give it; None for a weight that is only read whole.
        """
        ...


@runtime_checkable
class EditableSource(WeightSource, Protocol):
    """A source whose weights can be changed in place: a live model."""

    def variable(self, address: str) -> Any:
        """The `keras.Variable` at an address."""
        ...

    def assign(self, address: str, value: Any) -> None:
        """Change a weight so that its effective value becomes `value`."""
        ...


@runtime_checkable
class LinkedSource(WeightSource, Protocol):
    """A source whose layers may borrow each other's weights: a live model."""

    def links(self) -> Sequence[Borrowing]:
        """Who borrows which weight from whom."""
        ...
