"""Readings as ink: a text table for the terminal, an HTML one for a notebook."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from steelyard.readings._grid import GAP, Column, Grid, grid
from steelyard.records import Reading
from steelyard.selection import Cut, html_rows


def text_table(readings: Sequence[Reading], info: Mapping[str, Any]) -> str:
    """Aligned columns, the middle of many rows cut, and below them what is to be said."""
    shown = grid(readings, info)
    if not shown.columns:
        return "\n".join(shown.below)
    widths = [column.width for column in shown.columns]
    head, *lines = [
        (" " * GAP).join(map(_padded, shown.columns, row, widths)).rstrip() for row in _rows(shown)
    ]
    if shown.cut:
        lines.insert(shown.cut_at, f"… {shown.cut:,} more …")
    rule = "─" * (sum(widths) + GAP * (len(widths) - 1))
    return "\n".join([head, rule, *lines, *shown.below])


def html_table(readings: Sequence[Reading], info: Mapping[str, Any]) -> str:
    """The same table for a notebook. Every name in it is escaped."""
    shown = grid(readings, info)
    head, *body = _rows(shown)
    right = [i for i, column in enumerate(shown.columns) if column.to_the_right]
    cuts = [Cut(shown.cut_at, f"… {shown.cut:,} more …")] if shown.cut else []
    return html_rows(head, body, right=right, below=shown.below, cuts=cuts)


def _rows(shown: Grid) -> list[tuple[str, ...]]:
    """The head, then one row after the other."""
    head = tuple(column.head for column in shown.columns)
    return [head, *zip(*(column.cells for column in shown.columns), strict=True)]


def _padded(column: Column, text: str, width: int) -> str:
    return text.rjust(width) if column.to_the_right else text.ljust(width)
