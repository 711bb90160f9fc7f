"""All metrics asked of one weight; what they share is worked out once."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np

from steelyard.errors import SteelyardError
from steelyard.metrics._answer import Answer, TooLarge
from steelyard.metrics._catalog import BESIDE, function
from steelyard.metrics._matrix import Matrices, in_row_blocks, matrices, sides
from steelyard.metrics._spectrum import Largest, Spectrum, largest_of
from steelyard.metrics._sums import Sums, in_memory_order
from steelyard.metrics._units import Units
from steelyard.metrics._values import Values, widened
from steelyard.records import Metric

# Of these the others are made; they count what is not finite instead of failing on it.
_COUNTS = ("nan_count", "inf_count", "zero_fraction", "subnormal_fraction", "saturated_fraction")

# The sums that metrics are made of, which one pass may take together. What is not listed is right
# too, by a pass of its own.
_SUMS = {
    "zero_fraction": ("zeros",),
    "subnormal_fraction": ("zeros",),
    "mean": ("sum",),
    "std": ("sum", "min", "max"),
    "skewness": ("sum", "min", "max"),
    "kurtosis": ("sum", "min", "max"),
    "min": ("min",),
    "max": ("max",),
    "l1_norm": ("absolute",),
    "max_abs": ("largest",),
    "dead_units": ("column_squares",),
    "max_unit_norm": ("column_squares",),
    "min_unit_norm": ("column_squares",),
    "mean_unit_norm": ("column_squares",),
    "operator_norm_1": ("column_absolute",),
    "operator_norm_inf": ("row_absolute",),
}


def compute(
    array: np.ndarray,
    rows: Sequence[Metric],
    *,
    dtype: str | None = None,
    axes: str = "",
    view: str = "flat",
    compat: str | None = None,
    budget: float = np.inf,
) -> Iterator[tuple[Metric, Answer]]:
    """The metrics of one weight, in the order asked; never an error for what a weight is.

    Args:
        array: Its effective value.
        rows: Which metrics, of the catalog.
        dtype: The dtype it is stored in; that of the array if not given.
        axes: What each axis is to the layer, as `matrices` reads it.
        view: How a kernel becomes matrices, as `matrices` reads it.
        compat: `"weightwatcher"` for its conventions.
        budget: How many bytes may be used beside the array.
    """
    subject = Subject(np.asarray(array), dtype, axes, view, compat, budget, rows)
    for row in rows:
        yield row, subject.answer(row)


class Subject:
    """One weight, and what has been prepared of it."""

    def __init__(
        self,
        array: np.ndarray,
        dtype: str | None,
        axes: str,
        view: str,
        compat: str | None,
        budget: float,
        rows: Sequence[Metric],
    ) -> None:
        self.array = widened(array)
        self.shape = array.shape
        self.seen: dict[str, Any] = dict(
            axes=axes, view=view, compat=compat, eps=eps_of(dtype or array.dtype.name)
        )
        self.budget = budget
        # The squares say whether all is finite.
        together = {"squares"}.union(*(_SUMS.get(row.name, ()) for row in rows))
        lines = {name for name in together if name.startswith(("row", "column"))}
        joined = self._joined() if lines else None
        self.values = Values(self.array, dtype or array.dtype.name, together - lines)
        if joined is not None:
            sums = Sums(joined.blocks[0], together)
            self.values.sums, self.matrices = [sums], replace(joined, shared=sums)
        self.all = any(row.needs == "spectrum" for row in rows)

    def answer(self, row: Metric) -> Answer:
        """What a metric says of the weight."""
        why = self._cannot(row)
        if why is not None:
            return why
        try:
            with np.errstate(all="ignore"):
                given = function(row.name)(self._prepared(row.needs))
        except MemoryError as error:
            said = str(error) if isinstance(error, TooLarge) else f"no memory for {self.shape}"
            return Answer(None, "too large", said)
        except (np.linalg.LinAlgError, ArithmeticError, ValueError) as error:
            if isinstance(error, SteelyardError):
                raise
            return Answer(None, "failed", f"{type(error).__name__}: {error}")
        answer = given if isinstance(given, Answer) else Answer(given)
        value = _plain(answer.value)
        if isinstance(value, float) and math.isnan(value):
            return Answer(
                None, "failed", "it is not a number: something on the way over- or underflowed"
            )
        return answer._replace(value=value)

    def _cannot(self, row: Metric) -> Answer | None:
        """Why there can be no number; None if there can."""
        if math.prod(self.shape) == 0:
            return Answer(None, "undefined", "the weight has no entries")
        if row.needs == "pair":
            return Answer(None, "not applicable", "it compares two weights")
        if row.needs == "gradient":
            reason = "only training has a gradient: sy.Monitor measures it"
            return Answer(None, "not applicable", reason)
        if row.needs != "values" and len(self.shape) < 2:
            reason = f"a number of a matrix, and the weight has shape {self.shape}"
            return Answer(None, "not applicable", reason)
        if row.name not in _COUNTS and self.values.nonfinite:
            return Answer(
                None, "not finite", f"{self.values.nan} NaN and {self.values.inf} infinite entries"
            )
        reason = self._too_large(row)
        return Answer(None, "too large", reason) if reason else None

    def _too_large(self, row: Metric) -> str:
        """Why it would take too much memory; empty if it does not."""
        need = working_bytes(
            [row], self.shape, self.seen["axes"], self.seen["view"], self.array.nbytes
        )
        if need <= self.budget:
            return ""
        return f"it needs {size_in_words(need)}, and {size_in_words(self.budget)} are allowed"

    def _prepared(self, needs: str) -> Any:
        makers: dict[str, Callable[[], Any]] = {
            "values": lambda: self.values,
            "units": lambda: self.units,
            "matrix": lambda: self.matrices,
            "largest": lambda: self.spectrum if self.all else self.largest,
            "spectrum": lambda: self.spectrum,
        }
        return makers[needs]()

    def _joined(self) -> Matrices | None:
        """The weight as one matrix, if that is how it lies in memory: entries and lines in one."""
        order = self.array.flags
        if not (order.c_contiguous or (order.f_contiguous and len(self.shape) == 2)):
            return None
        seen = self.seen["axes"], self.seen["view"]
        if not self.array.size or (len(self.shape) != 2 and not in_row_blocks(self.shape, *seen)):
            return None
        whole = self.matrices.blocks
        in_order = in_memory_order(self.array)[0].shape
        return self.matrices if whole.shape[1:] in (in_order, in_order[::-1]) else None

    @cached_property
    def matrices(self) -> Matrices:
        return matrices(self.array, **self.seen)

    @cached_property
    def units(self) -> Units:
        return Units(self.matrices)

    @cached_property
    def spectrum(self) -> Spectrum:
        return Spectrum(self.matrices)

    @cached_property
    def largest(self) -> Largest | Spectrum:
        return largest_of(self.matrices)


def working_bytes(
    rows: Iterable[Metric], shape: tuple[int, ...], axes: str, view: str, nbytes: int
) -> float:
    """How many bytes metrics need beside the weight, the largest of them at a time.

    Args:
        rows: Which metrics.
        shape: Of the weight.
        axes: What its axes are, as `matrices` reads it.
        view: As `matrices` reads it.
        nbytes: What the weight takes.
    """
    if len(shape) < 2 or math.prod(shape) == 0:
        return 0.0
    count, high, wide = sides(shape, axes, view)
    short, long = sorted((high, wide))
    square = 8.0 * short * short
    values = 8.0 * short * count
    # The Gram matrix, what its eigenvalues are worked out in, and the rows that go in next.
    spectrum = 2.5 * square + 8.0 * short * min(long, max(512, short)) + 4 * values

    def needed(row: Metric) -> float:
        if row.needs == "values" or row.needs in BESIDE:
            return 0.0
        if row.needs == "largest":
            return 8.0 * (long + short) * 100
        if row.needs == "units" or (row.needs == "matrix" and not row.on_demand):
            return float(nbytes)
        copies = {"matrix": 1, "spectrum": 2 if row.group == "random" else 0}
        return spectrum + copies[row.needs] * nbytes

    return max(map(needed, rows), default=0.0)


def _plain(value: Any) -> Any:
    """A Python number; an integer stays one in value, as a float."""
    if value is None or isinstance(value, str | tuple):
        return value
    return float(value)


def eps_of(dtype: str) -> float:
    """The rounding unit of what is stored; that of float32 for what was rounded more coarsely."""
    return float(np.finfo("float64" if dtype == "float64" else "float32").eps)


def size_in_words(count: float) -> str:
    """A number of bytes, for people."""
    for unit in ("bytes", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.3g} {unit}"
        count /= 1024
    return f"{count:.3g} GiB"
