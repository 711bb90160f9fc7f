"""Metrics of a weight that is larger than the memory allowed, out of blocks of its rows."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property, partial
from typing import Any

import numpy as np

from steelyard.errors import SteelyardError
from steelyard.metrics._answer import Answer
from steelyard.metrics._block_quantiles import block_quantiles
from steelyard.metrics._block_spectrum import BlockLargest, BlockSpectrum, Gram, Outline, of_wide
from steelyard.metrics._block_values import BlockUnits, BlockValues
from steelyard.metrics._catalog import function
from steelyard.metrics._compute import Subject, eps_of, size_in_words
from steelyard.metrics._matrix import Matrices, in_row_blocks, sides
from steelyard.metrics._spectrum import LARGE
from steelyard.metrics._values import Values
from steelyard.records import Metric

Blocks = Callable[[int], Iterable[np.ndarray]]

_MOMENTS = ("std", "skewness", "kurtosis")
# Shares of the entries, which each block can say of itself.
_SHARES = ("subnormal_fraction", "saturated_fraction")
_BY_UNIT = ("dead_units", "max_unit_norm", "min_unit_norm", "mean_unit_norm")
_SUMS = ("operator_norm_1", "operator_norm_inf")
# A block, and what is made of it while it is there, takes so many times its own size.
_COPIES = 6
_MOST_BLOCK = 64 << 20
# How many Lanczos vectors there may be.
_VECTORS = 100


def compute_in_blocks(
    blocks: Blocks,
    shape: tuple[int, ...],
    rows: Sequence[Metric],
    *,
    nbytes: int,
    dtype: str,
    axes: str = "",
    view: str = "flat",
    compat: str | None = None,
    budget: float = np.inf,
) -> Iterator[tuple[Metric, Answer]]:
    """As `compute`, of a weight that is never in memory as a whole; what takes that is too large.

    One pass gives all that is said of entries, and the Gram matrix of the columns if singular
    values are asked for; quantiles take two more of float32, and the largest singular value alone
    one for each step of Lanczos.

    Args:
        blocks: Gives the effective value in slices of so many steps along the first axis, the same
            at each call.
        shape: Of the weight.
        rows: Which metrics, of the catalog.
        nbytes: What all of the weight would take.
        dtype: The dtype it is stored in.
        axes: What each axis is to the layer.
        view: How a kernel becomes a matrix.
        compat: `"weightwatcher"` for its conventions.
        budget: How many bytes may be used.
    """
    subject = _Blocked(blocks, shape, nbytes, dtype, axes, view, compat, budget, rows)
    for row in rows:
        yield row, subject.answer(row)


class _Blocked(Subject):
    """One weight in blocks, and what has been prepared of it."""

    def __init__(
        self,
        blocks: Blocks,
        shape: tuple[int, ...],
        nbytes: int,
        dtype: str,
        axes: str,
        view: str,
        compat: str | None,
        budget: float,
        rows: Sequence[Metric],
    ) -> None:
        self.shape, self.nbytes, self.dtype, self.budget = shape, nbytes, dtype, budget
        self.seen = dict(axes=axes, view=view, compat=compat, eps=eps_of(dtype))
        self._blocks = blocks
        self._is_rows = in_row_blocks(shape, axes, view)
        self._high, self._columns = sides(shape, axes, view)[1:] if self._is_rows else (0, 0)
        self._names = {row.name for row in rows}
        self._units: BlockUnits | None = None
        self._gram: Gram | None = None
        self._told: dict[str, Any] = {}
        wanted = [row.needs for row in rows if not self._why_whole(row)]
        self._square = 8.0 * min(self._high, self._columns) ** 2
        self._row = nbytes / max(1, shape[0]) if shape else nbytes
        self._with_gram = "spectrum" in wanted and self._gram_fits
        self.all = self._with_gram or ("largest" in wanted and self._is_small)

    # --- What there is no room for

    @property
    def _gram_fits(self) -> bool:
        return 2.1 * self._square + _COPIES * self._row <= self.budget

    @property
    def _is_small(self) -> bool:
        """Whether the largest singular value is found with all others, as in memory."""
        few = min(self._high, self._columns) < LARGE or bool(self.seen["compat"])
        return few and self._gram_fits

    def _why_whole(self, row: Metric) -> str:
        """Why a metric takes the whole weight; empty if it does not."""
        by_rows = row.needs in ("largest", "spectrum") and row.group != "random"
        if row.needs == "values" or (
            self._is_rows and (by_rows or row.name in (*_BY_UNIT, *_SUMS))
        ):
            return ""
        return (
            f"it takes all of the weight in memory: {size_in_words(self.nbytes)}, and "
            f"{size_in_words(self.budget)} are allowed"
        )

    def _too_large(self, row: Metric) -> str:
        if why := self._why_whole(row):
            return why
        need = _COPIES * self._row
        if row.needs == "spectrum" or (row.needs == "largest" and self.seen["compat"]):
            need += 2.1 * self._square
        elif row.needs == "largest" and not self.all:
            need += 8.0 * self._columns * _VECTORS
        if need <= self.budget:
            return ""
        return f"it needs {size_in_words(need)}, and {size_in_words(self.budget)} are allowed"

    # --- Answers

    def answer(self, row: Metric) -> Answer:
        if _COPIES * self._row > self.budget and math.prod(self.shape):
            reason = f"a single step along its first axis takes {size_in_words(self._row)}"
            return Answer(None, "too large", reason)
        if self._cannot(row) is None and row.name in self._told:
            return self._told[row.name]
        return super().answer(row)

    def _prepared(self, needs: str) -> Any:
        if needs == "units":
            return self._units
        return super()._prepared(needs)

    @cached_property
    def values(self) -> Any:  # type: ignore[override]
        """What is said of the entries, after the one pass that says it."""
        values = BlockValues(self.dtype, bool(self._names & set(_MOMENTS)), self._quantiles)
        shares = {name: 0.0 for name in _SHARES if name in self._names}
        by_rows = self._is_rows and bool(self._names & {*_BY_UNIT, *_SUMS})
        self._units = BlockUnits(self._columns) if by_rows else None
        # Entries of float64 may be too large to be squared: these are scaled, in another pass.
        tall = self._columns <= self._high and self.nbytes <= 4 * math.prod(self.shape)
        self._gram = Gram(self._columns) if self.all and tall else None
        for block in self._again():
            values.add(block)
            if values.nonfinite:
                self._gram = None
            for name in shares:
                self._add_share(name, block, shares)
            for part in (self._units, self._gram):
                if part is not None:
                    part.add(block.reshape(-1, self._columns))
        for name, count in shares.items():
            self._told.setdefault(name, Answer(count / values.size))
        if self._units is not None:
            self._told |= {name: Answer(getattr(self._units, name)) for name in _SUMS}
        return values

    def _add_share(self, name: str, block: np.ndarray, shares: dict[str, float]) -> None:
        said = function(name)(Values(block, self.dtype))
        if isinstance(said, Answer):
            self._told[name] = said
        else:
            shares[name] += round(said * block.size)

    @cached_property
    def spectrum(self) -> Any:
        """All singular values."""
        scale = self.values.max_abs or 1.0
        scale = scale if self.nbytes > 4 * math.prod(self.shape) else 1.0
        if self._gram is None and self._columns <= self._high:
            self._gram = Gram(self._columns, scale)
            for rows in self._rows():
                self._gram.add(rows)
        if self._gram is None:
            found = of_wide(self._rows, self._high, scale)
        else:
            gram, self._gram = self._gram, None
            found = gram.singular_values()
        return BlockSpectrum(self._outline, found)

    @cached_property
    def largest(self) -> Any:
        """The largest singular value alone."""
        values = self.values
        return BlockLargest(self._rows, self._columns, self.seen["eps"], values.max_abs, values.l2)

    @property
    def _outline(self) -> Matrices:
        seen = self.seen
        kernel = "k" in seen["axes"] if seen["axes"] else len(self.shape) > 2
        shape = Outline((1, self._high, self._columns))
        return Matrices(shape, np, seen["compat"], seen["eps"], kernel)

    # --- Passes

    @cached_property
    def _step(self) -> int:
        """How many steps along the first axis a block has, so that all fits in the budget."""
        kept = 2.1 * self._square if self.all else 8.0 * self._columns * _VECTORS
        room = max((self.budget - kept) / _COPIES, self._row)
        return max(1, int(min(room, _MOST_BLOCK) / max(1.0, self._row)))

    def _again(self) -> Iterator[np.ndarray]:
        """All blocks once more, as they were promised."""
        step, seen = self._step, 0
        for block in self._blocks(step):
            seen += len(block)
            if block.shape[1:] != self.shape[1:] or len(block) > step or seen > self.shape[0]:
                break
            yield _floats(block)
        else:
            if seen == self.shape[0]:
                return
        raise SteelyardError(
            f"Blocks of at most {step:,} rows of a weight of shape {self.shape} were asked for. "
            f"Received in all {seen:,} rows, the last of them in a block of shape {block.shape}."
        )

    def _rows(self) -> Iterator[np.ndarray]:
        return (block.reshape(-1, self._columns) for block in self._again())

    def _quantiles(self, shares: tuple[float, ...]) -> list[float]:
        return block_quantiles(partial(self._again), math.prod(self.shape), shares)


def _floats(block: np.ndarray) -> np.ndarray:
    """In one of the two dtypes that are computed with."""
    if block.dtype in (np.float32, np.float64):
        return block
    return block.astype("float64" if block.dtype.kind in "iub" else "float32")
