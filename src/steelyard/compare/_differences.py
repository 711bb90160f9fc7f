"""All differences between two selections, in one pass over both."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from steelyard.compare._change import change, compared, stored
from steelyard.compare._pairing import Couple, chosen, couples
from steelyard.compare._renames import Renames, candidates, renames
from steelyard.errors import UnknownMetricError
from steelyard.metrics import catalog
from steelyard.records import Change, Metric
from steelyard.selection import Changes, Weight, Weights

Progress = Callable[[int, int], None]


def differences(
    first: Weights,
    second: Weights,
    *,
    select: Any = "**",
    metrics: str | Iterable[str] | None = None,
    progress: Progress | None = None,
) -> Changes:
    """What became of each weight between two sources, as `steelyard.diff` says.

    Args:
        first: All weights of the first source.
        second: All weights of the second source.
        select: Which of them are asked about.
        metrics: Names of metrics of two weights.
        progress: Told how many weights are done, and how many there are.
    """
    rows = _rows(metrics)
    hits = chosen(first, second, select)

    def asked(weight: Weight, late: int) -> bool:
        return weight.address in hits[late]

    found = list(couples(first, second, hits))
    both = [one for one in found if len(one.weights) == 2 and _is_asked(one, asked)]
    lone = candidates(_lone(found, 0), _lone(found, 1), asked)
    steps = _Steps(progress, len(both) + sum(map(len, lone)))
    said = {}
    for one in both:
        said[one.address] = compared(one, rows)
        steps()
    by_content = renames(*lone, steps)
    return Changes(_in_order(found, said, by_content, asked))


class _Steps:
    def __init__(self, progress: Progress | None, total: int) -> None:
        self.done, self.total = 0, total
        self.progress = progress

    def __call__(self) -> None:
        self.done += 1
        if self.progress is not None:
            self.progress(self.done, self.total)


def _rows(metrics: str | Iterable[str] | None) -> list[Metric]:
    names = () if metrics is None else (metrics,) if isinstance(metrics, str) else tuple(metrics)
    known = {row.name: row for row in catalog() if row.needs == "pair"}
    for name in names:
        if name not in known:
            raise UnknownMetricError(
                f"{name!r} is no metric of two weights. There are {', '.join(known)}."
            )
    return [known[name] for name in dict.fromkeys(names)]


def _lone(found: Iterable[Couple], late: int) -> Iterator[Weight]:
    """What only one of the two has: the first, or the second if `late`."""
    for one in found:
        weight, other = (one.second, one.first) if late else (one.first, one.second)
        if weight is not None and other is None:
            yield weight


def _is_asked(couple: Couple, asked: Callable[[Weight, int], bool]) -> bool:
    sides = enumerate((couple.first, couple.second))
    return any(weight is not None and asked(weight, late) for late, weight in sides)


def _in_order(
    found: Iterable[Couple],
    said: dict[str, Change],
    by_content: Renames,
    asked: Callable[[Weight, int], bool],
) -> Iterator[Change]:
    old = {new: address for address, new in by_content.pairs.items()}
    first = {one.source: one.first for one in found if one.second is None}
    for one in found:
        if one.first is not None and one.second is not None:
            if one.address in said:
                yield said[one.address]
        elif one.address in old and one.first is None:
            source = old[one.address]
            couple = Couple(one.address, source, first[source], one.second)
            if _is_asked(couple, asked):
                yield change(couple, "renamed", [stored(couple)], 0.0)
        elif _is_asked(one, asked) and one.source not in by_content.pairs:
            late = one.first is None
            reason = by_content.reasons.get((late, one.address), "")
            yield change(one, "added" if late else "removed", [reason])
