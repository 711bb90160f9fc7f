"""Changes as ink: what needs a look comes first, and each kind is cut by itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from steelyard.records import Change
from steelyard.selection._html import Cut, html_rows
from steelyard.selection._table import plain

Row = tuple[str, ...]

_HEAD: Row = ("kind", "address", "shape", "from", "why")
# Among many that went well, the few that did not must be seen.
_ORDER = (
    *("failed", "skipped", "missing", "unused"),
    *("removed", "added", "renamed", "reshaped", "changed"),
    *("copied", "merged", "unchanged"),
)
_WORDS = {"missing": "missing in the source", "unused": "unused of the source"}
_MOST_ROWS = 12


def summary(changes: Sequence[Change]) -> str:
    """`"4 copied, 1 skipped, 2 missing in the source"`; what went well comes first."""
    kinds = [change.kind for change in changes]
    ordered = ("copied", *(kind for kind in _ORDER if kind != "copied"))
    counts = [(kinds.count(kind), _WORDS.get(kind, kind)) for kind in ordered]
    return ", ".join(f"{number:,} {word}" for number, word in counts if number) or "no weights"


def text_table(changes: Sequence[Change], note: str = "") -> str:
    """The summary and aligned columns, a line for each change; each kind of many is cut."""
    groups = list(_groups(changes))
    rows = [_HEAD, *(row for kept, _ in groups for row in kept)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(_HEAD))]
    lines = [summary(changes)]
    if changes:
        lines += [_line(_HEAD, widths), "─" * (sum(widths) + 2 * (len(widths) - 1))]
    for kept, cut in groups:
        lines += [*(_line(row, widths) for row in kept), *([cut] if cut else [])]
    return "\n".join([*lines, *([plain(note)] if note else [])])


def change_rows(changes: Sequence[Change]) -> list[Row]:
    """The head and a row for each change, kind by kind, none left out."""
    order = sorted(changes, key=lambda change: _ORDER.index(change.kind))
    return [_HEAD, *map(_row, order)]


def html_table(changes: Sequence[Change], note: str = "") -> str:
    """The same table for a notebook. Every name in it is escaped."""
    rows: list[Row] = []
    cuts = []
    for kept, cut in _groups(changes):
        rows += kept
        if cut:
            cuts.append(Cut(len(rows), cut))
    return html_rows(_HEAD, rows, below=[plain(note)], caption=summary(changes), cuts=cuts)


def _groups(changes: Sequence[Change]) -> Iterator[tuple[list[Row], str]]:
    """For each kind, in the order of showing, its rows and what to say of those left out."""
    for kind in _ORDER:
        same = [change for change in changes if change.kind == kind]
        kept = same if len(same) <= _MOST_ROWS else same[: _MOST_ROWS - 2]
        more = len(same) - len(kept)
        yield [_row(change) for change in kept], f"… {more:,} more {kind} …" if more else ""


def _row(change: Change) -> Row:
    why = change.reason
    if change.amount:
        why = f"by {change.amount:.3g}" + (f"; {why}" if why else "")
    shape = change.source_shape if change.shape is None else change.shape
    origin = "" if change.source in (None, change.address) else change.source
    cells = (change.kind, change.address, "" if shape is None else str(shape), origin, why)
    return tuple(plain(cell or "") for cell in cells)


def _line(row: Row, widths: Sequence[int]) -> str:
    return "  ".join(c.ljust(width) for c, width in zip(row, widths, strict=True)).rstrip()
