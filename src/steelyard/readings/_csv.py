"""Readings as comma-separated values that neither pandas nor a spreadsheet misreads.

The module `csv` of the standard library has a limit on the length of a cell, for the whole
process; the singular values of one large kernel go beyond it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

from steelyard.errors import SteelyardError
from steelyard.readings._heading import foreign
from steelyard.readings._jsonl import from_json, parse, to_json
from steelyard.readings._rows import COLUMNS, NUMBERS, TEXTS, Row

_MARK = "# "
_HEAD = ",".join(COLUMNS)
# What a spreadsheet begins a formula with, and the sign that keeps it from doing so.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
_KEPT = "'"
_CELL = re.compile(r'(?:"((?:[^"]++|"")*+)"|([^",\r\n]*+))(,|\r\n|\n)')
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')


def dump(rows: Sequence[Row], heading: str) -> bytes:
    """The whole file. Texts are quoted, numbers are not."""
    # No comma or semicolon of a text in the heading may begin what a spreadsheet takes for a cell.
    told = _STRING.sub(lambda m: m[0].replace(",", "\\u002c").replace(";", "\\u003b"), heading)
    lines = (f"{_MARK}{told}", _HEAD, *map(_line, rows))
    return "".join(f"{line}\n" for line in lines).encode()


def split(data: bytes) -> tuple[str | bytes, Iterator[tuple[str, Row]]]:
    """The heading of a file, and its rows, each with the place where it is.

    Raises:
        SteelyardError: If it cannot be read.
    """
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise SteelyardError(f"byte {error.start + 1} is not UTF-8") from error
    heading, newline, rest = text.partition("\n")
    if not newline or not heading.startswith(_MARK):
        raise foreign()
    return heading.removeprefix(_MARK), _rows(rest)


def _line(row: Row) -> str:
    return ",".join(_cell(column, cell) for column, cell in row._asdict().items())


def _cell(column: str, cell: Any) -> str:
    if cell is None:
        return ""
    if column in NUMBERS:
        return repr(cell)
    if column == "values":
        return _quoted(json.dumps(to_json(cell), allow_nan=False))
    kept = cell.startswith((*_FORMULA, _KEPT)) or (column == "text" and not cell)
    return _quoted(f"{_KEPT}{cell}" if kept else cell)


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def _rows(text: str) -> Iterator[tuple[str, Row]]:
    lines = _cells(text)
    _, head = next(lines, (2, []))
    if head != list(COLUMNS):
        raise SteelyardError(f"line 2 is not {_HEAD!r}")
    for number, cells in lines:
        try:
            row = _row(cells)
        except SteelyardError as error:
            raise SteelyardError(f"line {number}: {error}") from error
        yield f"line {number}", row


def _cells(text: str) -> Iterator[tuple[int, list[str]]]:
    """The cells of each line, with the number of the line in the file."""
    at, number, cells = 0, 2, []
    while at < len(text):
        found = _CELL.match(text, at)
        if found is None:
            raise SteelyardError(f"line {number} has no end or a stray quote: cut off or damaged")
        quoted, bare, end = found.groups()
        cells.append(bare if quoted is None else quoted.replace('""', '"'))
        at = found.end()
        if end != ",":
            yield number, cells
            number += 1 + sum(cell.count("\n") for cell in cells)
            cells = []
    if cells:
        raise SteelyardError(f"line {number} has no end: the file was cut off")


def _row(cells: list[str]) -> Row:
    if len(cells) != len(COLUMNS):
        raise SteelyardError(f"there are {len(cells)} cells, not {len(COLUMNS)}")
    return Row(**{c: _read(c, cell) for c, cell in zip(COLUMNS, cells, strict=True)})


def _read(column: str, cell: str) -> Any:
    if column in TEXTS:
        return None if column == "text" and not cell else cell.removeprefix(_KEPT)
    if not cell:
        return None
    if column == "values":
        return from_json(parse(cell))
    try:
        return float(cell)
    except ValueError as error:
        raise SteelyardError(f"the column {column!r} has {cell!r}") from error
