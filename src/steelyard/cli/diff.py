"""`steelyard diff`: what differs between the weights of two files."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click

from steelyard.cli import _output

_SCHEMA = 1


@click.command()
@click.argument("a")
@click.argument("b")
@click.option("--metrics", multiple=True, metavar="NAME", help="More numbers of each change.")
@click.option("--select", multiple=True, metavar="PATTERN", help="Only these; may be repeated.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def diff(a: str, b: str, metrics: tuple[str, ...], select: tuple[str, ...], as_json: bool) -> None:
    """Say what differs between the weights of two files, of any two formats.

    The exit status is 0 if nothing differs, 1 if anything does, a dtype or an address among it,
    and 2 if one of the files, or a weight in one, could not be read.

    The JSON document has the keys steelyard ("diff"), schema (1), first, second, identical, count,
    kinds (how many there are of each) and changes: objects with address, kind, source, reason,
    shape, source_shape, dtype, source_dtype, amount and numbers. Numbers that are not finite are
    the strings "nan", "inf" and "-inf".
    """
    from steelyard import diffing
    from steelyard.urls import shown

    with _output.bar("Comparing") as progress:
        found = diffing.diff(
            a, b, metrics=metrics or None, select=select or "**", progress=progress
        )
    if as_json:
        files = {"first": shown(a), "second": shown(b)}
        _output.document("diff", _SCHEMA, {**files, **_told(found)})
    else:
        _show(found)
    _end(found)


def _told(found: Any) -> dict[str, Any]:
    kinds = [change.kind for change in found]
    return {
        "identical": found.identical,
        "count": len(found),
        "kinds": {kind: kinds.count(kind) for kind in dict.fromkeys(kinds)},
        "changes": [_fields(change) for change in found],
    }


def _fields(change: Any) -> dict[str, Any]:
    return asdict(change) | {"numbers": dict(change.numbers)}


def _show(found: Any) -> None:
    """What differs, kind by kind, and how many there are of each."""
    from steelyard.selection import change_rows

    rows = change_rows([one for one in found if one.kind != "unchanged" or one.reason])
    same = "identical: " if found.identical else ""
    _output.show(rows if len(rows) > 1 else [], (), [same + found.summary])


def _end(found: Any) -> None:
    failed = len(found.failed)
    if failed:
        what = "weight" if failed == 1 else "weights"
        whose = "its reason says" if failed == 1 else "the reasons say"
        click.echo(f"{failed:,} {what} could not be compared; {whose} why.", err=True)
    if not found.identical:
        click.get_current_context().exit(2 if failed else 1)
