"""All that a page shows, as one JSON document: described first, drawn by the page itself."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from steelyard.readings import Readings
from steelyard.records import Finding, Metric
from steelyard.report._alarms import LEVELS, Audit, look_over
from steelyard.report._changes import changes_of
from steelyard.report._columns import columns_of
from steelyard.selection import Changes, count, plain

SCHEMA = 1
Json = dict[str, Any]


def document(
    readings: Readings,
    changes: Changes | None = None,
    names: Sequence[str] = ("the first", "the second"),
    catalog: Iterable[Metric] = (),
    findings: Iterable[Finding] = (),
) -> Json:
    """The document of a page; what is not known of is None in it."""
    weights = columns_of(tuple(readings), catalog)
    audit = look_over(readings, findings)
    told: Json = {
        "schema": SCHEMA,
        "title": title(readings),
        "facts": _facts(readings),
        "levels": LEVELS,
        "verdict": audit.verdict if len(readings) or audit.alarms else "Nothing was measured.",
        "alarms": _alarms(audit, weights["addresses"]),
        "unchecked": list(audit.unchecked),
        "weights": weights,
        "changes": None if changes is None else changes_of(changes, names),
    }
    return told


def title(readings: Readings) -> str:
    """`"Weights of model.keras"`: what the readings are of, as far as they say."""
    source = plain(str(readings.info.get("source") or ""))
    return f"Weights of {source.replace(chr(92), '/').rsplit('/', 1)[-1]}" if source else "Weights"


def _facts(readings: Readings) -> list[str]:
    """What is known of all of them, in short lines."""
    info = readings.info
    weights, metrics = len(readings.addresses), len(readings.metrics)
    lines = [f"{count(weights, 'weight')}, {count(metrics, 'metric')}"]
    lines += [
        f"{name}: {plain(str(value))}" for name, value in info.items() if value not in ("", None)
    ]
    return lines


def _alarms(audit: Audit, addresses: Sequence[str]) -> list[Json]:
    """Each with the rows of the weights that it is about; others by their names."""
    rows = {address: row for row, address in enumerate(addresses)}
    told = []
    for alarm in audit.alarms:
        places = [plain(address) for address in alarm.addresses]
        told.append(
            {
                "level": alarm.level,
                "title": plain(alarm.title),
                "sentence": plain(alarm.sentence),
                "rows": [rows[place] for place in places if place in rows],
                "elsewhere": [place for place in places if place not in rows],
            }
        )
    return told
