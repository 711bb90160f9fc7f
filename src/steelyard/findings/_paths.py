"""Weights that cannot be told apart by what Keras calls them."""

from __future__ import annotations

from collections.abc import Iterator

from steelyard.findings._subject import Found, Row, Subject, some
from steelyard.live import Substitute


def duplicate_paths(subject: Subject) -> Iterator[Found]:
    """Weights with one `variable.path`."""
    by_path: dict[str, dict[int, Row]] = {}
    for row in subject.rows:
        if not isinstance(row.variable, Substitute):
            by_path.setdefault(row.variable.path, {}).setdefault(id(row.variable), row)
    for path, rows in by_path.items():
        if len(rows) > 1:
            first, *others = (row.address for row in rows.values())
            yield Found(
                first,
                f"Its `variable.path` is '{path}', and so is that of {some(others)}: whatever goes "
                "by path (a `LayoutMap`, a dictionary of weights, logs) takes one for the other.",
                "Go by address (`sy.weights(model)`), or give the layers, or those around them, "
                "names of their own.",
            )
