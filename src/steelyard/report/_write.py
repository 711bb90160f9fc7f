"""A page, written whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from steelyard.errors import SteelyardError
from steelyard.readings import Readings, Run, replaced
from steelyard.records import Metric
from steelyard.report._document import document
from steelyard.report._html import html_of
from steelyard.selection import Changes

_ENDINGS = (".html", ".htm")


def page_html(
    readings: Readings,
    *,
    changes: Changes | None = None,
    names: Sequence[str] = ("the first", "the second"),
    catalog: Iterable[Metric] = (),
    run: Run | None = None,
) -> str:
    """The text of a page.

    Args:
        readings: What was measured.
        changes: How two sources differ, as `sy.diff` gives it.
        names: What those two are called.
        catalog: The rows of metrics, whose descriptions the page shows.
        run: The training that the readings are of the last step of.
    """
    return html_of(document(readings, changes, names, catalog, run))


def write_page(
    path: str | os.PathLike[str],
    readings: Readings,
    *,
    changes: Changes | None = None,
    names: Sequence[str] = ("the first", "the second"),
    catalog: Iterable[Metric] = (),
    run: Run | None = None,
) -> None:
    """Write a page to a file; the other arguments are those of `page_html`.

    Raises:
        SteelyardError: If it cannot be written; then nothing was.
    """
    check_page_path(path)
    text = page_html(readings, changes=changes, names=names, catalog=catalog, run=run)
    try:
        replaced(Path(os.path.realpath(path)), text.encode())
    except OSError as error:
        raise SteelyardError(f"{str(path)!r} cannot be written: {error}") from error


def check_page_path(path: str | os.PathLike[str]) -> None:
    """Whether a page can be written to a path: asked before long work, not after it.

    Raises:
        SteelyardError: If its ending is another than that of a page, or there is no such folder.
    """
    if Path(path).suffix.lower() not in _ENDINGS:
        raise SteelyardError(f"A page is a file that ends in .html. Received: {str(path)!r}")
    target = Path(os.path.realpath(path))
    if not target.parent.is_dir():
        raise SteelyardError(
            f"{str(path)!r} cannot be written: there is no folder {str(target.parent)!r}. "
            f"Make it first."
        )
    if target.is_dir():
        raise SteelyardError(f"{str(path)!r} is a folder; a page is written to a file.")
