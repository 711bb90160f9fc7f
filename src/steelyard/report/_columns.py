"""Readings as the columns of a page: a row for each address, a column for each metric."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from steelyard.records import Metric, Reading
from steelyard.report._spectra import points_for, rounded, thinned
from steelyard.selection import plain

Json = dict[str, Any]


def columns_of(readings: Sequence[Reading], catalog: Iterable[Metric]) -> Json:
    """What the page knows of the weights: addresses, columns, reasons and spectra.

    Cells and statuses are looked up by the number of the row. Every text is plain.
    """
    rows = {one: i for i, one in enumerate(dict.fromkeys(reading.address for reading in readings))}
    known = {metric.name: metric for metric in catalog}
    columns: dict[str, Json] = {}
    reasons: dict[str, int] = {}
    for reading in readings:
        row = rows[reading.address]
        if reading.metric not in columns:
            columns[reading.metric] = _column(reading, known.get(reading.metric), len(rows))
        column = columns[reading.metric]
        column["values"][row] = _cell(reading, column)
        if reading.status != "ok":
            reason = reasons.setdefault(plain(reading.reason), len(reasons))
            column["status"][row] = [reading.status, reason]
        if reading.bound is not None:
            column["bounds"][row] = rounded(reading.bound, 2)
    return {
        "addresses": [plain(address) for address in rows],
        "columns": list(columns.values()),
        "reasons": list(reasons),
        "spectra": _spectra(readings, rows),
    }


def _column(reading: Reading, metric: Metric | None, rows: int) -> Json:
    return {
        "name": plain(reading.metric),
        "unit": plain(reading.unit),
        "says": plain(metric.description) if metric else "",
        "kind": "number",
        "values": [None] * rows,
        "status": {},
        "bounds": {},
    }


def _cell(reading: Reading, column: Json) -> Any:
    """A number, or a text: the column is then one of texts. Of many numbers, how many."""
    match reading.value:
        case None:
            return None
        case str(text):
            column["kind"] = "text"
            return plain(text)
        case tuple(several):
            column["kind"] = "many"
            return len(several)
    return rounded(reading.value)


def _spectra(readings: Sequence[Reading], rows: dict[str, int]) -> dict[int, Json]:
    several = {
        rows[one.address]: one.value
        for one in readings
        if one.metric == "singular_values" and isinstance(one.value, tuple)
    }
    points = points_for(len(several))
    found = ((row, thinned(values, points)) for row, values in several.items())
    return {row: spectrum._asdict() for row, spectrum in found if spectrum is not None}
