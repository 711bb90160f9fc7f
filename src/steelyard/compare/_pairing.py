"""Which weight of one source is which of the other, by address. Reads no values."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from steelyard.address import Pattern
from steelyard.selection import Weight, Weights

# The addresses of a source that patterns select, in order.
Hits = dict[str, None]


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


def couples(first: Weights, second: Weights, hits: tuple[Hits, Hits]) -> Iterator[Couple]:
    """Each weight of both, once; in the order of the second, then what only the first has.

    A shared weight is found at each of its addresses: if it is shared in one source and not in the
    other, it is in several couples, each at an address of its own. What is worked out from other
    weights, and so not listed, is there if the other source lists it, or if it was hit.
    """
    used: set[str] = set()
    for weight in _all(second, hits[1]):
        found = _at(weight, first)
        used.update(other.address for other in found.values())
        for number, (address, other) in enumerate(found.items()):
            yield Couple(address if number else weight.address, address, other, weight)
        if not found:
            yield Couple(weight.address, None, None, weight)
    for weight in _all(first, hits[0]):
        if weight.address not in used:
            found = _at(weight, second)
            address = next(iter(found), weight.address)
            yield Couple(address, weight.address, weight, found.get(address))


def _all(weights: Weights, hits: Hits) -> Iterator[Weight]:
    """Those that are listed, then those that are not and were hit all the same."""
    yield from weights
    listed = set(weights.addresses)
    yield from (weights[address] for address in hits if address not in listed)


def _at(weight: Weight, other: Weights) -> dict[str, Weight]:
    """The different weights that another source has at the addresses of this one."""
    found: dict[str, Weight] = {}
    for address in (weight.address, *weight.spec.aliases):
        if address in other:
            there = other[address]
            if there.address not in {one.address for one in found.values()}:
                found[address] = there
    return found


def chosen(first: Weights, second: Weights, select: object) -> tuple[Hits, Hits]:
    """The addresses of each source that patterns select; each must match something in one.

    Raises:
        UnknownAddressError: If a pattern matches nothing in either; says what came nearest.
        PatternError: If one cannot be read.
    """
    several = select if _are_several(select) else (select,)
    hits: tuple[Hits, Hits] = ({}, {})
    for pattern in several:  # type: ignore[attr-defined]
        both = [one.select(pattern, missing_ok=True) for one in (first, second)]
        if not any(map(len, both)) and (len(first) or len(second)):
            (first if len(first) else second).select(pattern)
        for hit, selected in zip(hits, both, strict=True):
            hit.update(dict.fromkeys(selected.addresses))
    return hits


def _are_several(select: object) -> bool:
    return isinstance(select, Iterable) and not isinstance(select, str | Pattern)
