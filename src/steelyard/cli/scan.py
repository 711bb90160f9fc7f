"""`steelyard scan`: what in a file could run code or reach out."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click

from steelyard.cli import _output

_SCHEMA = 1


@click.command()
@click.argument("path")
@click.option(
    "--seconds",
    type=click.FloatRange(min=0, min_open=True),
    default=10.0,
    show_default=True,
    help="How long one file may take.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def scan(path: str, seconds: float, as_json: bool) -> None:
    """Say what in a file, or in the files of a folder, could run code or reach out.

    Nothing in it is run, imported, opened or followed. The exit status is 0 if nothing was found
    and all was read, 1 if a danger or something that asks for caution was found, and 2 if nothing
    was, but a part could not be read. Notes do not change it.

    The JSON document has the keys steelyard ("scan"), schema (1), path, status ("clean", "found" or
    "unread"), counts (of each severity), files (what kind each is) and risks: objects with code,
    severity, file, place, message, fix, references and count.
    """
    from steelyard import scanning

    found = scanning.scan(path, seconds=seconds)
    if as_json:
        _output.document("scan", _SCHEMA, _told(found))
    else:
        _show(found)
    if found.status != "clean":
        click.get_current_context().exit(1 if found.status == "found" else 2)


def _told(found: Any) -> dict[str, Any]:
    return {
        "path": found.path,
        "status": found.status,
        "counts": found.counts,
        "files": found.files,
        "risks": [asdict(risk) for risk in found.risks],
    }


def _show(found: Any) -> None:
    """A line for each risk, what to do about each code, and whether all was read."""
    from steelyard.selection import plain

    rows = [("severity", "code", "where", "what")]
    fixes: dict[str, str] = {}
    for risk in found.in_order:
        where = ": ".join(filter(None, (risk.file, risk.place)))
        more = f" ({risk.count:,} times)" if risk.count > 1 else ""
        rows.append((risk.severity, risk.code, plain(where), plain(risk.message + more)))
        known = f" ({', '.join(risk.references)})" if risk.references else ""
        fixes[risk.code] = f"{risk.code}: {risk.fix}{known}"
    below = ["", *fixes.values(), ""] if fixes else []
    _output.show(rows if fixes else [], (), [*below, found.summary])
