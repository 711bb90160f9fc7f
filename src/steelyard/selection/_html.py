"""Ink for notebooks: small tables, in which every text is escaped.

No color is named but one that shows on white and on black, so they are at home in a light notebook
and in a dark one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from html import escape
from typing import NamedTuple

LINE = "1px solid rgba(128, 128, 128, 0.4)"
_TABLE = "border-collapse: collapse; font-variant-numeric: tabular-nums"


class Cut(NamedTuple):
    """What is left out of a table: after which row, and what is said there."""

    after: int
    says: str


def html_rows(
    head: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    right: Collection[int] = (),
    below: Iterable[str] = (),
    caption: str = "",
    cuts: Iterable[Cut] = (),
) -> str:
    """A table.

    Args:
        head: The texts of its head; none for a table of names and values, whose names are heads.
        rows: The texts of its cells.
        right: Which columns stand to the right.
        below: Lines below it.
        caption: A line above it.
        cuts: Where rows are left out.
    """
    width = max(1, len(head))
    body = [_row(cells, right, named=not head) for cells in rows]
    for cut in sorted(cuts, reverse=True):
        line = f'<tr><td colspan="{width}">{escape(cut.says)}</td></tr>'
        body.insert(cut.after, line)
    foot = "<br>".join(map(escape, filter(None, below)))
    return (
        f'<table style="{_TABLE}">'
        + (f'<caption style="text-align: left">{escape(caption)}</caption>' if caption else "")
        + (f"<thead>{_heads(head, right)}</thead>" if head else "")
        + f"<tbody>{''.join(body)}</tbody>"
        + (f"<tfoot>{_foot(foot, width)}</tfoot>" if foot else "")
        + "</table>"
    )


def _heads(head: Sequence[str], right: Collection[int]) -> str:
    cells = (
        f'<th scope="col" style="{_align(i, right)}; border-bottom: {LINE}">{escape(text)}</th>'
        for i, text in enumerate(head)
    )
    return f"<tr>{''.join(cells)}</tr>"


def _row(cells: Sequence[str], right: Collection[int], named: bool) -> str:
    written = []
    for i, text in enumerate(cells):
        tag = ("th", 'th scope="row"') if named and i == 0 else ("td", "td")
        written.append(f'<{tag[1]} style="{_align(i, right)}">{escape(text)}</{tag[0]}>')
    return f"<tr>{''.join(written)}</tr>"


def _foot(foot: str, width: int) -> str:
    style = f"padding: 0.1em 0.6em; text-align: left; border-top: {LINE}"
    return f'<tr><td colspan="{width}" style="{style}">{foot}</td></tr>'


def _align(column: int, right: Collection[int]) -> str:
    return f"padding: 0.1em 0.6em; text-align: {'right' if column in right else 'left'}"
