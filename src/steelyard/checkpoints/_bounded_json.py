"""JSON of somebody else's: parsed with bounds on its size, its depth and its number of values."""

from __future__ import annotations

import json
from typing import Any

from steelyard.errors import CheckpointError, LimitError

LONGEST = 64 << 20  # bytes of a config
_MOST_VALUES = 4_000_000
_DEEPEST = 200


def parse(text: bytes | str, where: str) -> Any:
    """The value of a JSON text.

    Args:
        text: The text; bytes are UTF-8.
        where: What to call it in an error.

    Raises:
        CheckpointError: It is no JSON.
        LimitError: It is too long, too deep, or has too many values.
    """
    if len(text) > LONGEST:
        raise LimitError(f"{where}: {len(text):,} bytes of JSON; {LONGEST:,} are allowed")
    raw = text.encode("utf-8", "replace") if isinstance(text, str) else text
    if raw.count(b",") + raw.count(b"[") + raw.count(b"{") > _MOST_VALUES:
        raise LimitError(f"{where}: more than {_MOST_VALUES:,} values of JSON")
    try:
        value = json.loads(raw)
    except RecursionError:
        raise LimitError(f"{where}: JSON that is nested too deep") from None
    except ValueError as error:  # bad UTF-8 and integers of thousands of digits among them
        raise CheckpointError(f"{where}: no JSON: {str(error)[:200]}") from None
    if _is_deep(value):
        raise LimitError(f"{where}: JSON that is nested more than {_DEEPEST} deep")
    return value


def _is_deep(value: Any) -> bool:
    level = [value]
    for _ in range(_DEEPEST):
        level = [part for held in level for part in _parts(held)]
        if not level:
            return False
    return True


def _parts(value: Any) -> list[Any]:
    held = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [part for part in held if isinstance(part, dict | list)]
