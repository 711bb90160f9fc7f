"""`steelyard watch`: a training that runs, as its run file tells of it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from shutil import get_terminal_size
from typing import Any

import click

from steelyard.cli import _output
from steelyard.errors import SteelyardError

# A file that was written to so many seconds ago may be in the making.
_YOUNG = 3.0


@click.command()
@click.argument("run")
@click.option("--once", is_flag=True, help="Print it once, and end.")
@click.option("--metrics", multiple=True, metavar="NAMES", help="Only these, with commas.")
@click.option("--select", multiple=True, metavar="PATTERN", help="Only these; may be repeated.")
@click.option(
    "--every",
    type=click.FloatRange(min=0.1),
    default=1.0,
    show_default=True,
    metavar="SECONDS",
    help="How often to look.",
)
@click.option(
    "--patience",
    type=click.FloatRange(min=0),
    default=600.0,
    show_default=True,
    metavar="SECONDS",
    help="End after so long without a new step.",
)
def watch(
    run: str,
    once: bool,
    metrics: tuple[str, ...],
    select: tuple[str, ...],
    every: float,
    patience: float,
) -> None:
    """Show a training while it runs: its last step, what was found, and each metric as a curve.

    RUN is the file that sy.Monitor writes, in .db, .jsonl or .parquet. It is followed until the
    training ends, nothing new has come for a while, or Ctrl-C. In a pipe it is printed once.
    """
    names = [name.strip() for text in metrics for name in text.split(",") if name.strip()]
    if once or not _output.is_terminal():
        _print(_run_at(run), names, select)
        return
    try:
        click.echo(_follow(run, names, select, every, patience))
    except KeyboardInterrupt:
        click.echo("No longer watched; the training goes on.")


def _run_at(path: str) -> Any:
    from steelyard.readings import Run, run_file

    return Run.load(run_file(path))


def _print(run: Any, metrics: list[str], select: tuple[str, ...]) -> None:
    from steelyard.report import screen

    shown = screen(run, metrics=metrics, select=select)
    click.echo("\n".join(shown.above))
    _output.show(shown.rows, (), shown.below)


def _follow(
    path: str, metrics: list[str], select: tuple[str, ...], every: float, patience: float
) -> str:
    """Draws anew whenever something came; gives why it ended."""
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    from steelyard.readings import run_is_open
    from steelyard.report import screen
    from steelyard.selection import plain

    console = Console(highlight=False)
    with Live(console=console, auto_refresh=False, screen=False) as live:
        for run in _states(path, every, patience):
            if run is None:
                live.update(Text(f"Waiting for {plain(path)} …"), refresh=True)
                continue
            size = get_terminal_size()
            fit = {"lines": size.lines - 1, "width": size.columns}
            shown = screen(run, metrics=metrics, select=select, **fit)
            live.update(_drawn(shown), refresh=True)
    return "The training has ended." if run_is_open(path) is False else "Nothing new has come."


def _states(path: str, every: float, patience: float) -> Iterator[Any | None]:
    """The run whenever its file has changed; None while there is none yet."""
    from steelyard.readings import run_file, run_is_open

    before, since = None, time.monotonic()
    while True:
        now = _stamp(run_file(path))
        closed = run_is_open(path) is False
        if now != before or before is None:
            run = None if now is None else _begun(path)
            if run is not None:
                before, since = now, time.monotonic()
            yield run
        # A file that was empty when it was looked at, and had a run when it was read, has begun.
        ended = closed and before is not None and _stamp(run_file(path)) == now
        late = time.monotonic() - since > patience
        if late and before is None:
            raise SteelyardError(
                f"There is no run {path!r}, and none came in {patience:g} seconds."
            )
        if late or ended:
            return
        time.sleep(every)


def _begun(path: str) -> Any | None:
    """The run; None where its file has only just been made, and says nothing yet."""
    from steelyard.readings import run_file

    try:
        return _run_at(path)
    except SteelyardError:
        if time.time() - run_file(path).stat().st_mtime > _YOUNG:
            raise
        return None


def _stamp(file: Path) -> tuple[int, ...] | None:
    """What changes when something is written; None where there is no file."""
    if not file.is_file():
        return None
    log = Path(f"{file}-wal")
    stats = [one.stat() for one in (file, log) if one.is_file()]
    return tuple(number for stat in stats for number in (stat.st_mtime_ns, stat.st_size))


def _drawn(shown: Any) -> Any:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    above = [Text(line, style="bold red" if line.startswith("! ") else "") for line in shown.above]
    below = [Text(line, style="dim") for line in shown.below]
    if not shown.rows:
        return Group(*above, *below)
    table = Table(box=None, pad_edge=False, header_style="dim")
    for head in shown.rows[0]:
        table.add_column(Text(head), overflow="ellipsis", no_wrap=True)
    for row in shown.rows[1:]:
        table.add_row(*map(Text, row))
    return Group(*above, table, *below)
