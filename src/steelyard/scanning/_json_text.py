"""JSON as text that may be hostile: parsed within bounds, with all that a key says, if twice."""

from __future__ import annotations

import json
import re
from typing import Any

from steelyard.errors import CheckpointError, LimitError

MOST_BYTES = 32 << 20
# Each comma, colon and bracket may become an object of some 60 bytes.
_MOST_PARTS = 3_000_000
_MOST_DEPTH = 200
_MOST_DIGITS = 40
_DEEPER_OR_BACK = re.compile(r'"(?:[^"\\]|\\.)*+"?|[\[{]|[\]}]', re.DOTALL)


class Object(dict[str, Any]):
    """An object of JSON.

    Attributes:
        shadowed: The keys and values that a later key of the same name hides.
    """

    shadowed: tuple[tuple[str, Any], ...] = ()


class Huge(int):
    """A whole number of too many digits, which nobody worked out."""


def parse(data: bytes) -> Any:
    """What a text of JSON says; objects are `Object`s.

    Reads as Python's own `json.loads` does, UTF-16 and NaN among it, since that is what loaders
    use.

    Raises:
        CheckpointError: It is no JSON.
        LimitError: It is too long, too deep, or has too many parts.
    """
    if len(data) > MOST_BYTES:
        raise LimitError(f"{len(data):,} bytes of JSON; at most {MOST_BYTES:,} are read")
    try:
        text = data.decode(json.detect_encoding(data))
        _check_limits(text)
        return json.loads(text, object_pairs_hook=_object, parse_int=_whole)
    except RecursionError:
        raise LimitError("the JSON is nested too deep") from None
    except LimitError:
        raise
    except ValueError as error:
        raise CheckpointError(f"no right JSON: {str(error)[:200]}") from None


def _check_limits(text: str) -> None:
    if sum(map(text.count, ",:[{")) > _MOST_PARTS:
        raise LimitError(f"the JSON has more than {_MOST_PARTS:,} parts")
    depth = 0
    for found in _DEEPER_OR_BACK.finditer(text):
        first = text[found.start()]
        depth += (first in "[{") - (first in "]}")
        if depth > _MOST_DEPTH:
            raise LimitError(f"the JSON is more than {_MOST_DEPTH} levels deep")


def _object(pairs: list[tuple[str, Any]]) -> Object:
    found = Object(pairs)
    if len(found) < len(pairs):
        last = {key: index for index, (key, _) in enumerate(pairs)}
        found.shadowed = tuple(pair for i, pair in enumerate(pairs) if last[pair[0]] != i)
    return found


def _whole(text: str) -> int:
    return int(text) if len(text) <= _MOST_DIGITS else Huge(0)
