"""How far weights go from one reading to the next, and their norms: one pass over each."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from steelyard import metrics
from steelyard.live import LiveSource
from steelyard.plan import cores
from steelyard.records import WeightSpec

# Below so many entries, threads cost more than they bring.
_WORTHWHILE = 1 << 21


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
        self._entries = sum(copy.size for copy in self._copies.values())
        self._reading = threading.Lock()  # no backend promises more than one reader at a time

    def with_norms(self) -> set[str]:
        """The weights whose norm comes out of the same pass."""
        return {at for at, copy in self._copies.items() if copy.size and copy.dtype == np.float32}

    def value(self, address: str) -> np.ndarray:
        """A weight as it was when `take` was called last."""
        return self._copies[address]

    def take(self) -> dict[str, Move | Exception]:
        """How far each went since this was asked last, or what is wrong with one."""
        # The largest first, as the work ends with the last of them.
        addresses = sorted(self._copies, key=lambda address: -self._copies[address].size)
        count = min(cores(), len(addresses)) if self._entries >= _WORTHWHILE else 1
        if count < 2:
            return {address: self._moved(address) for address in addresses}
        with ThreadPoolExecutor(count, thread_name_prefix="steelyard") as pool:
            return dict(zip(addresses, pool.map(self._moved, addresses), strict=True))

    def _moved(self, address: str) -> Move | Exception:
        try:
            with self._reading:
                value = self._source.view(address)
            with np.errstate(all="ignore"):  # of this thread
                distance, norm = metrics.moved_on(self._copies[address], value)
        except Exception as error:  # one weight must not end the others, nor the training
            return error
        before, self._norms[address] = self._norms[address], norm
        return Move(before, distance, norm)
