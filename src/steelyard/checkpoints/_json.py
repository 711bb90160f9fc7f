"""JSON that somebody else wrote: what is no JSON, or more than anyone needs, is refused."""

from __future__ import annotations

import json
import math
import re
from typing import Any, NoReturn

from steelyard.errors import CheckpointError, LimitError

LONGEST = 32 << 20
# Each comma, colon and bracket may become an object of some 60 bytes.
_MOST_PARTS = 3_000_000
_MOST_DEPTH = 64
_MOST_DIGITS = 25

# A string as a whole, so that a bracket inside of it does not count; it may lack its end.
_DEEPER_OR_BACK = re.compile(rb'"(?:[^"\\]|\\.)*+"?|[\[{]|[\]}]', re.DOTALL)


def parse_json(
    data: bytes | str, where: str, *, most_depth: int = _MOST_DEPTH, pythons: bool = False
) -> Any:
    """What a JSON text says.

    Args:
        data: The text; bytes are UTF-8.
        where: What it is of, for the errors.
        most_depth: How deep lists and objects may lie in each other.
        pythons: Whether NaN and infinite numbers are read, as Python's `json` writes them.

    Raises:
        CheckpointError: It is no JSON, has a key twice, NaN, an infinite number, or no UTF-8.
        LimitError: It is too long, too deep, or has too many parts or digits.
    """
    raw = data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data
    _check_limits(raw, where, most_depth)
    try:
        return json.loads(
            raw.decode("utf-8"),
            object_pairs_hook=_without_doubles,
            parse_int=_whole,
            parse_float=float if pythons else _finite,
            parse_constant=float if pythons else _no_number,
        )
    except LimitError as error:
        raise LimitError(f"{where}: {error}") from error
    except RecursionError as error:
        raise LimitError(f"{where}: the JSON is too deep") from error
    except ValueError as error:
        raise CheckpointError(f"{where}: no right JSON: {str(error)[:200]}") from error


def _check_limits(data: bytes, where: str, most_depth: int) -> None:
    if len(data) > LONGEST:
        raise LimitError(f"{where}: {len(data):,} bytes of JSON; at most {LONGEST:,} are read")
    if sum(map(data.count, (b",", b":", b"[", b"{"))) > _MOST_PARTS:
        raise LimitError(f"{where}: the JSON has more than {_MOST_PARTS:,} parts")
    depth = 0
    for found in _DEEPER_OR_BACK.finditer(data):
        first = data[found.start()]
        depth += first in b"[{"
        depth -= first in b"]}"
        if depth > most_depth:
            raise LimitError(f"{where}: the JSON is more than {most_depth} levels deep")


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise CheckpointError(f"the key {twice!r:.100} is there twice")
    return found


def _whole(text: str) -> int:
    if len(text) > _MOST_DIGITS:
        raise LimitError(f"a number of {len(text):,} digits")
    return int(text)


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise CheckpointError(f"the number {text:.30} is too large")
    return number


def _no_number(text: str) -> NoReturn:
    raise CheckpointError(f"{text} is no number of JSON")
