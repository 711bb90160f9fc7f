"""`Readings`: what was measured, by address and metric."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from copy import deepcopy
from importlib import import_module
from os import PathLike
from typing import TYPE_CHECKING, Any, overload

from steelyard.address import Pattern
from steelyard.readings import _files, _frames
from steelyard.readings._chosen import (
    check_statuses,
    matching,
    named,
    not_a_key,
    unknown_address,
    unknown_pair,
)
from steelyard.readings._ink import html_table, text_table
from steelyard.records import Reading, Value

if TYPE_CHECKING:
    import pandas
    import polars
    import pyarrow

Pair = tuple[str, str]
# Equal values are looked up by identity first, so one NaN for all makes them equal.
_NAN = math.nan


class Readings:
    """What was measured: one `Reading` for each address and metric. It never changes.

    Two are equal if their readings are, in the same order; NaN equals NaN. What `info` says is
    not compared.

    Args:
        readings: The readings. Of two with the same address and metric, the later one counts, in
            the place of the first.
        info: What is known of them all, such as the name of the source and when they were taken:
            names and values that JSON can hold.
    """

    __slots__ = ("_by_pair", "_info")
    __hash__ = None  # type: ignore[assignment]

    def __init__(
        self, readings: Iterable[Reading] = (), info: Mapping[str, Any] | None = None
    ) -> None:
        self._by_pair: dict[Pair, Reading] = {
            (reading.address, reading.metric): reading for reading in readings
        }
        self._info = deepcopy(dict(info or {}))

    @property
    def info(self) -> dict[str, Any]:
        """What is known of them all. A copy: to change it makes no difference here."""
        return deepcopy(self._info)

    @property
    def addresses(self) -> tuple[str, ...]:
        """The addresses, each once, in order."""
        return tuple(dict.fromkeys(address for address, _ in self._by_pair))

    @property
    def metrics(self) -> tuple[str, ...]:
        """The names of the metrics, each once, in order."""
        return tuple(dict.fromkeys(metric for _, metric in self._by_pair))

    def __len__(self) -> int:
        return len(self._by_pair)

    def __iter__(self) -> Iterator[Reading]:
        return iter(self._by_pair.values())

    def __contains__(self, item: object) -> bool:
        """Whether a reading is here, or one at an address, or at an address and of a metric."""
        if isinstance(item, str):
            return item in self.addresses
        if isinstance(item, Reading):
            mine = self._by_pair.get((item.address, item.metric))
            return mine is not None and _content(mine) == _content(item)
        return isinstance(item, tuple) and item in self._by_pair

    @overload
    def __getitem__(self, key: str) -> Readings: ...

    @overload
    def __getitem__(self, key: Pair) -> Reading: ...

    def __getitem__(self, key: str | Pair) -> Reading | Readings:
        """The reading at an address of a metric, or all those at an address.

        Raises:
            UnknownAddressError: If there is none at the address; names the nearest.
            UnknownMetricError: If there is none of the metric there; names the nearest.
        """
        match key:
            case str(address):
                of_it = [reading for reading in self if reading.address == address]
                if not of_it:
                    raise unknown_address(address, self.addresses)
                return Readings(of_it, self._info)
            case (str(address), str(metric)):
                if (address, metric) not in self._by_pair:
                    raise unknown_pair(address, metric, self._by_pair)
                return self._by_pair[address, metric]
        raise not_a_key(key)

    def filter(
        self,
        address: str | Pattern | Iterable[str | Pattern] | None = None,
        *,
        metric: str | Iterable[str] | None = None,
        status: str | Iterable[str] | None = None,
        where: Callable[[Reading], object] | None = None,
        missing_ok: bool = False,
    ) -> Readings:
        """Those that meet every condition, in the same order.

        None may be left: that nothing `"failed"` is good news. But a pattern or a metric that
        fits nothing here is most likely misspelled, and refused.

        Args:
            address: A pattern as `steelyard.address.Pattern` reads it, or several, of which each
                must match something.
            metric: The name of a metric, or several.
            status: One of `steelyard.records.STATUSES`, or several.
            where: A function of a `Reading`; asked last.
            missing_ok: Let patterns and metrics fit nothing.

        Raises:
            PatternError: If a pattern cannot be read.
            UnknownAddressError: If a pattern matches nothing; says what came nearest.
            UnknownMetricError: If there is no reading of a metric; names the nearest.
            SteelyardError: If there is no such status.
        """
        left = list(self)
        if address is not None:
            found = matching(address, self.addresses, missing_ok)
            left = [reading for reading in left if reading.address in found]
        if metric is not None:
            names = named(metric, self.metrics, missing_ok)
            left = [reading for reading in left if reading.metric in names]
        if status is not None:
            statuses = check_statuses(status)
            left = [reading for reading in left if reading.status in statuses]
        if where is not None:
            left = [reading for reading in left if where(reading)]
        return Readings(left, self._info)

    def __add__(self, other: object) -> Readings:
        """Both, one after the other; of a pair that both have, the later reading counts.

        Its `info` is what both say. One without readings says nothing.
        """
        if not isinstance(other, Readings):
            return NotImplemented
        return Readings((*self, *other), _agreed(self, other))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Readings):
            return NotImplemented
        return list(map(_content, self)) == list(map(_content, other))

    def __repr__(self) -> str:
        return text_table(tuple(self), self._info)

    def _repr_html_(self) -> str:
        return html_table(tuple(self), self._info)

    def to_pandas(self, *, wide: bool = False) -> pandas.DataFrame:
        """A pandas frame.

        Args:
            wide: One row an address and one column a metric, numbers only, instead of one row a
                reading with the columns address, metric, value (a number), values (several),
                text, unit, status, reason and bound. pandas shows a number that is not there as
                NaN.

        Raises:
            MissingDependencyError: If pandas is not installed.
        """
        return _frames.pandas_frame(tuple(self), wide)

    def to_polars(self, *, wide: bool = False) -> polars.DataFrame:
        """A Polars frame, in which a number that is not there is null, and NaN is NaN.

        Args:
            wide: As in `to_pandas`.

        Raises:
            MissingDependencyError: If Polars is not installed.
        """
        return _frames.polars_frame(tuple(self), wide)

    def to_arrow(self, *, wide: bool = False) -> pyarrow.Table:
        """An Arrow table, in which a number that is not there is null, and NaN is NaN.

        Args:
            wide: As in `to_pandas`. If not, the metadata of the schema holds what `save` notes.

        Raises:
            MissingDependencyError: If PyArrow is not installed.
        """
        return _frames.arrow_table(tuple(self), self._info, wide)

    def save(self, path: str | PathLike[str]) -> None:
        """Write them to a file, whole or not at all, from which `load` gives the same again.

        Every number is written so that it comes back to the last bit, NaN and the infinities
        included; whole numbers come back as floats, and tuples in `info` as lists.

        - `.parquet` needs PyArrow. What is known of them all is in the metadata of the schema.
        - `.jsonl` is strict JSON: a first line about the file, then one line a reading. NaN and
          the infinities are the strings `"nan"`, `"inf"` and `"-inf"`.
        - `.csv` begins with a line after `#`, so `pandas.read_csv(path, comment="#")` reads it.
          A text that begins with one of `= + - @ '`, a tab or a line break has a `'` before it,
          as has an empty one in the column `text`: no spreadsheet takes it for a formula, and
          `load` takes it off.

        Args:
            path: The file; its ending says which format. One that is there is replaced.

        Raises:
            SteelyardError: If the ending is another, the folder does not exist, or there is
                something that cannot be written; then nothing was.
            MissingDependencyError: If PyArrow is needed and not installed.
        """
        _files.save(path, tuple(self), self._info)

    def to_html(self, path: str | PathLike[str]) -> None:
        """Write a page about them: one file that a browser shows, and that loads nothing else.

        It says first what is wrong and where, then shows a heat map, the spectrum and the fitted
        tail of a chosen weight, and a table to sort and filter. The spectrum is drawn if
        `singular_values` were measured.

        Args:
            path: The file, which ends in `.html`. One that is there is replaced; it is written
                whole or not at all.

        Raises:
            SteelyardError: If the ending is another, or it cannot be written.
        """
        # By name, when it is asked for: a word knows of no room above it.
        page, metrics = import_module("steelyard.report"), import_module("steelyard.metrics")
        page.write_page(path, self, catalog=metrics.catalog())

    @classmethod
    def load(cls, path: str | PathLike[str]) -> Readings:
        """Read what `save` has written.

        Args:
            path: The file; its ending says which format.

        Raises:
            SteelyardError: If there is no such file, or it is something else, cut off or
                damaged, or of a newer Steelyard; says what and where.
            MissingDependencyError: If PyArrow is needed and not installed.
        """
        return cls(*_files.load(path))


def _content(reading: Reading) -> tuple[Value, ...]:
    value = reading.value
    one = tuple(map(_one_nan, value)) if isinstance(value, tuple) else _one_nan(value)
    told = (reading.address, reading.metric, reading.unit, reading.status, reading.reason)
    return (*told, one, _one_nan(reading.bound))


def _one_nan(value: Any) -> Any:
    return value if value == value else _NAN


def _agreed(first: Readings, second: Readings) -> dict[str, Any]:
    if not len(first) or not len(second):
        return second.info if len(second) else first.info
    other = second.info
    return {k: v for k, v in first.info.items() if k in other and other[k] == v}
