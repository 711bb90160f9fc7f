"""Readings as a grid of texts, before any ink: which rows and columns are shown, and as what."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from steelyard.readings._notes import SIGNS, notes, short, total
from steelyard.records import Reading, Value
from steelyard.selection import plain

_MOST_ROWS = 40
_WIDTH = 120
_LONGEST_TEXT = 20
GAP = 2


class Column(NamedTuple):
    """A head and the cells below it, to the left or to the right."""

    head: str
    cells: Sequence[str]
    to_the_right: bool = False

    @property
    def width(self) -> int:
        """Of the widest of them."""
        return max(map(len, (self.head, *self.cells)))


class Grid(NamedTuple):
    """What is shown: columns, how many rows are left out and where, and what is said below."""

    columns: Sequence[Column]
    cut: int
    cut_at: int
    below: Sequence[str]


def grid(
    readings: Sequence[Reading],
    info: Mapping[str, Any],
    *,
    most: int | None = _MOST_ROWS,
    widest: int | None = _WIDTH,
) -> Grid:
    """Address × metric, where several addresses have most of the metrics; else a row a reading.

    Args:
        readings: What is shown.
        info: What is known of them all.
        most: How many rows, of more of which the middle is left out; None for all.
        widest: How many letters, after which columns are left out; None for all.
    """
    below = [total(readings, info), *notes(readings)]
    addresses = list(dict.fromkeys(reading.address for reading in readings))
    metrics = list(dict.fromkeys(reading.metric for reading in readings))
    if len(addresses) > 1 and 3 * len(readings) >= 2 * len(addresses) * len(metrics):
        return _crossed(readings, addresses, metrics, below, most, widest)
    shown, cut, cut_at = _cut(readings, most)
    columns = (
        Column("address", [plain(reading.address) for reading in shown]),
        Column("metric", [plain(reading.metric) for reading in shown]),
        Column("value", _cells(shown), to_the_right=True),
        Column("unit", [plain(reading.unit) for reading in shown]),
    )
    return Grid(columns if shown else (), cut, cut_at, below)


def _crossed(
    readings: Sequence[Reading],
    addresses: Sequence[str],
    metrics: Sequence[str],
    below: Sequence[str],
    most: int | None,
    widest: int | None,
) -> Grid:
    shown, cut, cut_at = _cut(addresses, most)
    there = {(reading.address, reading.metric): reading for reading in readings}
    columns = [Column("address", [plain(address) for address in shown])]
    width = columns[0].width
    for i, metric in enumerate(metrics):
        cells = _cells([there.get((address, metric)) for address in shown])
        column = Column(plain(metric), cells, to_the_right=True)
        width += GAP + column.width
        if widest is not None and width > widest and i > 0:
            return Grid(columns, cut, cut_at, [_more(metrics[i:]), *below])
        columns.append(column)
    return Grid(columns, cut, cut_at, below)


def _more(metrics: Sequence[str]) -> str:
    names = ", ".join(map(plain, metrics[:3])) + (", …" if len(metrics) > 3 else "")
    columns = "1 more metric" if len(metrics) == 1 else f"{len(metrics):,} more metrics"
    return f"… {columns}: {names}; .metrics names all, .filter(metric=…) shows some"


def _cut(items: Sequence[Any], most: int | None) -> tuple[Sequence[Any], int, int]:
    """The first and the last of many, how many are left out, and after how many."""
    if most is None or len(items) <= most:
        return items, 0, 0
    half = most // 2
    return (*items[:half], *items[-half:]), len(items) - 2 * half, half


def _cells(readings: Iterable[Reading | None]) -> list[str]:
    """The cells of one column; where one has a sign, the others leave its place free."""
    pairs = [("", "") if one is None else (_shown(one), SIGNS[one.status]) for one in readings]
    signed = any(sign for _, sign in pairs)
    return [f"{text} {sign or ' '}" if signed else text for text, sign in pairs]


def _shown(reading: Reading) -> str:
    match reading.value:
        case None:
            return "" if SIGNS[reading.status] else "none"
        case str(text):
            return short(plain(text), _LONGEST_TEXT)
        case tuple(several):
            return f"[{len(several):,} numbers]" if len(several) != 1 else "[1 number]"
    return _number(reading.value)


def _number(value: Value) -> str:
    """Four significant digits; a whole number below a million as it is."""
    number = float(value)  # type: ignore[arg-type]
    if math.isfinite(number) and number.is_integer() and abs(number) < 1e6:
        return f"{number:.0f}"
    return f"{number:#.4g}".rstrip(".")
