"""How far weights go from one reading to the next, and their norms: one pass over each.

In one thread: two take twice the processor and half as long again, since each piece is done before
the interpreter has been handed over.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from steelyard import metrics
from steelyard.live import LiveSource
from steelyard.records import WeightSpec


class Move(NamedTuple):
    """What became of a weight since the reading before.

    Attributes:
        before: Its norm then.
        distance: How far it went.
        norm: Its norm now.
    """

    before: float
    distance: float
    norm: float


class Moves:
    """Keeps a copy of each weight, and compares it with the weight of now, which it then is.

    Args:
        source: Of the weights.
        specs: Which.
    """

    def __init__(self, source: LiveSource, specs: Iterable[WeightSpec]) -> None:
        self._source = source
        self._copies = {spec.address: source.read(spec.address) for spec in specs}
        self._norms = {at: float(metrics.l2_norm(copy)) for at, copy in self._copies.items()}

    def with_norms(self) -> set[str]:
        """The weights whose norm comes out of the same pass."""
        return {at for at, copy in self._copies.items() if copy.size and copy.dtype == np.float32}

    def value(self, address: str) -> np.ndarray:
        """A weight as it was when `take` was called last."""
        return self._copies[address]

    def take(self) -> dict[str, Move | Exception]:
        """How far each went since this was asked last, or what is wrong with one."""
        return {address: self._moved(address) for address in self._copies}

    def _moved(self, address: str) -> Move | Exception:
        try:
            distance, norm = metrics.moved_on(self._copies[address], self._source.view(address))
        except Exception as error:  # one weight must not end the others, nor the training
            return error
        before, self._norms[address] = self._norms[address], norm
        return Move(before, distance, norm)
