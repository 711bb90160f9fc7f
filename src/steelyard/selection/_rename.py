"""From the address of a weight in the source to its address in the target."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from steelyard.address import Address, Pattern, nearest
from steelyard.errors import AddressError, PatternError, UnknownAddressError

Rename = (
    Mapping[str, str | None]
    | Iterable[tuple[str | Pattern, str | None]]
    | Callable[[str], str | None]
)


@dataclass(frozen=True)
class _Rule:
    """What takes the place of some addresses, or of their heads."""

    old: str
    new: str | None
    fits: Callable[[str], bool]
    apply: Callable[[str], str]


def renamed(addresses: Iterable[str], rename: Rename | None) -> dict[str, str | None]:
    """What each address becomes; None for one that is left out.

    Args:
        addresses: Those of the source.
        rename: As `copy_weights` takes it.

    Raises:
        PatternError: If `rename` cannot be read.
        UnknownAddressError: If a rule fits no address; names the nearest.
        AddressError: If what an address becomes is no address.
    """
    known = list(addresses)
    if rename is None:
        return {address: address for address in known}
    if callable(rename):
        return {address: _checked(rename(address), address) for address in known}
    rules = _rules(rename)
    for rule in rules:
        if not any(map(rule.fits, known)):
            raise UnknownAddressError(_fits_nothing(rule, known))
    return {address: _by_rules(address, rules) for address in known}


def _by_rules(address: str, rules: list[_Rule]) -> str | None:
    for rule in rules:
        if rule.fits(address):
            return None if rule.new is None else _checked(rule.apply(address), address)
    return address


def _checked(new: Any, address: str) -> str | None:
    if new is None:
        return None
    try:
        return str(Address(new))
    except AddressError as error:
        raise AddressError(
            f"`rename` makes {new!r} of {address!r}. An address is segments joined by single "
            f"slashes; None leaves the weight out."
        ) from error


def _rules(rename: Any) -> list[_Rule]:
    """The rules, in the order in which they are asked."""
    if isinstance(rename, str) or not isinstance(rename, Iterable):
        raise PatternError(_cannot_read(rename))
    if isinstance(rename, Mapping):
        rules = [_rule(old, new) for old, new in rename.items()]
        # A dictionary says nothing of an order: the longest head fits best.
        return sorted(rules, key=lambda rule: -_length(rule.old))
    pairs = list(rename)
    if not all(isinstance(pair, tuple | list) and len(pair) == 2 for pair in pairs):
        raise PatternError(_cannot_read(rename))
    return [_rule(old, new) for old, new in pairs]


def _length(old: str) -> float:
    if _is_pattern(old):
        return float("inf")
    return len(old.split("/")) if old else 0


def _is_pattern(old: str) -> bool:
    return old.startswith("re:") or any(char in old for char in "*?{")


def _rule(old: Any, new: Any) -> _Rule:
    old = old.text if isinstance(old, Pattern) else old
    if not isinstance(old, str) or not (new is None or isinstance(new, str)):
        raise PatternError(_cannot_read({old: new}))
    if not _is_pattern(old):
        return _head_rule(old.rstrip("/"), new if new is None else new.strip("/"))
    pattern = Pattern(old)
    if old.startswith("re:"):
        return _Rule(old, new, pattern.matches, lambda address: _expanded(old, new or "", address))
    if new is not None:
        raise PatternError(
            f"`rename` has {old!r}: {new!r}. What a wildcard stands for has no place in the new "
            f"address; write a regular expression, as in "
            r"{'re:blocks/(\d+)/(.*)': r'layers/\1/\2'}, or a function. With None, a pattern "
            "leaves weights out."
        )
    return _Rule(old, None, pattern.matches, str)


def _head_rule(old: str, new: str | None) -> _Rule:
    def fits(address: str) -> bool:
        return not old or address == old or address.startswith(f"{old}/")

    def apply(address: str) -> str:
        rest = address[len(old) :].lstrip("/")
        return "/".join(part for part in (new, rest) if part)

    return _Rule(old, new, fits, apply)


def _expanded(old: str, new: str, address: str) -> str:
    found = re.fullmatch(old[3:], address)
    assert found is not None
    try:
        return found.expand(new)
    except (re.error, IndexError) as error:
        raise PatternError(
            f"`rename` has {old!r}: {new!r}, whose second part cannot be read: {error}. "
            r"Groups of the first part are written \1, \2 or \g<name>."
        ) from error


def _fits_nothing(rule: _Rule, known: list[str]) -> str:
    near = nearest(rule.old, known) if not _is_pattern(rule.old) else []
    hint = f"Did you mean the head of {' or '.join(map(repr, near))}?" if near else ""
    there = f"There are, for example, {', '.join(map(repr, known[:3]))}."
    return f"`rename` has {rule.old!r}, which fits no weight of the source. {hint or there}"


def _cannot_read(rename: Any) -> str:
    return (
        f"`rename` is a dictionary of heads of addresses, such as {{'encoder': 'backbone'}}, a "
        f"list of such pairs, or a function of an address. Received: {rename!r}"
    )
