"""Where each layer and weight of a Keras model lives: addresses, as a person would walk there."""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Iterator
from typing import Any, NamedTuple

import keras

from steelyard.live import _keras
from steelyard.live._substitute import substitutes

Path = tuple[str, ...]


class Place(NamedTuple):
    """A layer, the shortest path to it, and the other paths that lead there."""

    path: Path
    layer: keras.Layer
    aliases: tuple[Path, ...] = ()


def walk(root: keras.Layer) -> list[Place]:
    """All layers below and including `root`, each once, in the order of the model.

    A layer that is shared is listed at the shortest of its paths (the first one of these).
    """
    order: dict[int, keras.Layer] = {id(root): root}
    paths: dict[int, list[Path]] = {id(root): [()]}
    kept: dict[int, list[keras.Layer]] = {}
    queue = deque([root])
    while queue:  # breadth first, so that the first path found is a shortest one
        layer = queue.popleft()
        here = paths[id(layer)][0]
        kept[id(layer)] = []
        named, others = _children(layer)
        for segment, child in named:
            known = id(child) in order
            paths.setdefault(id(child), []).append((*here, segment))
            if not known:
                order[id(child)] = child
                kept[id(layer)].append(child)
                queue.append(child)
        for segment, child in others:
            paths[id(child)].append((*here, segment))
    return list(_preorder(root, kept, paths))


def holds(root: keras.Layer, layer: keras.Layer) -> bool:
    """Whether `layer` is `root` or anywhere below it."""
    return any(found is layer for found, _ in _breadth_first(root))


def paths_to(root: keras.Layer, layer: keras.Layer) -> list[Path]:
    """The paths from `root` to `layer` that `walk` gives, without naming the layers beside them."""
    if layer is root:
        return [()]
    first: dict[int, keras.Layer | None] = {}
    parents: dict[int, keras.Layer] = {}
    for found, parent in _breadth_first(root):
        first.setdefault(id(found), parent)
        if found is layer and parent is not None:
            parents[id(parent)] = parent

    def path(to: keras.Layer) -> Path:
        parent = first[id(to)]
        return () if parent is None else (*path(parent), _segments(parent, to)[0])

    return [
        (*path(parent), segment)
        for parent in parents.values()
        for segment in _segments(parent, layer)
    ]


def still_held(root: keras.Layer, layer: keras.Layer) -> bool:
    """Whether attributes, or the graph, of `root` and its layers lead to `layer`.

    Keras goes on tracking a layer whose place in an attribute or a list another one took.
    """
    if layer is root:
        return True
    return any(
        found is layer and parent is not None and _is_held(parent, layer)
        for found, parent in _breadth_first(root)
    )


def _is_held(parent: keras.Layer, layer: keras.Layer) -> bool:
    if _keras.is_graph_model(parent) and any(layer is child for child in parent.layers):
        return True
    return id(layer) in _ways(parent, keras.Layer)


def _segments(parent: keras.Layer, child: keras.Layer) -> list[str]:
    named, others = _children(parent)
    return [segment for segment, held in [*named, *others] if held is child]


def _breadth_first(
    root: keras.Layer,
) -> Iterator[tuple[keras.Layer, keras.Layer | None]]:
    """Each layer with each of the layers that hold it, the nearest to the root first."""
    seen = {id(root)}
    queue: deque[keras.Layer] = deque([root])
    yield root, None
    while queue:
        parent = queue.popleft()
        for child in _keras.sublayers(parent):
            yield child, parent
            if id(child) not in seen:
                seen.add(id(child))
                queue.append(child)


def _preorder(
    root: keras.Layer, kept: dict[int, list[keras.Layer]], paths: dict[int, list[Path]]
) -> Iterator[Place]:
    stack = [root]
    while stack:
        layer = stack.pop()
        first, *others = paths[id(layer)]
        yield Place(first, layer, tuple(others))
        stack.extend(reversed(kept[id(layer)]))


def children(layer: keras.Layer) -> list[tuple[str, keras.Layer]]:
    """The direct sublayers, each with the segment that leads to it; a segment is never repeated."""
    return _children(layer)[0]


_Named = list[tuple[str, keras.Layer]]


def _children(layer: keras.Layer) -> tuple[_Named, _Named]:
    """The direct sublayers, and the other public attributes that hold one of them."""
    held = _keras.sublayers(layer)
    if not held:
        return [], []
    by_name = len(layer.layers) if _keras.is_graph_model(layer) else 0
    named = [(child.name, child) for child in held[:by_name]]
    if by_name == len(held):
        return _unrepeated(named), []
    ways = _ways(layer, keras.Layer)
    named += [(_segment(_first(ways, child), child), child) for child in held[by_name:]]
    named = _unrepeated(named)
    taken = {segment for segment, _ in named}
    others = [
        (_join(way), child)
        for child in held[by_name:]
        for way in ways.get(id(child), ())
        if not way[0].startswith("_") and _join(way) not in taken
    ]
    return named, others


def _segment(way: Path | None, child: keras.Layer) -> str:
    """The attribute that holds a child; a private one gives way to a name that somebody chose.

    Keras's own composite layers hide their parts (`MultiHeadAttention._query_dense`) but name them
    (`query`). A name that Keras made up ends in a count of the layers before it: the class stays.
    """
    if way is None and _keras.is_auto_named(child):
        return re.sub(r"_\d+$", "", child.name)
    if way is None or (way[0].startswith("_") and not _keras.is_auto_named(child)):
        return child.name
    return _join(way)


def own_weights(layer: keras.Layer) -> list[tuple[str, keras.Variable]]:
    """The variables that the layer itself holds, each with a name that is unique in the layer.

    A weight that the layer computes with and another one stores comes last, as a `Substitute`.
    """
    variables = _keras.own_variables(layer)
    names = [variable.name for variable in variables]
    repeated = {name for name, count in Counter(names).items() if count > 1}
    clear = [not (name in repeated or _is_unnamed(name)) for name in names]
    if all(clear):
        return _and_substitutes(layer, list(zip(names, variables, strict=True)))
    ways = _ways(layer, keras.Variable)
    for substitute in substitutes(layer).values():
        for variable in substitute.recipe.variables():  # it stands where this one stood
            ways.setdefault(id(variable), ways.get(id(substitute), []))
    named = [
        (name if keep else _held_name(name, _first(ways, variable)), variable)
        for name, keep, variable in zip(names, clear, variables, strict=True)
    ]
    return _and_substitutes(layer, _unrepeated(named))


def _and_substitutes(
    layer: keras.Layer, named: list[tuple[str, keras.Variable]]
) -> list[tuple[str, keras.Variable]]:
    """The weights of a layer with those that it computes with but does not store."""
    if not (standing := substitutes(layer)):
        return named
    known = {name for name, _ in named}
    return named + [(name, found) for name, found in standing.items() if name not in known]


def _held_name(name: str, way: Path | None) -> str:
    if way is not None:
        return _join(way)
    return "variable" if _is_unnamed(name) else name


def _is_unnamed(name: str) -> bool:
    """Whether Keras made the name up by counting: it changes with the order of building."""
    return re.fullmatch(r"variable(_\d+)?", name) is not None


def _join(way: Path) -> str:
    return "/".join((way[0].lstrip("_") or way[0], *way[1:]))


def _unrepeated(named: list[tuple[str, Any]]) -> list[tuple[str, Any]]:
    taken: Counter[str] = Counter()
    result = []
    for segment, child in named:
        taken[segment] += 1
        result.append((segment if taken[segment] == 1 else f"{segment}~{taken[segment]}", child))
    return result


def _ways(layer: keras.Layer, kind: type) -> dict[int, list[Path]]:
    """For each object of `kind` that the attributes of a layer hold, the ways to it.

    Public attributes come before private ones, short ways before long ones; lists, tuples, sets
    and dictionaries are walked through by index and key.
    """
    found: dict[int, list[Path]] = {}
    for name, held in _keras.attributes(layer).items():
        for way, value in _reach(held, (name,), kind):
            found.setdefault(id(value), []).append(way)
    for ways in found.values():
        ways.sort(key=lambda way: (way[0].startswith("_"), len(way)))
    return found


def _first(ways: dict[int, list[Path]], value: Any) -> Path | None:
    return next(iter(ways.get(id(value), ())), None)


def _reach(value: Any, way: Path, kind: type, depth: int = 8) -> Iterator[tuple[Path, Any]]:
    if isinstance(value, kind):
        yield way, value
    elif depth and isinstance(value, dict):
        for key, item in value.items():
            yield from _reach(item, (*way, _escape(key)), kind, depth - 1)
    elif depth and isinstance(value, (list, tuple, set, frozenset)):
        names = getattr(value, "_fields", None)
        for index, item in enumerate(value):
            segment = names[index] if names else str(index)
            yield from _reach(item, (*way, segment), kind, depth - 1)


def reach(value: Any, kind: type) -> Iterator[Any]:
    """The objects of `kind` that a value is, or holds in lists, tuples, sets and dictionaries."""
    return (found for _, found in _reach(value, (), kind))


def _escape(key: Any) -> str:
    # The text of a layer asks whether it is built, which a reader answers by walking here.
    text = key.name if isinstance(key, keras.Layer) else str(key)
    return text.replace("%", "%25").replace("/", "%2F")
