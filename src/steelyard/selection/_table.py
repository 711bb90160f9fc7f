"""A selection as ink: a text table for the terminal, an HTML one for a notebook."""

from __future__ import annotations

from collections.abc import Sequence

from steelyard.records import WeightSpec
from steelyard.selection._html import Cut, html_rows

Row = tuple[str, ...]

_HEAD: Row = ("address", "shape", "dtype", "size", "trainable", "layer")
_TO_THE_RIGHT = (3,)
_MOST_ROWS = 40
_MOST_ALIASES = 5


def text_table(specs: Sequence[WeightSpec], note: str = "") -> str:
    """Aligned columns, a line for each weight and one for the total; the middle of many is cut."""
    first, cut, last = _cut(specs)
    rows = [_HEAD, *map(_row, first), *map(_row, last)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(_HEAD))]
    lines = [_line(row, widths) for row in rows]
    if cut:
        lines.insert(1 + len(first), f"… {cut:,} more …")
    lines.insert(1, "─" * max(map(len, lines)))
    return "\n".join([*lines, total(specs), *([plain(note)] if note else [])])


def html_table(specs: Sequence[WeightSpec], note: str = "") -> str:
    """The same table for a notebook. Every name in it is escaped."""
    first, cut, last = _cut(specs)
    rows = map(_row, (*first, *last))
    cuts = [Cut(len(first), f"… {cut:,} more …")] if cut else []
    below = (total(specs), plain(note))
    return html_rows(_HEAD, rows, right=_TO_THE_RIGHT, below=below, cuts=cuts)


def html_facts(spec: WeightSpec) -> str:
    """One weight for a notebook: what is known of it without reading it."""
    facts = [*zip(_HEAD, _row(spec), strict=True), ("bytes", f"{spec.nbytes:,}")]
    facts += [("also", plain(alias)) for alias in spec.aliases[:_MOST_ALIASES]]
    more = len(spec.aliases) - _MOST_ALIASES
    below = [f"and at {more:,} more"] if more > 0 else []
    return html_rows((), facts, below=below)


def total(specs: Sequence[WeightSpec]) -> str:
    """`"2 weights, 16 parameters (12 trainable), 64 bytes"`."""
    size = sum(spec.size for spec in specs)
    trainable = sum(spec.size for spec in specs if spec.trainable)
    return (
        f"{count(len(specs), 'weight')}, {count(size, 'parameter')} ({trainable:,} trainable), "
        f"{_bytes(sum(spec.nbytes for spec in specs))}"
    )


def count(number: int, noun: str) -> str:
    """`"1 weight"`, `"1,234 weights"`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def plain(text: str) -> str:
    """The text with everything escaped that a terminal would not print as a character.

    A layer may have any name; a control or right-to-left character in one must not rearrange the
    line that shows it.
    """
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )


def _cut(specs: Sequence[WeightSpec]) -> tuple[Sequence[WeightSpec], int, Sequence[WeightSpec]]:
    if len(specs) <= _MOST_ROWS:
        return specs, 0, ()
    half = _MOST_ROWS // 2
    return specs[:half], len(specs) - 2 * half, specs[-half:]


def _row(spec: WeightSpec) -> Row:
    trainable = "yes" if spec.trainable else "no"
    row = (spec.address, str(spec.shape), spec.dtype, f"{spec.size:,}", trainable, spec.layer)
    return tuple(plain(cell) for cell in row)


def _line(row: Row, widths: Sequence[int]) -> str:
    cells = [
        cell.rjust(width) if i in _TO_THE_RIGHT else cell.ljust(width)
        for i, (cell, width) in enumerate(zip(row, widths, strict=True))
    ]
    return "  ".join(cells).rstrip()


def _bytes(number: int) -> str:
    if number < 1024:
        return count(number, "byte")
    power = min((number.bit_length() - 1) // 10, len(_UNITS))
    return f"{number / 1024**power:,.1f} {_UNITS[power - 1]}"


_UNITS = ("KiB", "MiB", "GiB", "TiB")
