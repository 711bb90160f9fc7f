"""Readings as JSON lines: strict JSON, in ASCII, one line about the file and one a reading."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

from steelyard.errors import SteelyardError
from steelyard.readings._heading import foreign
from steelyard.readings._rows import COLUMNS, NUMBERS, Row

_NOT_FINITE = {repr(number): number for number in (math.nan, math.inf, -math.inf)}


def dump(rows: Sequence[Row], heading: str) -> bytes:
    """The whole file. A cell that is None is left out."""
    return "".join(f"{line}\n" for line in (heading, *map(_line, rows))).encode("ascii")


def split(data: bytes) -> tuple[str | bytes, Iterator[tuple[str, Row]]]:
    """The heading of a file, and its rows, each with the place where it is.

    Raises:
        SteelyardError: If it cannot be read.
    """
    heading, newline, rest = data.partition(b"\n")
    if not newline:
        raise foreign()
    return heading, _rows(rest)


def from_json(numbers: Any) -> Any:
    """The float that stands in JSON, or a tuple of them; what is none is given back."""
    if isinstance(numbers, list):
        return tuple(map(from_json, numbers))
    if isinstance(numbers, str):
        return _NOT_FINITE.get(numbers, numbers)
    # A number without a point is one as well; true and false are none.
    return float(numbers) if type(numbers) is int else numbers


def to_json(numbers: Any) -> Any:
    """A float, or several, as strict JSON can hold them."""
    if isinstance(numbers, tuple):
        return list(map(to_json, numbers))
    return numbers if math.isfinite(numbers) else repr(numbers)


def parse(text: str | bytes) -> Any:
    """The value of a strict JSON text.

    Raises:
        SteelyardError: If it is none.
    """
    try:
        return json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise SteelyardError(f"no JSON: {error}") from error


def cells_of(row: Row) -> dict[str, Any]:
    """A row as JSON holds it. A cell that is None is left out."""
    cells = {column: cell for column, cell in row._asdict().items() if cell is not None}
    for column in (*NUMBERS, "values"):
        if column in cells:
            cells[column] = to_json(cells[column])
    return cells


def row_from(cells: Any) -> Row:
    """The way back.

    Raises:
        SteelyardError: If it is no row.
    """
    if not isinstance(cells, dict) or not {"address", "metric"} <= cells.keys():
        raise SteelyardError("no object with an 'address' and a 'metric'")
    unknown = cells.keys() - set(COLUMNS)
    if unknown:
        raise SteelyardError(f"there is no column {min(unknown)!r}")
    for column in cells.keys() & {*NUMBERS, "values"}:
        cells[column] = from_json(cells[column])
    return Row(**cells)


def _line(row: Row) -> str:
    return json.dumps(cells_of(row), allow_nan=False)


def _rows(data: bytes) -> Iterator[tuple[str, Row]]:
    *lines, rest = data.split(b"\n")
    for number, line in enumerate(lines, start=2):
        try:
            row = row_from(parse(line))
        except (SteelyardError, OverflowError) as error:
            raise SteelyardError(f"line {number}: {error}") from error
        yield f"line {number}", row
    if rest:
        raise SteelyardError(f"line {len(lines) + 2} has no end: the file was cut off")


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")
