"""A reading as a row of plain cells, which every frame and file has in common."""

from __future__ import annotations

from typing import Any, NamedTuple

from steelyard.errors import SteelyardError
from steelyard.records import Reading


class Row(NamedTuple):
    """A reading as cells; of `value`, `values` and `text` at most one is not None."""

    address: str
    metric: str
    value: float | None = None
    values: tuple[float, ...] | None = None
    text: str | None = None
    unit: str = "1"
    status: str = "ok"
    reason: str = ""
    bound: float | None = None


COLUMNS = Row._fields
NUMBERS = ("value", "bound")
TEXTS = ("address", "metric", "text", "unit", "status", "reason")


def row_of(reading: Reading) -> Row:
    """The cells of a reading.

    Raises:
        SteelyardError: If one of its fields has something that no row can hold.
    """
    value = reading.value
    row = Row(
        reading.address,
        reading.metric,
        unit=reading.unit,
        status=reading.status,
        reason=reading.reason,
        bound=None if reading.bound is None else _number(reading, reading.bound),
    )
    if isinstance(value, str):
        row = row._replace(text=value)
    elif isinstance(value, tuple):
        row = row._replace(values=tuple(_number(reading, one) for one in value))
    elif value is not None:
        row = row._replace(value=_number(reading, value))
    for column in TEXTS:
        _check_text(reading, getattr(row, column), column)
    return row


def reading_of(row: Row) -> Reading:
    """The reading that has these cells, which came from a file.

    Raises:
        SteelyardError: If there is none.
    """
    for column in COLUMNS:
        if not _fits(column, cell := getattr(row, column)):
            raise SteelyardError(f"the column {column!r} has {cell!r}")
    given = [cell for cell in (row.value, row.values, row.text) if cell is not None]
    if len(given) > 1:
        raise SteelyardError("more than one of 'value', 'values' and 'text' is given")
    value = given[0] if given else None
    return Reading(row.address, row.metric, value, row.unit, row.status, row.reason, row.bound)


def _number(reading: Reading, value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise SteelyardError(
            f"{reading.metric} of {reading.address!r} is no number that can be written: "
            f"{value!r} (of type {type(value).__name__})"
        ) from error


def _check_text(reading: Reading, cell: Any, column: str) -> None:
    if cell is None and column == "text":
        return
    try:
        cell.encode()
    except (AttributeError, UnicodeEncodeError) as error:
        raise SteelyardError(
            f"{column} of {reading.metric} of {reading.address!r} is no text that can be "
            f"written: {cell!r} (of type {type(cell).__name__})"
        ) from error


def _fits(column: str, cell: Any) -> bool:
    if cell is None:
        return column in ("value", "values", "text", "bound")
    if column == "values":
        return isinstance(cell, tuple) and all(isinstance(one, float) for one in cell)
    return isinstance(cell, float if column in NUMBERS else str)
