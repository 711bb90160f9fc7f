"""`steelyard measure`: numbers about the weights of a file."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from shutil import get_terminal_size
from typing import Any

import click

from steelyard.cli import _output
from steelyard.errors import Interrupted

_SCHEMA = 1


# The choices are those of `sy.measure`, which would take NumPy to `--help`; a test holds the two
# together.
@click.command()
@click.argument("path")
@click.option("--metrics", multiple=True, metavar="NAMES", help="Metrics or groups, with commas.")
@click.option("--select", multiple=True, metavar="PATTERN", help="Only these; may be repeated.")
@click.option("--view", type=click.Choice(["flat", "pooled"]), help="How a kernel is a matrix.")
@click.option("--compat", type=click.Choice(["weightwatcher"]), help="Whose conventions.")
@click.option(
    "--engine",
    default="auto",
    metavar="ENGINE",
    help="auto, serial, threads, processes, dask, ray, or the address of a cluster.",
)
@click.option("--workers", type=click.IntRange(min=1), metavar="N", help="How many; one a core.")
@click.option("--max-memory", metavar="AMOUNT", help='Such as "2 GB"; by itself, half of it.')
@click.option("--resume", metavar="FILE", help="Keep readings there, and go on from there.")
@click.option("--out", metavar="FILE", help="Save the readings: .parquet, .csv or .jsonl.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def measure(
    path: str,
    metrics: tuple[str, ...],
    select: tuple[str, ...],
    out: str | None,
    as_json: bool,
    **told: Any,
) -> None:
    """Take numbers of the weights in a file, of the values that its layers compute with.

    PATH is a checkpoint of any format that sy.weights opens; `steelyard metrics` lists the
    metrics. Ctrl-C with --resume keeps what is done: the same command goes on from there. The
    exit status is 2 if a weight could not be read; the others are measured all the same.

    The JSON document has the keys steelyard ("measure"), schema (1), info, count and readings:
    objects with address, metric, value, unit, status, reason and bound. Numbers that are not
    finite are the strings "nan", "inf" and "-inf".
    """
    from steelyard import measuring
    from steelyard.readings import check_path

    if out is not None:
        check_path(out)
    names = _split(metrics)
    try:
        readings = measuring.measure(path, names, select=select or "**", **told)
    except Interrupted:
        click.echo(_kept(told["resume"]), err=True)
        raise
    if out is not None:
        readings.save(out)
        click.echo(f"{len(readings):,} readings are in {out}", err=True)
    _print(readings, as_json)
    _end(readings)


def _split(metrics: Iterable[str]) -> list[str] | None:
    names = [name.strip() for text in metrics for name in text.split(",")]
    if names and not all(names):
        raise click.BadParameter("a name is empty.", param_hint="'--metrics'")
    return names or None


def _kept(resume: str | None) -> str:
    if resume is None:
        return "With --resume FILE, what is done would be kept."
    return f"What is done is in {resume}; the same command goes on from there."


def _print(readings: Any, as_json: bool) -> None:
    if as_json:
        rows = [asdict(reading) for reading in readings]
        told = {"info": readings.info, "count": len(rows), "readings": rows}
        _output.document("measure", _SCHEMA, told)
    else:
        _show(readings)


def _show(readings: Any) -> None:
    """All rows and columns in a pipe; on a terminal, what fits."""
    from steelyard.readings import grid

    if _output.is_terminal():
        shown = grid(tuple(readings), readings.info, widest=get_terminal_size().columns)
    else:
        shown = grid(tuple(readings), readings.info, most=None, widest=None)
    rows = [*zip(*(column.cells for column in shown.columns), strict=True)]
    if shown.cut:
        blank = [""] * (len(shown.columns) - 1)
        rows.insert(shown.cut_at, (f"… {shown.cut:,} more …", *blank))
    heads = [tuple(column.head for column in shown.columns)] if shown.columns else []
    right = [place for place, column in enumerate(shown.columns) if column.to_the_right]
    _output.show([*heads, *rows], right, shown.below)


def _end(readings: Any) -> None:
    failed = sum(reading.status == "failed" for reading in readings)
    if failed:
        what = (
            "reading failed; its reason says" if failed == 1 else "readings failed; the reasons say"
        )
        click.echo(f"{failed:,} {what} why.", err=True)
        click.get_current_context().exit(2)
