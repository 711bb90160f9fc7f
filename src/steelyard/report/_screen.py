"""A run as a screen of text: what is said of it, and a table with small curves, before any ink."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from steelyard.address import Pattern
from steelyard.errors import SteelyardError, UnknownAddressError
from steelyard.readings import SIGNS, Run
from steelyard.records import Finding, Reading
from steelyard.report._sparkline import sparkline
from steelyard.selection import count, plain

_CURVE = 12
_FINDINGS = 5
# An address, and a number with its curve.
_ADDRESS, _CELL = 34, 10 + _CURVE + 3


class Screen(NamedTuple):
    """What is shown of a run.

    Args:
        above: Lines about the whole: where it is, what Keras logged, what was found.
        rows: The cells of a table, the head first; empty if nothing was measured.
        below: What was left out.
    """

    above: list[str]
    rows: list[tuple[str, ...]]
    below: list[str]


def screen(
    run: Run,
    *,
    metrics: Sequence[str] = (),
    select: Sequence[str] = (),
    lines: int | None = None,
    width: int | None = None,
) -> Screen:
    """What to show of a run.

    Args:
        run: The run so far.
        metrics: Which metrics, in this order; all if none is named.
        select: Patterns of addresses; all if there is none.
        lines: How many lines there are for all of it; None for as many as it takes.
        width: How many letters there are in a line; None for as many as it takes.

    Raises:
        SteelyardError: If a metric was not measured in the run.
        UnknownAddressError: If no weight of the run fits a pattern.
    """
    above = [_where(run), *_logs(run), *_findings(run.findings)]
    if not len(run):
        return Screen(above, [], [])
    names = _chosen(run, metrics)
    fits = len(names) if width is None else max(1, (width - _ADDRESS) // _CELL)
    rows, left = _cut(
        _addresses(run, select), None if lines is None else max(3, lines - len(above) - 3)
    )
    below = [f"… {count(left, 'more weight')}; --select shows others"] if left else []
    if len(names) > fits:
        hidden = ", ".join(map(plain, names[fits:]))
        below.append(f"… not shown: {hidden}; --metrics shows others")
    head = ("address", *(plain(name) for name in names[:fits]))
    cells = _Cells(run)
    table = [(plain(one), *(cells.of(one, name) for name in names[:fits])) for one in rows]
    return Screen(above, [head, *table], below)


def _where(run: Run) -> str:
    source = plain(str(run.info.get("source") or "a training"))
    if not len(run):
        return f"{source}: no step was measured yet"
    step, epoch, batch = run.steps[-1], run.epochs[-1], run.batches[-1]
    place = f"step {step:,}, batch {batch:,} of epoch {epoch + 1:,}"
    return f"{source}: {place}; {count(len(run), 'step')} measured"


def _logs(run: Run) -> list[str]:
    names = dict.fromkeys(name for told in run.logs for name in told)
    parts = []
    for name in names:
        series = [told.get(name) for told in run.logs]
        known = [value for value in series if value is not None]
        parts.append(f"{plain(name)} {number(known[-1])} {sparkline(series, _CURVE)}".rstrip())
    return ["   ".join(parts)] if parts else []


def _findings(findings: Sequence[Finding]) -> list[str]:
    shown = [f"! {plain(str(finding))}" for finding in findings[-_FINDINGS:]]
    more = len(findings) - len(shown)
    return [*([f"! {count(more, 'earlier finding')}"] if more > 0 else []), *shown]


def _chosen(run: Run, metrics: Sequence[str]) -> list[str]:
    there = list(dict.fromkeys(metric for _, metric, _ in run.keys))
    for name in metrics:
        if name not in there:
            raise SteelyardError(f"{name!r} is not measured in this run: {', '.join(there)} are.")
    return list(metrics) or there


def _addresses(run: Run, select: Sequence[str]) -> list[str]:
    """Those with a finding first: there may be no room for all."""
    there = dict.fromkeys(address for address, _, _ in run.keys)
    found = dict.fromkeys(one.address for one in reversed(run.findings) if one.address in there)
    addresses = list(found | there)
    if not select:
        return addresses
    patterns = [Pattern(text) for text in select]
    chosen = [one for one in addresses if any(pattern.matches(one) for pattern in patterns)]
    if not chosen:
        some = ", ".join(map(repr, addresses[:3]))
        raise UnknownAddressError(f"No weight of this run matches {select[0]!r}. It has {some} …")
    return chosen


def _cut(addresses: list[str], most: int | None) -> tuple[list[str], int]:
    if most is None or len(addresses) <= most:
        return addresses, 0
    return addresses[:most], len(addresses) - most


class _Cells:
    """The last number of each series, with its curve."""

    def __init__(self, run: Run) -> None:
        self._columns = {(address, metric): i for i, (address, metric, _) in enumerate(run.keys)}
        self._values = run.values
        self._last = {(one.address, one.metric): one for one in run.readings()}

    def of(self, address: str, metric: str) -> str:
        """The text of a cell; empty where nothing was ever measured."""
        column = self._columns.get((address, metric))
        if column is None:
            return ""
        curve = sparkline(self._values[:, column].tolist(), _CURVE)
        return f"{_said(self._last.get((address, metric)))} {curve}".rstrip()


def _said(reading: Reading | None) -> str:
    """The number with the sign of its status; a dash where nothing was measured."""
    if reading is None:
        return "–"
    text = number(reading.value) if isinstance(reading.value, int | float) else ""
    return f"{text}{SIGNS[reading.status]}" or "–"


def number(value: float) -> str:
    """Four significant digits."""
    return f"{value:.4g}"
