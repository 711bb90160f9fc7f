"""Readings as the frames of pandas, Polars and Arrow, which are imported when asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

from steelyard.errors import MissingDependencyError, SteelyardError
from steelyard.readings._heading import heading
from steelyard.readings._rows import COLUMNS, NUMBERS, Row, row_of
from steelyard.records import Reading

# Where an Arrow schema, and so a Parquet file, holds the heading.
METADATA = b"steelyard"
_ADDRESS = "address"
Columns = dict[str, list[Any]]


def pandas_frame(readings: Sequence[Reading], wide: bool) -> Any:
    """A `pandas.DataFrame`."""
    pandas = library("pandas")
    columns, kinds = _columns(readings, wide)
    types = {"number": "float64", "numbers": "object", "text": None}
    series = {n: pandas.Series(c, dtype=types[kinds[n]]) for n, c in columns.items()}
    return pandas.DataFrame(series)


def polars_frame(readings: Sequence[Reading], wide: bool) -> Any:
    """A `polars.DataFrame`."""
    polars = library("polars")
    columns, kinds = _columns(readings, wide)
    number = polars.Float64
    types = {"number": number, "numbers": polars.List(number), "text": polars.String}
    return polars.DataFrame(columns, schema={name: types[kind] for name, kind in kinds.items()})


def arrow_table(readings: Sequence[Reading], info: Mapping[str, Any], wide: bool) -> Any:
    """A `pyarrow.Table`."""
    if wide:
        return _arrow(*_columns(readings, wide), {})
    return arrow_of([row_of(one) for one in readings], heading(info, len(readings)))


def arrow_of(rows: Sequence[Row], told: str) -> Any:
    """The `pyarrow.Table` of rows, with the heading in its metadata."""
    return _arrow(*_long(rows), {METADATA: told.encode()})


def library(name: str) -> Any:
    """An optional library.

    Raises:
        MissingDependencyError: If it is not installed; says what to do.
    """
    try:
        return import_module(name)
    except ImportError as error:
        first = name.split(".")[0]
        raise MissingDependencyError(
            f"{first} is needed for this and cannot be imported ({error}): "
            f'pip install "steelyard[frames]"'
        ) from error


def _arrow(columns: Columns, kinds: Mapping[str, str], metadata: Mapping[bytes, bytes]) -> Any:
    arrow = library("pyarrow")
    number = arrow.float64()
    types = {"number": number, "numbers": arrow.list_(number), "text": arrow.string()}
    fields = [(name, types[kind]) for name, kind in kinds.items()]
    return arrow.table(columns, schema=arrow.schema(fields, metadata=dict(metadata)))


def _columns(readings: Sequence[Reading], wide: bool) -> tuple[Columns, dict[str, str]]:
    rows = [row_of(reading) for reading in readings]
    return _wide(rows) if wide else _long(rows)


def _long(rows: Sequence[Row]) -> tuple[Columns, dict[str, str]]:
    """A column for each cell of a row, and of what kind each is."""
    columns: Columns = {name: [getattr(row, name) for row in rows] for name in COLUMNS}
    columns["values"] = [None if many is None else list(many) for many in columns["values"]]
    kinds = {name: "number" if name in NUMBERS else "text" for name in COLUMNS}
    return columns, kinds | {"values": "numbers"}


def _wide(rows: Sequence[Row]) -> tuple[Columns, dict[str, str]]:
    """A column for each metric that gives one number, with a row for each address."""
    single = [row for row in rows if row.values is None and row.text is None]
    metrics = dict.fromkeys(row.metric for row in single)
    if _ADDRESS in metrics:
        raise SteelyardError(f"A wide frame has one column {_ADDRESS!r}; a metric has that name.")
    addresses = list(dict.fromkeys(row.address for row in rows))
    there = {(row.address, row.metric): row.value for row in single}
    columns: Columns = {_ADDRESS: list(addresses)}
    columns |= {m: [there.get((address, m)) for address in addresses] for m in metrics}
    return columns, {_ADDRESS: "text"} | dict.fromkeys(metrics, "number")
