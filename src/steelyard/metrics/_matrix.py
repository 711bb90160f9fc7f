"""How a weight becomes matrices: what each of its axes is to the layer."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from steelyard.errors import ShapeMismatchError, SteelyardError
from steelyard.metrics._sums import Sums

VIEWS = ("flat", "pooled")


@dataclass(frozen=True)
class Matrices:
    """A weight as one matrix, or several of one shape.

    Args:
        blocks: (blocks, rows, columns): rows are inputs, columns are output units.
        xp: The namespace that computes.
        compat: `"weightwatcher"` for its conventions, else None.
        eps: The rounding unit of the dtype that the weight is stored in.
        kernel: Whether it is the kernel of a convolution.
        shared: The sums over the one matrix, if they are known elsewhere.
    """

    blocks: Any
    xp: Any = np
    compat: str | None = None
    eps: float = float(np.finfo("float32").eps)
    kernel: bool = False
    shared: Sums | None = None

    @cached_property
    def sums(self) -> list[Sums]:
        """Sums over each of the matrices, which are NumPy's."""
        return [Sums(block) for block in self.blocks] if self.shared is None else [self.shared]

    @property
    def long(self) -> int:
        """N: the longer side of a matrix."""
        return max(self.blocks.shape[1:])

    @property
    def short(self) -> int:
        """M: the shorter side of a matrix."""
        return min(self.blocks.shape[1:])

    @property
    def count(self) -> int:
        """How many matrices there are."""
        return int(self.blocks.shape[0])


def matrices(
    array: Any,
    xp: Any = np,
    *,
    axes: str = "",
    view: str = "flat",
    compat: str | None = None,
    eps: float | None = None,
) -> Matrices:
    """A weight as matrices from inputs to output units.

    Args:
        array: With two axes or more.
        xp: NumPy, or `keras.ops` for tensors.
        axes: A letter for each axis: `"i"` inputs, `"o"` outputs, `"b"` one matrix after another,
            `"k"` the position in a kernel. Without it the last axis is the outputs, the one before
            it the inputs, and all others are positions.
        view: `"flat"` puts the positions beside the inputs (beside the outputs of a transposed
            convolution, where they come right before these); `"pooled"` makes a matrix of each
            position, whose spectra are pooled.
        compat: As in `Matrices`.
        eps: As in `Matrices`; that of the array's dtype if not given.

    Raises:
        ShapeMismatchError: The array has fewer than two axes, or `axes` names another number.
        SteelyardError: There is no such view or letter.
    """
    shape = tuple(array.shape)
    if len(shape) < 2:
        raise ShapeMismatchError(
            f"A number of a matrix needs a weight with two axes or more. Received shape {shape}."
        )
    axes = axes or "k" * (len(shape) - 2) + "io"
    if len(axes) != len(shape) or set(axes) - set("iobk"):
        raise ShapeMismatchError(
            f"`axes` has one of the letters i, o, b, k for each axis. Received: {axes!r} for "
            f"shape {shape}."
        )
    if view not in VIEWS:
        raise SteelyardError(f"A view is one of {VIEWS}. Received: {view!r}")
    rows, columns, outer = _grouped(axes, view)
    order = (*outer, *rows, *columns)
    if order != tuple(range(len(shape))):
        array = xp.transpose(array, order)
    sizes = sides(shape, axes, view)
    eps = _eps(array) if eps is None else eps
    return Matrices(xp.reshape(array, sizes), xp, compat, eps, "k" in axes)


def sides(shape: tuple[int, ...], axes: str, view: str) -> tuple[int, int, int]:
    """How many matrices `matrices` makes of a weight, and their rows and columns."""
    rows, columns, outer = _grouped(axes or "k" * (len(shape) - 2) + "io", view)
    count, high, wide = (math.prod(shape[i] for i in group) for group in (outer, rows, columns))
    return count, high, wide


def in_row_blocks(shape: tuple[int, ...], axes: str, view: str) -> bool:
    """Whether slices along the first axis are rows of one matrix, one after the other."""
    if len(shape) < 2:
        return False
    rows, columns, outer = _grouped(axes or "k" * (len(shape) - 2) + "io", view)
    return not outer and (*rows, *columns) == tuple(range(len(shape)))


def _grouped(axes: str, view: str) -> tuple[tuple[int, ...], ...]:
    """The axes of the rows, of the columns, and those along which matrices follow each other."""
    positions = "b" if view == "pooled" else "o" if axes.lstrip("k")[:1] == "o" else "i"
    letters = axes.replace("k", positions)
    return tuple(
        tuple(i for i, letter in enumerate(letters) if letter == wanted) for wanted in "iob"
    )


def _eps(array: Any) -> float:
    dtype = getattr(array, "dtype", None)
    wide = isinstance(dtype, np.dtype) and dtype == np.float64
    return float(np.finfo("float64" if wide else "float32").eps)
