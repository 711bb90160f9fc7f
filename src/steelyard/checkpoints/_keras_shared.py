"""Layers that are held at several places: Keras writes them at the first one that it comes upon.

An address is the shortest way to a layer, and the others are its aliases. So where the config has a
layer that the file has not, it is looked for under its name among those that were written.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

from steelyard.checkpoints._keras_place import Named, Place
from steelyard.errors import LimitError

Path = tuple[str, ...]
_MOST_ALIASES = 100_000


def with_aliases(layers: list[tuple[Place, list[Named]]]) -> list[Named]:
    """The variables of all layers, each at the shortest way to it.

    Args:
        layers: Each layer with its own variables, in the order of the model.
    """
    if not any(place.is_elsewhere for place, _ in layers):
        return [named for _, own in layers for named in own]
    ways, doubtful = _ways([place for place, _ in layers])
    count = 0
    rows: dict[Path, list[Named]] = {place.segments: [] for place, _ in layers}
    for place, own in layers:
        top = next((end for end in _prefixes(place.segments) if end in ways), None)
        if top is not None:
            paths = [(*way, *place.segments[len(top) :]) for way in (top, *ways[top])]
            path = min(paths, key=len)
            others = [other for other in paths if other != path]
            count += len(others) * len(own)
            if count > _MOST_ALIASES:
                raise LimitError(f"the config has more than {_MOST_ALIASES:,} ways to its weights")
            rows.setdefault(path, []).extend(_moved(named, path, others) for named in own)
        elif place.segments in doubtful:
            rows[place.segments] += [replace(named, naming="inferred") for named in own]
        else:
            rows[place.segments] += own
    return [named for own in rows.values() for named in own]


def _ways(places: list[Place]) -> tuple[dict[Path, list[Path]], set[Path]]:
    """For each layer that was written once and is held more than once, the other ways to it.

    Where two layers of one name were written, nothing says which of them is meant.
    """
    written: dict[tuple[str, str], list[Path]] = defaultdict(list)
    for place in places:
        if not place.is_elsewhere and place.layer.sure:
            written[_key(place)].append(place.segments)
    ways: dict[Path, list[Path]] = {}
    doubtful: set[Path] = set()
    for place in places:
        same = written.get(_key(place), []) if place.is_elsewhere else []
        if len(same) == 1:
            ways.setdefault(same[0], []).append(place.segments)
        else:
            doubtful.update(same)
    return ways, doubtful


def _key(place: Place) -> tuple[str, str]:
    return place.layer.kind, str((place.layer.config or {}).get("name"))


def _prefixes(path: Path) -> list[Path]:
    return [path[:end] for end in range(len(path), 0, -1)]


def _moved(named: Named, path: Path, others: list[Path]) -> Named:
    aliases = tuple("/".join((*other, named.name)) for other in others)
    return replace(named, address="/".join((*path, named.name)), aliases=aliases)
