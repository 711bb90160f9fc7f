"""What was found so far, and how much time is left."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import replace

from steelyard.errors import LimitError
from steelyard.records import Risk
from steelyard.scanning._piece import Piece
from steelyard.scanning._rules import RULES
from steelyard.scanning._strings import plain_line

# Of one code; what comes after is counted. No flood of one code can hide another.
_MOST_OF_A_CODE = 100
_MOST_PLACE = 300


class Report:
    """Gathers what is found, each thing of a file once, with the number of its places.

    Args:
        seconds: How long one file may take.
        most_seconds: How long all of them may take.
    """

    def __init__(self, seconds: float, most_seconds: float) -> None:
        self.seconds = seconds
        self._last = time.monotonic() + most_seconds
        self._due = self._last
        self._found: dict[tuple[str, str, str], Risk] = {}
        self._of_code: Counter[str] = Counter()
        self.files: dict[str, str] = {}

    @property
    def risks(self) -> tuple[Risk, ...]:
        """All that was found, in the order of the files."""
        return tuple(self._found.values())

    def begin(self) -> None:
        """A file begins, and its time with it."""
        self._due = min(self._last, time.monotonic() + self.seconds)

    @property
    def left(self) -> float:
        """How many seconds are left for this file."""
        return self._due - time.monotonic()

    def check(self) -> None:
        """Ends what takes too long.

        Raises:
            LimitError: The time is over.
        """
        if self.left <= 0:
            raise LimitError("it takes longer than is allowed")

    def add(self, code: str, piece: Piece, place: str, message: str) -> None:
        """Notes what was found, in a place of a piece."""
        where = ": ".join(filter(None, (piece.member, place)))
        self.add_at(code, piece.file, where, message)

    def add_at(self, code: str, file: str, place: str, message: str) -> None:
        """Notes what was found, in a place of a file."""
        if self._of_code[code] >= _MOST_OF_A_CODE and (code, file, message) not in self._found:
            file, place, message = "…", "", f"More of these: {RULES[code].what}"
        key = (code, file, message)
        if (known := self._found.get(key)) is not None:
            self._found[key] = replace(known, count=known.count + 1)
            return
        rule = RULES[code]
        place = place if len(place) <= _MOST_PLACE else f"{place[:_MOST_PLACE]}…"
        self._of_code[code] += 1
        self._found[key] = Risk(
            code, rule.severity, file, place, message, rule.fix, rule.references
        )

    def add_error(self, error: Exception, piece: Piece, place: str = "") -> None:
        """Notes that a part could not be read, or not to its end."""
        limit = isinstance(error, LimitError | MemoryError)
        self.add("limit" if limit else "unreadable", piece, place, sentence(error))


def sentence(error: Exception) -> str:
    """What an error says, as a sentence of one line that no terminal obeys."""
    text = plain_line(str(error) or type(error).__name__)[:300]
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."
