"""What of the readings was asked for, and what to say where there is none of it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from steelyard.address import Pattern, nearest
from steelyard.errors import (
    AddressError,
    PatternError,
    SteelyardError,
    UnknownAddressError,
    UnknownMetricError,
)
from steelyard.records import STATUSES

_SHOWN = 3


def matching(
    given: str | Pattern | Iterable[str | Pattern], addresses: Sequence[str], missing_ok: bool
) -> set[str]:
    """The addresses that fit one of the patterns, of which each must fit something."""
    several = (given,) if isinstance(given, str | Pattern) else tuple(given)
    if not several:
        raise PatternError("There is no pattern to match. Write '**' for all addresses.")
    found: set[str] = set()
    for one in several:
        pattern = one if isinstance(one, Pattern) else Pattern(one)
        fits = set(filter(pattern.matches, addresses))
        if not fits and not missing_ok:
            hint = _hint(pattern.without_wildcards(), addresses)
            raise UnknownAddressError(
                f"There is no reading whose address matches {pattern.text!r}. {hint}"
            )
        found |= fits
    return found


def named(given: str | Iterable[str], metrics: Sequence[str], missing_ok: bool) -> set[str]:
    """The names of metrics, of which each must be there."""
    names = {given} if isinstance(given, str) else set(given)
    for name in names if not missing_ok else ():
        if name not in metrics:
            raise UnknownMetricError(
                f"There is no reading of the metric {name!r}. {_hint(str(name), metrics)}"
            )
    return names


def check_statuses(given: str | Iterable[str]) -> set[str]:
    """The statuses, of which each must be one of `STATUSES`."""
    statuses = {given} if isinstance(given, str) else set(given)
    for status in statuses:
        if status not in STATUSES:
            known = ", ".join(map(repr, STATUSES))
            raise SteelyardError(f"There is no status {status!r}. There are: {known}.")
    return statuses


def unknown_address(address: str, addresses: Sequence[str]) -> UnknownAddressError:
    """The error for an address of which nothing was measured."""
    return UnknownAddressError(f"There is no reading of {address!r}. {_hint(address, addresses)}")


def unknown_pair(address: str, metric: str, pairs: Collection[tuple[str, str]]) -> SteelyardError:
    """The error for an address and a metric; names what comes near to that which is not there."""
    there = [known for at, known in pairs if at == address]
    if not there:
        return unknown_address(address, tuple(dict.fromkeys(at for at, _ in pairs)))
    return UnknownMetricError(
        f"There is no reading of {address!r} by the metric {metric!r}. {_hint(metric, there)}"
    )


def not_a_key(key: object) -> AddressError:
    """The error for what is neither an address nor an address and a metric."""
    return AddressError(
        f"Readings are asked for as readings[address, metric] or readings[address], both strings. "
        f"Received: {key!r} (of type {type(key).__name__})"
    )


def _hint(name: str, there: Sequence[str]) -> str:
    if not there:
        return "There are no readings at all."
    near = nearest(name, there)
    if near:
        return f"Did you mean {' or '.join(map(repr, near))}?"
    more = len(there) - _SHOWN
    shown = ", ".join(map(repr, there[:_SHOWN])) + (f" and {more:,} more" if more > 0 else "")
    return f"There {'is' if len(there) == 1 else 'are'} {shown}."
