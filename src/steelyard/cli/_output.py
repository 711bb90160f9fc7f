"""What the verbs print: a table on a terminal, plain lines in a pipe, or one JSON document."""

from __future__ import annotations

import io
import json
import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import click

Row = Sequence[str]
_WIDEST = 200


def is_terminal() -> bool:
    """Whether somebody looks at what is printed."""
    return sys.stdout.isatty()


def show(rows: Sequence[Row], right: Sequence[int] = (), below: Sequence[str] = ()) -> None:
    """Prints a table.

    Args:
        rows: The cells, the head first; each must be `plain` already.
        right: Which columns stand to the right.
        below: Lines below the table.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        # What the encoding of a pipe lacks, such as σ, becomes a question mark.
        sys.stdout.reconfigure(errors="replace")
    if is_terminal():
        _on_terminal(rows, right, below)
    else:
        click.echo("\n".join([*_lines(rows, right), *below]))


def document(verb: str, schema: int, told: Mapping[str, Any]) -> None:
    """Prints one strict JSON document, which says first what it is."""
    whole = {"steelyard": verb, "schema": schema, **told}
    click.echo(json.dumps(strict(whole), allow_nan=False, indent=2))


def strict(told: Any) -> Any:
    """What JSON can hold: NaN and the infinities become `"nan"`, `"inf"` and `"-inf"`."""
    if isinstance(told, Mapping):
        return {key: strict(value) for key, value in told.items()}
    if isinstance(told, tuple | list):
        return [strict(value) for value in told]
    return repr(told) if isinstance(told, float) and not math.isfinite(told) else told


@contextmanager
def bar(words: str) -> Iterator[Callable[[int, int], None] | None]:
    """A progress bar for the while, on a terminal; None elsewhere."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(words, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def _on_terminal(rows: Sequence[Row], right: Sequence[int], below: Sequence[str]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="dim")
    for column, head in enumerate(rows[0] if rows else ()):
        justify: Any = "right" if column in right else "left"
        table.add_column(Text(head), justify=justify, overflow="fold")
    for row in rows[1:]:
        # As text: a name in brackets is no markup.
        table.add_row(*map(Text, row))
    console = Console(highlight=False)
    if rows:
        console.print(table)
    for line in below:
        console.print(Text(line))


def _lines(rows: Sequence[Row], right: Sequence[int]) -> Iterator[str]:
    # One name of a megabyte must not make each line as long.
    widths = [min(_WIDEST, max(map(len, column))) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        yield "  ".join(cells).rstrip()
