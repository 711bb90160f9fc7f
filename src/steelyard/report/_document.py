"""All that a page shows, as one JSON document: described first, drawn by the page itself."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from steelyard.readings import Readings, Run
from steelyard.records import Metric
from steelyard.report._alarms import LEVELS, Audit, look_over, look_over_run
from steelyard.report._changes import changes_of
from steelyard.report._columns import columns_of
from steelyard.report._curves import curves_of, facts
from steelyard.selection import Changes, count, plain

SCHEMA = 1
Json = dict[str, Any]


def document(
    readings: Readings,
    changes: Changes | None = None,
    names: Sequence[str] = ("the first", "the second"),
    catalog: Iterable[Metric] = (),
    run: Run | None = None,
) -> Json:
    """The document of a page; what is not known of is None in it."""
    weights = columns_of(tuple(readings), catalog)
    audit = look_over(readings) if run is None else look_over_run(readings, run)
    told: Json = {
        "schema": SCHEMA,
        "title": title(readings),
        "facts": [*_facts(readings, run), *(() if run is None else facts(run))],
        "levels": LEVELS,
        "verdict": audit.verdict if len(readings) or audit.alarms else "Nothing was measured.",
        "alarms": _alarms(audit, weights["addresses"]),
        "unchecked": list(audit.unchecked),
        "weights": weights,
        "changes": None if changes is None else changes_of(changes, names),
        "run": None if run is None else curves_of(run),
    }
    return told


def title(readings: Readings) -> str:
    """`"Weights of model.keras"`: what the readings are of, as far as they say."""
    source = plain(str(readings.info.get("source") or ""))
    return f"Weights of {source.replace(chr(92), '/').rsplit('/', 1)[-1]}" if source else "Weights"


def _facts(readings: Readings, run: Run | None) -> list[str]:
    """What is known of all of them, in short lines."""
    info = readings.info
    weights, metrics = len(readings.addresses), len(readings.metrics)
    # The columns say which metrics, and a run says itself where it is.
    told = {"metrics", *(() if run is None else ("step", "epoch"))}
    lines = [f"{count(weights, 'weight')}, {count(metrics, 'metric')}"]
    known = {k: v for k, v in info.items() if k not in told and v not in ("", None)}
    return [*lines, *(plain(f"{name}: {value}") for name, value in known.items())]


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
