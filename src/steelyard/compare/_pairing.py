"""Which weight of one source is which of the other, by address. Reads no values."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from steelyard.address import Pattern
from steelyard.selection import Weight, Weights


class Couple(NamedTuple):
    """A weight of the first source and one of the second, at least one of the two.

    Args:
        address: Where it is in the second source; where it would be, if it is not there.
        source: Where it is in the first source; None if it is not there.
        first: The weight of the first source, if there is one.
        second: That of the second source, if there is one.
    """

    address: str
    source: str | None
    first: Weight | None
    second: Weight | None

    @property
    def weights(self) -> tuple[Weight, ...]:
        """Those that are there."""
        return tuple(weight for weight in (self.first, self.second) if weight is not None)


def couples(first: Weights, second: Weights) -> Iterator[Couple]:
    """Each weight of both, once; in the order of the second, then what only the first has.

    A shared weight is found at each of its addresses: if it is shared in one source and not in the
    other, it is in several couples, each at an address of its own.
    """
    used: set[str] = set()
    for weight in second:
        found = _at(weight, first)
        used.update(other.address for other in found.values())
        for number, (address, other) in enumerate(found.items()):
            yield Couple(address if number else weight.address, address, other, weight)
        if not found:
            yield Couple(weight.address, None, None, weight)
    for weight in first:
        if weight.address not in used:
            # It is not listed in the second, and may be worked out there from others.
            found = _at(weight, second)
            address = next(iter(found), weight.address)
            yield Couple(address, weight.address, weight, found.get(address))


def _at(weight: Weight, other: Weights) -> dict[str, Weight]:
    """The different weights that another source has at the addresses of this one."""
    found: dict[str, Weight] = {}
    for address in (weight.address, *weight.spec.aliases):
        if address in other:
            there = other[address]
            if there.address not in {one.address for one in found.values()}:
                found[address] = there
    return found


def chosen(first: Weights, second: Weights, select: object) -> tuple[set[str], set[str]]:
    """The addresses of each source that patterns select; each must match something in one.

    Raises:
        UnknownAddressError: If a pattern matches nothing in either; says what came nearest.
        PatternError: If one cannot be read.
    """
    several = select if _are_several(select) else (select,)
    hits: tuple[set[str], set[str]] = (set(), set())
    for pattern in several:  # type: ignore[attr-defined]
        both = [one.select(pattern, missing_ok=True) for one in (first, second)]
        if not any(map(len, both)) and (len(first) or len(second)):
            (first if len(first) else second).select(pattern)
        for hit, selected in zip(hits, both, strict=True):
            hit.update(selected.addresses)
    return hits


def _are_several(select: object) -> bool:
    return isinstance(select, Iterable) and not isinstance(select, str | Pattern)
