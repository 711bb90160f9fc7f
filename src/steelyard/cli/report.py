"""`steelyard report`: a page about the weights of a file, or about what was measured of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from steelyard.cli import _output
from steelyard.errors import SteelyardError

_READINGS = (".csv", ".jsonl", ".parquet")


@click.command()
@click.argument("source")
@click.option("--out", required=True, metavar="PAGE", help="The page, which ends in .html.")
@click.option("--against", metavar="PATH", help="Also how it differs from this checkpoint.")
@click.option("--metrics", multiple=True, metavar="NAMES", help="More of them, with commas.")
@click.option("--select", multiple=True, metavar="PATTERN", help="Only these; may be repeated.")
def report(
    source: str, out: str, against: str | None, metrics: tuple[str, ...], select: tuple[str, ...]
) -> None:
    """Write a page that says what is wrong with weights, and where, and shows them.

    SOURCE is a checkpoint of any format that sy.weights opens, which is measured first; a file of
    readings that `steelyard measure --out` wrote; or a run of a training that sy.Monitor wrote. The
    page is one file, loads nothing, and is written whole or not at all. The exit status is 2 if a
    weight could not be read; the page says so, and shows the others.
    """
    from steelyard import metrics as catalog
    from steelyard import report as room
    from steelyard.urls import shown

    room.check_page_path(out)
    run = _run(source)
    measured = run is not None or Path(source).suffix.lower() in _READINGS
    if measured:
        _refuse_for_readings(against, metrics)
    if run is not None:
        readings = _last(run, select)
    else:
        readings = _loaded(source, select) if measured else _measured(source, metrics, select)
    changes = None if against is None else _compared(against, source, select)
    told = {"changes": changes, "names": (shown(against or ""), shown(source)), "run": run}
    room.write_page(out, readings, catalog=catalog.catalog(), **told)
    click.echo(f"{_verdict(readings, run)}\nThe page is {out}")
    _end(readings, changes)


def _run(source: str) -> Any:
    from steelyard.readings import Run, holds_run, run_file

    file = run_file(source)
    return Run.load(file) if holds_run(file) else None


def _last(run: Any, select: tuple[str, ...]) -> Any:
    from steelyard.readings import Readings

    readings = run.readings() if len(run) else Readings((), run.info)
    return readings.filter(select) if select else readings


def _refuse_for_readings(against: str | None, metrics: tuple[str, ...]) -> None:
    if against is not None:
        raise SteelyardError("--against compares two checkpoints; SOURCE holds readings.")
    if metrics:
        raise SteelyardError("--metrics measures a checkpoint; SOURCE holds readings already.")


def _loaded(source: str, select: tuple[str, ...]) -> Any:
    from steelyard.readings import Readings

    readings = Readings.load(source)
    return readings.filter(select) if select else readings


def _measured(source: str, more: tuple[str, ...], select: tuple[str, ...]) -> Any:
    from steelyard import measuring
    from steelyard.report import PAGE_METRICS

    names = [name.strip() for text in more for name in text.split(",") if name.strip()]
    return measuring.measure(source, [*PAGE_METRICS, *names], select=select or "**")


def _compared(first: str, second: str, select: tuple[str, ...]) -> Any:
    from steelyard import diffing

    with _output.bar("Comparing") as progress:
        return diffing.diff(first, second, select=select or "**", progress=progress)


def _verdict(readings: Any, run: Any) -> str:
    from steelyard.report import look_over, look_over_run
    from steelyard.selection import plain

    audit = look_over(readings) if run is None else look_over_run(readings, run)
    told = [f"  {one.title}: {one.sentence}" for one in audit.alarms if one.level != "note"]
    return "\n".join(map(plain, [audit.verdict, *told]))


def _end(readings: Any, changes: Any) -> None:
    failed = any(reading.status == "failed" for reading in readings)
    if failed or (changes is not None and len(changes.failed)):
        click.echo("Some weights could not be read; the page says which, and why.", err=True)
        click.get_current_context().exit(2)
