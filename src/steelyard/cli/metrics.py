"""`steelyard metrics`: the catalog, on a terminal or as JSON."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.table import Table

_SCHEMA = 1
_HEAD = ("name", "unit", "range", "description")
_BELOW = (
    'sy.measure(model, ["l2_norm", "spectral"]) takes names and groups; those of two weights are '
    "functions, sy.metrics.cosine(a, b). The unit 1 is a pure number, w that of the weight's "
    "entries. N and M are the longer and the shorter side of the matrix, σ its singular values, "
    "λ = σ²."
)


# The groups are those of the catalog, which would take NumPy to `--help`: no `click.Choice`.
@click.command()
@click.option("--group", metavar="GROUP", help="Only this group, such as spectral.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def metrics(group: str | None, as_json: bool) -> None:
    """List what can be measured: the metrics of the catalog.

    Needs no Keras. Those marked on demand are measured only when they are named.

    The JSON document has the keys steelyard ("metrics"), schema (1), count and metrics: a list of
    objects with name, group, unit, range, needs, source, description, in_graph and on_demand, as
    sy.catalog() gives them.
    """
    rows = _asked(group)
    if as_json:
        told = {"steelyard": "metrics", "schema": _SCHEMA, "count": len(rows)}
        click.echo(json.dumps(told | {"metrics": [asdict(row) for row in rows]}, indent=2))
    else:
        _show(rows)


def _asked(group: str | None) -> list[Any]:
    from steelyard.metrics import catalog

    rows = catalog()
    groups = list(dict.fromkeys(row.group for row in rows))
    if group is not None and group not in groups:
        near = get_close_matches(group, groups, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise click.BadParameter(
            f"{group!r} is none of {', '.join(groups)}.{hint}", param_hint="'--group'"
        )
    return [row for row in rows if group in (None, row.group)]


def _show(rows: Sequence[Any]) -> None:
    from rich.console import Console

    if isinstance(sys.stdout, io.TextIOWrapper):
        # What the encoding of a pipe lacks, such as λ, becomes a question mark.
        sys.stdout.reconfigure(errors="replace")
    console = Console(highlight=False)
    for group in dict.fromkeys(row.group for row in rows):
        console.print(_table(group, [row for row in rows if row.group == group], rows))
        console.print()
    console.print(_BELOW, markup=False)


def _table(group: str, rows: Sequence[Any], everything: Sequence[Any]) -> Table:
    """One group; its columns are as wide as those of the others."""
    from rich.table import Table
    from rich.text import Text

    table = Table(title=group, title_justify="left", title_style="bold", box=None, pad_edge=False)
    table.header_style = "dim"
    for name in _HEAD[:-1]:
        widest = max(len(str(getattr(row, name))) for row in everything)
        table.add_column(name, no_wrap=True, min_width=max(widest, len(name)))
    table.add_column(_HEAD[-1])
    for row in rows:
        said = row.description + (" On demand." if row.on_demand else "")
        # As text: a range in brackets is no markup.
        table.add_row(*map(Text, (row.name, row.unit, row.range, said)))
    return table
