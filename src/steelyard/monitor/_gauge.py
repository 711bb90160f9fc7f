"""Taking the readings of the selected weights, with what is kept of them from before."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from steelyard import metrics
from steelyard.live import LiveSource, averages, to_numpy
from steelyard.monitor._moves import Move, Moves
from steelyard.plan import bytes_of, one_blas_thread, plan_of, run
from steelyard.records import Metric, Reading, WeightSpec
from steelyard.selection import Weights

_START = "distance_from_init"
# These need of the weight before no more than its norm and how far it is.
_RATIOS = ("update_ratio", "relative_distance")
_AVERAGE = "ema_distance"
_NORM = "l2_norm"
_NO_AVERAGE = "the optimizer keeps no moving average of it: use_ema=True would"
_OF_STORED = "the average is of what is stored, and this weight is worked out from that"
# What its gradient is, or why there is none.
GradientOf = Callable[[str], np.ndarray | float | str]


class Gauge:
    """Measures a selection again and again.

    What a metric compares with is kept here, one copy of each weight: that of the start for
    `distance_from_init`, that of the last reading for the others.

    Args:
        selection: Of a `LiveSource`.
        rows: Which numbers.
        view: How a kernel becomes matrices.
        memory: As `sy.measure` takes `max_memory`.
    """

    def __init__(
        self,
        selection: Weights,
        rows: Iterable[Metric],
        view: str,
        memory: int | float | str | None,
    ) -> None:
        source = selection.source
        assert isinstance(source, LiveSource)
        self.specs = selection.specs
        self._source = source
        self._rows = tuple(rows)
        alone = [row for row in self._rows if row.needs not in metrics.BESIDE]
        self._memory = memory
        pairs = {row.name for row in self._rows if row.needs == "pair"}
        self._start = self._copies() if _START in pairs else {}
        before = pairs - {_START, _AVERAGE}
        self._moves = Moves(source, self.specs) if before and before <= set(_RATIOS) else None
        self._before = self._copies() if before and self._moves is None else {}
        # If nothing else is asked, the norm comes out of the comparison.
        self._norm = alone[0] if self._moves and [row.name for row in alone] == [_NORM] else None
        known = self._moves.with_norms() if self._moves and self._norm else set()
        rest = [spec for spec in self.specs if spec.address not in known]
        self._plan = plan_of(rest, alone, view=view)
        # Norms are over before another thread has begun.
        self._engine = "serial" if all(row.group == "norms" for row in alone) else "auto"

    def take(self, gradient_of: GradientOf) -> tuple[Reading, ...]:
        """The readings of now, by weight and metric; nothing is raised for what a weight is."""
        found: dict[tuple[str, str], Reading] = {}
        viewed = _Viewed(self._source)
        for _, readings in run(
            self._plan, lambda: viewed, engine=self._engine, memory=bytes_of(self._memory)
        ):
            found |= {(one.address, one.metric): one for one in readings}
        beside = [row for row in self._rows if row.needs in metrics.BESIDE]
        rest = [row for row in beside if self._moves is None or row.name not in _RATIOS]
        kept = averages(self._source.root) if _AVERAGE in {row.name for row in beside} else {}
        with one_blas_thread(), np.errstate(all="ignore"):
            for spec in self.specs if rest else ():
                for reading in self._beside(spec, rest, kept, gradient_of):
                    found[reading.address, reading.metric] = reading
            for address, move in self._moves.take().items() if self._moves else ():
                for reading in self._of_move(address, move):
                    found.setdefault((address, reading.metric), reading)
        return tuple(found[spec.address, row.name] for spec in self.specs for row in self._rows)

    def _beside(
        self, spec: WeightSpec, rows: list[Metric], kept: dict[int, Any], gradient_of: GradientOf
    ) -> list[Reading]:
        address = spec.address
        try:
            value = self._source.view(address)
            readings = []
            for row in rows:
                if row.needs == "gradient":
                    readings.append(_of_gradient(row, address, gradient_of(address)))
                    continue
                other = self._other(row, address, kept, value)
                readings.append(_of_pair(row, address, other, value))
            if address in self._before:
                np.copyto(self._before[address], value)
            return readings
        except Exception as error:  # one weight must not end the others, nor the training
            reason = f"{type(error).__name__}: {error}"
            return [Reading(address, row.name, None, row.unit, "failed", reason) for row in rows]

    def _of_move(self, address: str, move: Move | Exception) -> list[Reading]:
        """The ratios of a weight, and its norm where nobody else measures it."""
        rows = [row for row in self._rows if row.name in _RATIOS]
        norm = [self._norm] if self._norm else []
        if isinstance(move, Exception):
            reason = f"{type(move).__name__}: {move}"
            both = [*norm, *rows]
            return [Reading(address, row.name, None, row.unit, "failed", reason) for row in both]
        assert self._moves is not None
        finite = np.isfinite(move.distance) and np.isfinite(move.norm)
        bad = "" if finite else said_of_entries(self._moves.value(address))
        found = [_number(row, address, move.norm, bad) for row in norm]
        ratio = move.distance / move.before if move.before else np.inf if move.distance else 0.0
        if not bad and not np.isfinite(move.before):
            bad = "before: its norm was not finite"
        return found + [_number(row, address, ratio, bad) for row in rows]

    def _other(
        self, row: Metric, address: str, kept: dict[int, Any], value: np.ndarray
    ) -> np.ndarray | str:
        """What a weight is compared with, or why there is nothing."""
        if row.name != _AVERAGE:
            return (self._start if row.name == _START else self._before)[address]
        variable = self._source.variable(address)
        if (average := kept.get(id(variable))) is None:
            return _NO_AVERAGE
        if not np.array_equal(to_numpy(variable.value), value, equal_nan=True):
            return _OF_STORED
        return to_numpy(average.value)

    def _copies(self) -> dict[str, np.ndarray]:
        return {spec.address: self._source.read(spec.address) for spec in self.specs}


def _number(row: Metric, address: str, number: float, bad: str) -> Reading:
    if bad:
        return Reading(address, row.name, None, row.unit, "not finite", bad)
    return Reading(address, row.name, float(number), row.unit)


class _Viewed:
    """The same weights, read without a copy."""

    def __init__(self, source: LiveSource) -> None:
        self._source = source

    def specs(self) -> tuple[WeightSpec, ...]:
        return self._source.specs()

    def read(self, address: str) -> np.ndarray:
        return self._source.view(address)

    def blocks(self, address: str, rows: int) -> Iterator[np.ndarray] | None:
        return self._source.blocks(address, rows)

    def stored(self, address: str) -> dict[str, np.ndarray]:
        return self._source.stored(address)


def _of_pair(row: Metric, address: str, other: np.ndarray | str, value: np.ndarray) -> Reading:
    def without(status: str, reason: str) -> Reading:
        return Reading(address, row.name, None, row.unit, status, reason)

    if isinstance(other, str):
        return without("not applicable", other)
    if row.name == "subspace_angle" and value.ndim < 2:
        return without("not applicable", f"a number of matrices, not of shape {value.shape}")
    failure = ""
    try:
        number = float(getattr(metrics, row.name)(other, value))
    except Exception as error:  # the others of this weight go on
        number, failure = np.nan, f"{type(error).__name__}: {error}"
    if not np.isfinite(number):
        for array, when in ((value, ""), (other, "before: ")):
            if bad := said_of_entries(array):
                return without("not finite", f"{when}{bad}")
    if failure:
        return without("failed", failure)
    if np.isnan(number):
        return without("undefined", "one of the two weights is 0")
    return Reading(address, row.name, number, row.unit)


def _of_gradient(row: Metric, address: str, gradient: np.ndarray | float | str) -> Reading:
    if isinstance(gradient, str):
        return Reading(address, row.name, None, row.unit, "not applicable", gradient)
    norm = gradient if isinstance(gradient, float) else float(metrics.gradient_norm(gradient))
    if not np.isfinite(norm):
        bad = "" if isinstance(gradient, float) else said_of_entries(gradient)
        reason = f"of the gradient: {bad or 'its norm overflows'}"
        return Reading(address, row.name, None, row.unit, "not finite", reason)
    return Reading(address, row.name, norm, row.unit)


def said_of_entries(array: np.ndarray) -> str:
    """How many entries are not finite, in the words of the metrics; empty where all are."""
    if array.dtype.kind not in "fc" or np.isfinite(array).all():
        return ""
    nan, infinite = int(np.isnan(array).sum()), int(np.isinf(array).sum())
    return f"{nan} NaN and {infinite} infinite entries"
