"""Which weight of the source goes to which weight of the target. Reads and changes no values."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from steelyard.address import Pattern
from steelyard.errors import AmbiguousAddressError
from steelyard.live import LiveSource, stored
from steelyard.records import Change
from steelyard.rewrite._fit import is_regrouped
from steelyard.selection import Rename, Weight, Weights, renamed
from steelyard.source import EditableSource

LEFT_OUT = "left out by `rename`"


class Offer(NamedTuple):
    """A weight of the source, at one of its addresses."""

    address: str
    weight: Weight


class Pair(NamedTuple):
    """A weight of the target with the one that it gets its value from."""

    target: Weight
    source: Weight
    address: str
    kind: str


@dataclass
class Plan:
    """What is to be copied, and what is to be said of the rest.

    Attributes:
        pairs: What is to be copied.
        others: What is not, by the address in the target.
        unused: The weights of the source that have no place, each with what is to be said of it.
        wholes: For each weight of the target that is a part of another one, that other one.
    """

    pairs: list[Pair] = field(default_factory=list)
    others: dict[str, Change] = field(default_factory=dict)
    unused: list[tuple[Weight, Change]] = field(default_factory=list)
    wholes: dict[str, str] = field(default_factory=dict)


class Supply:
    """The weights of a source, by the addresses that they have in the target.

    Args:
        weights: Those of the source.
        also: Those that it can give but does not store.
        rename: As `copy_weights` takes it.
    """

    def __init__(self, weights: Weights, also: Iterable[Weight], rename: Rename | None) -> None:
        self.weights = list(weights)
        offers = [Offer(a, w) for w in (*self.weights, *also) for a in addresses_of(w)]
        self.new = renamed([offer.address for offer in offers], rename)
        self.at: dict[str, list[Offer]] = {}
        for offer in offers:
            if (new := self.new[offer.address]) is not None:
                self.at.setdefault(new, []).append(offer)

    def for_target(self, target: Weight) -> list[Offer]:
        """The different weights that are offered for one of the target, at any address of it."""
        found: dict[str, Offer] = {}
        for address in addresses_of(target):
            for offer in self.at.get(address, ()):
                found.setdefault(offer.weight.address, offer)
        return list(found.values())


def addresses_of(weight: Weight) -> tuple[str, ...]:
    """All addresses of a weight, the one that it is listed at first."""
    return (weight.address, *weight.spec.aliases)


def match(
    supply: Supply, target: Weights, patterns: tuple[Pattern, ...] | None, reshape: bool
) -> Plan:
    """Pairs each weight of the target with the one of the source that has its address.

    Args:
        supply: The source.
        target: The weights that are to be filled.
        patterns: What the addresses in the target were chosen by; None for all.
        reshape: Whether a shape may be regrouped into another one.

    Raises:
        AmbiguousAddressError: If different values are offered for one weight.
    """
    plan = Plan(wholes=wholes(target))
    used: set[str] = set()
    for weight in target:
        offers = supply.for_target(weight)
        if not offers:
            plan.others[weight.address] = _missing(weight, supply)
            continue
        _check_same(weight, offers)
        used.update(offer.weight.address for offer in offers)
        pair = Pair(weight, offers[0].weight, offers[0].address, "copied")
        _place(plan, pair, reshape)
        plan.unused += [(offer.weight, _double(offer, offers[0])) for offer in offers[1:]]
    for weight in supply.weights:
        if weight.address not in used:
            plan.unused += [(weight, change) for change in _unused(weight, supply, patterns)]
    _say_what_is_worked_out(plan, target)
    _keep_parts_with_their_wholes(plan)
    return plan


def _place(plan: Plan, pair: Pair, reshape: bool) -> None:
    old, new = pair.source.shape, pair.target.shape
    if old == new and _is_one(pair):
        reason = "source and target are one and the same weight"
        plan.others[pair.target.address] = change(pair, "unchanged", reason)
    elif old == new:
        plan.pairs.append(pair)
    elif reshape and is_regrouped(old, new):
        plan.pairs.append(pair._replace(kind="reshaped"))
    else:
        hint = "; `reshape=True` would regroup it" if is_regrouped(old, new) else ""
        reason = f"shape {old} does not fit {new}{hint}"
        plan.others[pair.target.address] = change(pair, "skipped", reason)


def change(pair: Pair, kind: str, reason: str) -> Change:
    """What became of a pair."""
    target, source = pair.target, pair.source
    return Change(
        target.address,
        kind,
        pair.address,
        reason,
        target.shape,
        source.shape,
        target.dtype,
        source.dtype,
    )


def _is_one(pair: Pair) -> bool:
    source, target = pair.source, pair.target
    if not isinstance(source.source, EditableSource):
        return False
    return source.variable is target.variable


def _check_same(target: Weight, offers: list[Offer]) -> None:
    """Several weights for one are no question if they hold the same values."""
    if len(offers) == 1:
        return
    first, *others = [offer.weight for offer in offers]
    for other in others:
        if other.shape != first.shape or not np.array_equal(
            other.numpy(), first.numpy(), equal_nan=True
        ):
            both = " and ".join(repr(offer.address) for offer in offers)
            also = "".join(f" = {alias!r}" for alias in target.spec.aliases[:3])
            raise AmbiguousAddressError(
                f"{both} of the source would both go to {target.address!r}{also} of the target, "
                f"and hold different values. Leave one out: "
                f"rename={{{offers[-1].address!r}: None}}."
            )


def _missing(weight: Weight, supply: Supply) -> Change:
    left_out = [a for a in addresses_of(weight) if a in supply.new]
    reason = "the source has no weight for it"
    if left_out:
        new = supply.new[left_out[0]]
        became = "leaves it out" if new is None else f"makes it {new!r}"
        reason = f"the source has {left_out[0]!r}, but `rename` {became}"
    return Change(weight.address, "missing", reason=reason, shape=weight.shape, dtype=weight.dtype)


def _unused(
    weight: Weight, supply: Supply, patterns: tuple[Pattern, ...] | None
) -> Iterator[Change]:
    places = [new for a in addresses_of(weight) if (new := supply.new[a]) is not None]
    if not places:
        yield _nowhere(weight, weight.address, LEFT_OUT)
    elif patterns is None or any(p.matches(place) for p in patterns for place in places):
        yield _nowhere(weight, places[0], "the target has no such weight")


def _nowhere(weight: Weight, address: str, reason: str) -> Change:
    return Change(
        address,
        "unused",
        weight.address,
        reason,
        source_shape=weight.shape,
        source_dtype=weight.dtype,
    )


def _double(offer: Offer, first: Offer) -> Change:
    reason = f"holds the same values as {first.address!r}, from which they came"
    said = _nowhere(offer.weight, offer.address, reason)
    return Change(said.address, "merged", said.source, reason, source_shape=said.source_shape)


def wholes(weights: Iterable[Weight]) -> dict[str, str]:
    """For each weight of a live model that is a part of another one, the address of that one."""
    live = [weight for weight in weights if isinstance(weight.source, LiveSource)]
    address = {id(weight.variable): weight.address for weight in live}
    return {
        address[id(part)]: weight.address
        for weight in live
        for part in parts(weight).values()
        if address.get(id(part), weight.address) != weight.address
    }


def parts(weight: Weight) -> dict[str, Any]:
    """The variables that make up a weight of a live model, its own first; none of other sources."""
    if not isinstance(weight.source, LiveSource):
        return {}
    return stored(*weight.source.find(weight.address))


def _keep_parts_with_their_wholes(plan: Plan) -> None:
    """A part of a weight that keeps its value keeps its own: they make no sense apart."""
    for pair in list(plan.pairs):
        whole = plan.wholes.get(pair.target.address)
        if whole in plan.others and plan.others[whole].kind == "skipped":
            plan.pairs.remove(pair)
            said = change(pair, "skipped", f"a part of {whole!r}, which was skipped")
            plan.others[pair.target.address] = said


def _say_what_is_worked_out(plan: Plan, target: Weights) -> None:
    """A weight that is tied or parametrized has no store of its own to copy to."""
    live = next((weight.source for weight in target), None)
    worked_out = {spec.address for spec in live.also} if isinstance(live, LiveSource) else set()
    for index, (weight, said) in enumerate(plan.unused):
        if said.kind == "unused" and said.address in worked_out:
            reason = "the target works it out from other weights"
            plan.unused[index] = (weight, _nowhere(weight, said.address, reason))
