"""Memory: how much is allowed, and who waits until some is free."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from steelyard.errors import SteelyardError

_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_UNITS |= {"KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40}


def bytes_of(amount: int | float | str | None) -> float:
    """An amount of memory in bytes: a number, or text such as `"2 GB"` or `"512MiB"`.

    None is half of what the machine has free now.

    Raises:
        SteelyardError: It is no positive amount.
    """
    if amount is None:
        return _free() / 2
    if isinstance(amount, str):
        match = re.fullmatch(r"\s*([\d.]+)\s*([KMGT]?i?B?)\s*", amount, re.IGNORECASE)
        unit = match and _UNITS.get(match[2].upper())
        amount = float(match[1]) * unit if match and unit else -1
    if not amount > 0:
        raise SteelyardError(
            f"`max_memory` is a number of bytes or text such as '2 GB'. Received: {amount!r}"
        )
    return float(amount)


def _free() -> float:
    try:
        return float(os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (AttributeError, ValueError, OSError):
        return 4e9  # a system that does not say


class Budget:
    """Bytes that several threads share.

    Args:
        total: How many there are.
    """

    def __init__(self, total: float) -> None:
        self.total = total
        self._left = total
        self._change = threading.Condition()

    @contextmanager
    def of(self, amount: float) -> Iterator[float]:
        """Waits until so much is free, keeps it for the while, and gives it back.

        Who asks for more than there is gets all of it, and is alone then.
        """
        amount = min(amount, self.total)
        with self._change:
            self._change.wait_for(lambda: self._left >= amount)
            self._left -= amount
        try:
            yield amount
        finally:
            with self._change:
                self._left += amount
                self._change.notify_all()
