"""The differences of two sources as rows of a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from steelyard.report._spectra import rounded
from steelyard.selection import Changes, change_rows, plain

Json = dict[str, Any]


def changes_of(changes: Changes, names: Sequence[str]) -> Json:
    """What differs, kind by kind, the largest first, and of those that do not, how many there are.

    Args:
        changes: What `sy.diff` gives.
        names: What the first and the second source are called.
    """
    told = [change for change in changes if change.kind != "unchanged" or change.reason]
    told.sort(key=lambda change: -(change.amount or 0))
    amounts: Mapping[tuple[str, str], Any] = {
        (change.kind, plain(change.address)): change.amount for change in told
    }
    head, *rows = change_rows(told)
    return {
        "first": plain(names[0]),
        "second": plain(names[1]),
        "summary": changes.summary,
        "identical": changes.identical,
        "head": list(head),
        "rows": [list(row) for row in rows],
        "amounts": [_amount(amounts[row[0], row[1]]) for row in rows],
    }


def _amount(amount: float | None) -> Any:
    return None if amount is None else rounded(amount, 4)
