"""The sign of each status, and the notes below a table that say what is the matter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from steelyard.records import STATUSES, Reading
from steelyard.selection import count, plain

# In the order of the notes: what went wrong comes before what could not be otherwise.
SIGNS = {
    "failed": "×",
    "not finite": "!",
    "too large": "^",
    "undefined": "?",
    "weak": "~",
    "not applicable": "–",
    "ok": "",
}
_MOST_NOTES = 8
_MOST_PLACES = 3
_LONGEST = 160


def notes(readings: Sequence[Reading]) -> list[str]:
    """A line for each reason that is given, with where; the worst first, the end of many is cut."""
    groups: dict[tuple[str, str], list[Reading]] = {}
    for reading in readings:
        if SIGNS[reading.status] or reading.reason:
            groups.setdefault((reading.status, reading.reason), []).append(reading)
    order = list(SIGNS)
    ranked = sorted(groups, key=lambda group: order.index(group[0]))
    lines = [_note(*group, groups[group]) for group in ranked[:_MOST_NOTES]]
    left = [one for group in ranked[_MOST_NOTES:] for one in groups[group]]
    if left:
        more = count(len(ranked) - _MOST_NOTES, "more reason")
        lines.append(f"… {more} at {count(len(left), 'reading')}; .filter(status=…) gives them")
    return lines


def total(readings: Sequence[Reading], info: Mapping[str, Any]) -> str:
    """`"12 readings: 4 addresses, 3 metrics; 2 weak"`, and of which source, if that is known."""
    if not readings:
        return "no readings"
    addresses = len({reading.address for reading in readings})
    metrics = len({reading.metric for reading in readings})
    at = "1 address" if addresses == 1 else f"{addresses:,} addresses"
    parts = [f"{count(len(readings), 'reading')}: {at}, {count(metrics, 'metric')}"]
    statuses = [reading.status for reading in readings]
    parts += [f"{statuses.count(s):,} {s}" for s, sign in SIGNS.items() if sign and s in statuses]
    if info.get("source"):
        parts.append(f"source: {short(plain(str(info['source'])), _LONGEST)}")
    return "; ".join(parts)


def short(text: str, longest: int) -> str:
    """The text, with its end cut off if it is longer."""
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def _note(status: str, reason: str, readings: Sequence[Reading]) -> str:
    why = short(plain(reason or STATUSES[status]), _LONGEST)
    shown = (f"{plain(one.address)} {plain(one.metric)}" for one in readings[:_MOST_PLACES])
    more = len(readings) - _MOST_PLACES
    places = ", ".join(shown) + (f" and {more:,} more" if more > 0 else "")
    return f"{SIGNS[status]} {status}: {why} ({places})".lstrip()
