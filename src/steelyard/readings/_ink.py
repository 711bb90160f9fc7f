"""Readings as ink: a text table for the terminal, an HTML one for a notebook."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from steelyard.readings._grid import GAP, Column, Grid, grid
from steelyard.records import Reading


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
    width = max(1, len(shown.columns))
    head, *body = [_html_row("td" if i else "th", shown, row) for i, row in enumerate(_rows(shown))]
    if shown.cut:
        body.insert(shown.cut_at, f'<tr><td colspan="{width}">… {shown.cut:,} more …</td></tr>')
    foot = "<br>".join(map(escape, shown.below))
    return (
        f"<table><thead>{head}</thead><tbody>{''.join(body)}</tbody>"
        f'<tfoot><tr><td colspan="{width}" style="text-align: left">{foot}</td></tr></tfoot>'
        f"</table>"
    )


def _rows(shown: Grid) -> list[tuple[str, ...]]:
    """The head, then one row after the other."""
    head = tuple(column.head for column in shown.columns)
    return [head, *zip(*(column.cells for column in shown.columns), strict=True)]


def _padded(column: Column, text: str, width: int) -> str:
    return text.rjust(width) if column.to_the_right else text.ljust(width)


def _html_row(tag: str, shown: Grid, row: Sequence[str]) -> str:
    cells = "".join(
        f'<{tag} style="text-align: {"right" if column.to_the_right else "left"}">'
        f"{escape(text)}</{tag}>"
        for column, text in zip(shown.columns, row, strict=True)
    )
    return f"<tr>{cells}</tr>"
