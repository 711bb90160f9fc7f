"""What a copy says of each weight, and when that is an error."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sized
from dataclasses import replace
from types import MappingProxyType

from steelyard.address import nearest
from steelyard.errors import CopyError
from steelyard.live import LiveSource
from steelyard.records import Change
from steelyard.rewrite._match import LEFT_OUT, Plan, Supply, change
from steelyard.selection import Changes, Weight, Weights

_SHOWN = 10
_ARRIVED = ("copied", "reshaped")


class Report:
    """Puts together what is said of each weight.

    Args:
        plan: What was to be copied.
        filled: The weights of the target.
        supply: Those of the source.
    """

    def __init__(self, plan: Plan, filled: Weights, supply: Supply) -> None:
        self._plan = plan
        self._filled = filled
        self._supply = supply
        self._sources = _source_wholes(plan)
        self._note = _note(filled, "target") or _note(supply.weights, "source")

    def expected(self) -> Changes:
        """What is said if each weight takes its value."""
        pairs = self._plan.pairs
        return self.changes({pair.target.address: change(pair, pair.kind, "") for pair in pairs})

    def changes(self, said: Mapping[str, Change]) -> Changes:
        """One entry for each weight of the target, then one for each of the source without place.

        Args:
            said: What became of each pair, by its address in the target.
        """
        arrived = {address for address, one in said.items() if one.kind in _ARRIVED}
        entries = []
        for address in self._filled.addresses:
            one = said.get(address) or self._plan.others[address]
            whole = self._plan.wholes.get(address)
            if whole in arrived and one.kind in ("missing", "skipped"):
                one = replace(one, kind="merged", reason=f"kept; {whole!r} was set to go with it")
            entries.append(one)
        for weight, one in self._plan.unused:
            places = [self._sources.get(weight.address)]
            if one.kind == "unused" and (whole := next(filter(arrived.__contains__, places), None)):
                one = replace(one, kind="merged", reason=f"a part of the value of {whole!r}")
            entries.append(one)
        return Changes(entries, self._note)

    def check(
        self, changes: Changes, strict: bool, said: Mapping[str, Change] = MappingProxyType({})
    ) -> None:
        """Raises where a copy is not what was asked for.

        Args:
            changes: What it says.
            strict: Whether everything must arrive.
            said: What became of each pair, once that is known.

        Raises:
            CopyError: If nothing arrives, or not everything under `strict`, or not what fits.
        """
        if refused := [one for one in said.values() if one.kind == "skipped"]:
            raise CopyError(
                f"{_count(refused)} of the target cannot take the value of the "
                f"source:{_listed(refused)}\nNothing was changed. To copy the others alone, leave "
                f"it out: rename={{{refused[0].source!r}: None}}."
            )
        if not changes.of(*_ARRIVED, "unchanged"):
            raise CopyError(self._ended(_nothing(changes, self._supply, self._filled)))
        lost = [one for one in changes.of("skipped", "missing", "unused") if _counts(one)]
        if strict and lost:
            raise CopyError(
                self._ended(
                    f"strict=True, and of {_count(changes)} {len(lost):,} would not "
                    f"be copied:{_listed(lost)}\nNothing was changed."
                )
            )

    def _ended(self, message: str) -> str:
        return f"{message} {self._note}".rstrip()


def _counts(one: Change) -> bool:
    return one.reason != LEFT_OUT


def _count(changes: Sized) -> str:
    return f"{len(changes):,} weight{'' if len(changes) == 1 else 's'}"


def _listed(changes: Iterable[Change]) -> str:
    lines = [f"\n  {one}" for one in changes]
    more = len(lines) - _SHOWN
    return "".join(lines[:_SHOWN]) + (f"\n  and {more:,} more" if more > 0 else "")


def _note(weights: Iterable[Weight], side: str) -> str:
    live = next((weight.source for weight in weights), None)
    return f"In the {side}: {live.note}" if isinstance(live, LiveSource) and live.note else ""


def _source_wholes(plan: Plan) -> dict[str, str]:
    """For each weight without place that is a part of one that has: the target's address of it.

    Read off the names of the stored arrays, since a file knows no more.
    """
    beside: dict[str, list[str]] = {}
    for weight, _ in plan.unused:
        beside.setdefault(_parent(weight.address), []).append(weight.address)
    found = {}
    for pair in plan.pairs:
        parent = _parent(pair.source.address)
        if parent in beside:
            names = set(pair.source.stored())
            for address in beside[parent]:
                if address.rpartition("/")[2] in names:
                    found[address] = pair.target.address
    return found


def _parent(address: str) -> str:
    return address.rpartition("/")[0]


# --- Where nothing fits --------------------------------------------------------------------------


def _nothing(changes: Changes, supply: Supply, filled: Weights) -> str:
    if skipped := list(changes.skipped):
        return f"No weight can be copied:{_listed(skipped)}\nNothing was changed."
    offered = list(supply.at)
    if not offered:
        why = "`rename` leaves all of them out" if supply.weights else "it has none"
        return f"There is no weight to copy from the source: {why}."
    if head := _head_between(offered, filled.addresses):
        return (
            f"No weight of the source has an address of the target, but most would under another "
            f"head: rename={{{head[0]!r}: {head[1]!r}}}."
        )
    hints = [(address, nearest(address, offered, 1)) for address in filled.addresses[:3]]
    near = "".join(f"\n  {a!r}: the nearest in the source is {n[0]!r}" for a, n in hints if n)
    return (
        f"No weight of the source has an address of the target. The source has {_some(offered)}; "
        f"the target has {_some(filled.addresses)}.{near}\nSay by `rename` what becomes what."
    )


def _head_between(offered: Iterable[str], wanted: Iterable[str]) -> tuple[str, str] | None:
    """What to put in the place of which head, so that most of the source fits the target."""
    source, target = list(offered), list(wanted)
    for old, new in ((source, target), (target, source)):
        known, heads = set(old), Counter[str]()
        for address in new:
            for i in (i for i, char in enumerate(address) if char == "/"):
                heads[address[:i]] += address[i + 1 :] in known
        head, number = heads.most_common(1)[0] if heads else ("", 0)
        if number > len(old) // 2:
            return ("", head) if old is source else (head, "")
    return None


def _some(addresses: Iterable[str]) -> str:
    every = list(addresses)
    shown = ", ".join(map(repr, every[:3]))
    return f"{shown} and {len(every) - 3:,} more" if len(every) > 3 else shown
