"""What is wrong, and where, in words: the first thing that a page says."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from steelyard.readings import Run
from steelyard.records import STATUSES, Finding, Reading
from steelyard.report._measured import SPECTRUM
from steelyard.selection import count

LEVELS = {
    "wrong": "cannot be right",
    "look": "may be meant, and should be looked at",
    "note": "good to know when reading the numbers",
}
# Below this share of the directions that a matrix could have, its rank has collapsed.
_COLLAPSED = 0.05
_FEWEST_DIRECTIONS = 20
# Martin and Mahoney 2021: layers that are trained well have exponents from 2 to 6.
_HEAVY, _LIGHT = 2.0, 6.0

Table = dict[str, dict[str, Reading]]


class Alarm(NamedTuple):
    """Something that a reader should look at.

    Args:
        level: One of `LEVELS`.
        title: What it is, in a few words.
        sentence: What it means, and how many there are.
        addresses: Where, the worst first.
    """

    level: str
    title: str
    sentence: str
    addresses: tuple[str, ...]


class Audit(NamedTuple):
    """All that was found, and what was not looked for.

    Args:
        alarms: The worst first.
        unchecked: What could not be looked for, and what would have to be measured for it.
    """

    alarms: tuple[Alarm, ...]
    unchecked: tuple[str, ...]

    @property
    def verdict(self) -> str:
        """The whole in one sentence. That nothing was found is said without more only of all."""
        levels = [alarm.level for alarm in self.alarms]
        parts = [
            f"{count(levels.count('wrong'), 'thing')} cannot be right" * ("wrong" in levels),
            f"{count(levels.count('look'), 'thing')} to look at" * ("look" in levels),
        ]
        told = ", ".join(filter(None, parts))
        if self.unchecked:
            return f"{told or 'Nothing found'} in what was measured; not all was."
        return f"{told or 'Nothing found'}."


class _Check(NamedTuple):
    """What is looked for, in which metrics, and how."""

    what: str
    needs: tuple[str, ...]
    find: Callable[[Table], Iterator[Alarm]]


def look_over(readings: Iterable[Reading]) -> Audit:
    """What is wrong in readings, of any weights and metrics."""
    return _looked_over(readings, (), _CHECKS)


def look_over_run(readings: Iterable[Reading], run: Run) -> Audit:
    """What is wrong in the readings of a step, and what was found in the training until then."""
    # Whoever writes a run looks for these at every step, whatever is measured.
    others = [check for check in _CHECKS if check.find is not _not_finite]
    return _looked_over(readings, run.findings, [_Check("", (), _not_finite), *others])


def _looked_over(
    readings: Iterable[Reading], findings: Iterable[Finding], checks: Iterable[_Check]
) -> Audit:
    table: Table = {}
    for reading in readings:
        table.setdefault(reading.address, {})[reading.metric] = reading
    alarms = [*_found(findings)]
    unchecked = []
    for check in checks:
        alarms += check.find(table)
        if table and (missing := _missing(table, check.needs)):
            unchecked.append(f"{check.what} (needs {missing})")
    alarms.sort(key=lambda alarm: list(LEVELS).index(alarm.level))
    return Audit(tuple(alarms), tuple(unchecked))


def _missing(table: Table, needs: tuple[str, ...]) -> str:
    """Which metrics were not asked of each weight: one that does not apply was."""
    short = {name: sum(name not in row for row in table.values()) for name in needs}
    parts = [
        name if missing == len(table) else f"{name}, missing at {count(missing, 'weight')}"
        for name, missing in short.items()
        if missing
    ]
    return " and ".join(parts)


def _found(findings: Iterable[Finding]) -> Iterator[Alarm]:
    groups: dict[str, list[Finding]] = {}
    for finding in findings:
        groups.setdefault(finding.code, []).append(finding)
    for code, several in groups.items():
        more = len(several) - 1
        also = f" So are {more:,} more findings." if more > 1 else " So is 1 more." * more
        addresses = tuple(dict.fromkeys(one.address for one in several if one.address))
        first = several[0]
        level = "wrong" if code.startswith("non-finite") else "look"
        yield Alarm(level, code, f"{first.message} {first.fix}{also}", addresses)


def _not_finite(table: Table) -> Iterator[Alarm]:
    nans, infs = _positive(table, "nan_count"), _positive(table, "inf_count")
    told = {row.address for row in (*nans, *infs)}
    others = [a for a, row in table.items() if a not in told and _has(row, "not finite")]
    if addresses := tuple(dict.fromkeys([row.address for row in (*nans, *infs)] + others)):
        kinds = [f"{_sum(nans):,} NaN" * bool(nans), f"{_sum(infs):,} infinite" * bool(infs)]
        how = f" ({', '.join(filter(None, kinds))})" if told else ""
        yield Alarm(
            "wrong",
            "Entries that are NaN or infinite",
            f"In {count(len(addresses), 'weight')}{how}. What such a weight touches becomes NaN "
            f"too. Go back to a checkpoint before it.",
            addresses,
        )


def _unread(table: Table) -> Iterator[Alarm]:
    for status in ("failed", "too large"):
        for reason, several in _by_reason(table, status):
            what = "could not be measured" if status == "failed" else "were too large to measure"
            yield Alarm(
                "wrong", f"Weights that {what}", _where(several, reason), _addresses(several)
            )


def _dead_units(table: Table) -> Iterator[Alarm]:
    if dead := sorted(_positive(table, "dead_units"), key=lambda one: -float(one)):
        yield Alarm(
            "look",
            "Dead units",
            f"{count(_sum(dead), 'output unit')} in {count(len(dead), 'weight')} without a weight "
            f"other than 0, so that no input reaches them: pruned, or never trained.",
            tuple(one.address for one in dead),
        )


def _collapsed(table: Table) -> Iterator[Alarm]:
    shares = ((_share_of_directions(row), address) for address, row in table.items())
    found = sorted((share, a) for share, a in shares if share is not None and share < _COLLAPSED)
    if found:
        yield Alarm(
            "look",
            "Rank collapse",
            f"{count(len(found), 'weight')} with an effective rank below {_COLLAPSED:.0%} of the "
            f"shorter side, down to {found[0][0]:.2%}: nearly all outputs are made of a few.",
            tuple(address for _, address in found),
        )


def _share_of_directions(row: dict[str, Reading]) -> float | None:
    rank = _number(row.get("effective_rank"))
    spectrum = row[SPECTRUM].value if SPECTRUM in row else None
    if rank is None or not isinstance(spectrum, tuple) or len(spectrum) < _FEWEST_DIRECTIONS:
        return None
    return rank / len(spectrum)


def _alphas(table: Table) -> Iterator[Alarm]:
    there = (row["alpha"] for row in table.values() if "alpha" in row)
    sure = sorted(
        (one for one in there if one.status == "ok" and _number(one) is not None), key=float
    )
    heavy = [one for one in sure if float(one) < _HEAVY]
    light = [one for one in reversed(sure) if float(one) > _LIGHT]
    yield from _outside(heavy, f"below {_HEAVY:g}", "a few directions outweigh all others")
    yield from _outside(light, f"above {_LIGHT:g}", "little structure, as before training")


def _outside(several: list[Reading], where: str, means: str) -> Iterator[Alarm]:
    if several:
        yield Alarm(
            "look",
            f"Tail exponent {where}",
            f"alpha is {where} in {count(len(several), 'weight')}, {float(several[0]):.3g} in the "
            f"first of them; from 2 to 6 is usual: {means}.",
            tuple(one.address for one in several),
        )


def _weak(table: Table) -> Iterator[Alarm]:
    for status, title in (("undefined", "No such number"), ("weak", "Numbers that say little")):
        for reason, several in _by_reason(table, status):
            yield Alarm("note", title, _where(several, reason, by_metric=True), _addresses(several))


def _by_reason(table: Table, status: str) -> Iterator[tuple[str, list[Reading]]]:
    """The readings of a status by their reason; reasons that differ in numbers alone are one."""
    groups: dict[str, list[Reading]] = {}
    for reading in (reading for row in table.values() for reading in row.values()):
        if reading.status == status:
            groups.setdefault(re.sub(r"\d[\d,.]*", "0", reading.reason), []).append(reading)
    for several in groups.values():
        yield several[0].reason or STATUSES[status], several


def _where(several: list[Reading], reason: str, by_metric: bool = False) -> str:
    metrics = ", ".join(dict.fromkeys(one.metric for one in several))
    whose = f"{metrics} of " if by_metric else ""
    such = "" if len({one.reason for one in several}) == 1 else ", or the like"
    return f"{whose}{count(len(_addresses(several)), 'weight')}: {reason}{such}."


def _addresses(several: list[Reading]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(one.address for one in several))


def _number(reading: Reading | None) -> float | None:
    """The value as a number; None where it is none, or NaN."""
    value = None if reading is None else reading.value
    return float(value) if isinstance(value, int | float) and value == value else None


def _has(row: dict[str, Reading], status: str) -> bool:
    return any(reading.status == status for reading in row.values())


def _positive(table: Table, metric: str) -> list[Reading]:
    there = (row[metric] for row in table.values() if metric in row)
    return [one for one in there if (_number(one) or 0) > 0]


def _sum(readings: Iterable[Reading]) -> int:
    return int(sum(map(float, readings)))


_CHECKS = (
    _Check("entries that are NaN or infinite", ("nan_count", "inf_count"), _not_finite),
    _Check("weights that could not be measured", (), _unread),
    _Check("dead units", ("dead_units",), _dead_units),
    _Check("rank collapse", ("effective_rank", SPECTRUM), _collapsed),
    _Check("tails outside of what is usual", ("alpha",), _alphas),
    _Check("numbers that say little", (), _weak),
)
