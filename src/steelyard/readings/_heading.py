"""What a file of readings says of itself: the same few words in every format."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from steelyard.errors import SteelyardError

SCHEMA = 1
READINGS, RUN = "readings", "run"


def heading(info: Mapping[str, Any], count: int | None, kind: str = READINGS) -> str:
    """One line of strict JSON, in ASCII: what this is, by which schema, how many, and `info`.

    Args:
        info: What is known of them all.
        count: How many are to follow; None where that is not known yet.
        kind: `READINGS`, or `RUN` for those of many steps.

    Raises:
        SteelyardError: If JSON cannot hold what `info` says.
    """
    names = [name for name in info if not isinstance(name, str)]
    if names:
        raise SteelyardError(f"The names in `info` are strings. Received: {names[0]!r}")
    told = {"steelyard": kind, "schema": SCHEMA, "count": count, "info": dict(info)}
    try:
        return json.dumps(told, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise SteelyardError(
            f"`info` goes into the file as JSON, which cannot hold it: {error}. Received: {info!r}"
        ) from error


def is_run(line: str | bytes) -> bool:
    """Whether a heading is that of a run."""
    try:
        told = json.loads(line)
    except (ValueError, RecursionError):
        return False
    return isinstance(told, dict) and told.get("steelyard") == RUN


def understand(line: str | bytes, kind: str = READINGS) -> tuple[dict[str, Any], int | None]:
    """The `info` of a heading, and how many readings are to follow.

    Raises:
        SteelyardError: If it is no heading, or one of a newer schema.
    """
    try:
        told = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise foreign() from error
    if not isinstance(told, dict) or told.get("steelyard") != kind:
        raise foreign()
    match told:
        case {"schema": int(schema)} if schema > SCHEMA:
            raise SteelyardError(
                f"a newer Steelyard wrote it, by schema {schema}; this one reads up to {SCHEMA}. "
                f"Upgrade: pip install --upgrade steelyard"
            )
        case {"schema": int(schema), "info": dict(info)} if schema > 0:
            count = told.get("count")
            return info, count if isinstance(count, int) else None
    raise foreign()


def foreign() -> SteelyardError:
    """The error for a file without a heading."""
    return SteelyardError("it does not begin as a file that Readings.save wrote")
