"""What a metric gives when a plain number does not say enough."""

from __future__ import annotations

from typing import Any, NamedTuple


class Answer(NamedTuple):
    """A value with what must be known beside it.

    Args:
        value: The number, several, or the name of a choice; None where there is none.
        status: One of `steelyard.records.STATUSES`.
        reason: Why the status is not `"ok"`.
        bound: A certified bound of the value's error; None where it is exact to rounding.
    """

    value: Any
    status: str = "ok"
    reason: str = ""
    bound: float | None = None


def undefined(reason: str) -> Answer:
    """No value, because the definition has none here."""
    return Answer(None, "undefined", reason)


def weak(value: Any, reason: str) -> Answer:
    """A value that by itself says little."""
    return Answer(value, "weak", reason)


class TooLarge(MemoryError):
    """It would take more memory than is allowed; the message says what for."""
