"""From a relative address to the layer that is meant, and back.

A reference is written down as a way to walk: so many containers up from the layer that holds it,
then down by name. That is the same in a model, in its clone, and in the loaded file, wherever the
whole is nested later. Containers are models and layers, or the functional graph in which a layer
was called, whose model may not exist yet.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import keras

from steelyard.live import (
    calls,
    children,
    consumers,
    holds,
    own_weights,
    paths_to,
    producer,
    walk,
)
from steelyard.refs import _stack
from steelyard.refs._owner import Path, flat, own_weight


class Way(NamedTuple):
    """`up` containers up from the holder, then down along `path`.

    In a functional graph the first segment of the path is also known by where it stands: `hops`
    are the inputs to follow backwards from the holder's call, `kind` is the class found there.
    """

    up: int
    path: Path
    hops: tuple[int, ...] = ()
    kind: str = ""


# --- layers inside a container ------------------------------------------------------------------


def descend(layer: keras.Layer, path: Path) -> tuple[keras.Layer, Path]:
    """Follow `path` down as far as there are layers; gives the last one and the segments left."""
    left = flat(path)
    while left:
        for segment, child in children(layer):
            parts = flat((segment,))
            if left[: len(parts)] == parts:
                layer, left = child, left[len(parts) :]
                break
        else:
            break
    return layer, left


# --- the functional graph around a layer --------------------------------------------------------


def upstream(tensors: Iterable[Any]) -> list[Any]:
    """The operations that symbolic tensors were computed by, nearest first."""
    found: dict[int, Any] = {}
    visited = set()
    queue = deque(step for tensor in tensors if (step := producer(tensor)))
    while queue:
        step = queue.popleft()
        key = (id(step.operation), *map(id, step.outputs))
        if key in visited:
            continue
        visited.add(key)
        found[id(step.operation)] = step.operation
        queue += [before for tensor in step.inputs if (before := producer(tensor))]
    return list(found.values())


def graph_around(operation: Any) -> list[Any]:
    """All operations that are linked with this one by symbolic calls, in either direction."""
    found = {id(operation): operation}
    queue = [operation]
    while queue:
        current = queue.pop()
        before = [
            step.operation
            for call in calls(current)
            for tensor in call.inputs
            if (step := producer(tensor))
        ]
        for other in [*before, *consumers(current)]:
            if id(other) not in found:
                found[id(other)] = other
                queue.append(other)
    return list(found.values())


def in_graph(operation: Any) -> Iterator[list[keras.Layer]]:
    """The layers around an operation, the likelier ones first: those it depends on, then all.

    A symbolic call that is still running counts: its inputs stand on the call stack.
    """
    running = _stack.symbolic_inputs(operation)
    before = upstream([*running, *(tensor for call in calls(operation) for tensor in call.inputs)])
    yield [op for op in before if isinstance(op, keras.Layer)]
    linked = {id(op): op for start in [operation, *before[:1]] for op in graph_around(start)}
    yield [op for op in linked.values() if isinstance(op, keras.Layer)]


def feeding(layer: keras.Layer, tensor: Any) -> Any | None:
    """A symbolic tensor that makes `layer` part of any model that needs it, if one is wanted.

    None where `tensor` depends on the layer already, or where no output of the layer (or of the
    model that it is in) can be computed from the same inputs as `tensor`.
    """
    before = upstream([tensor])
    if any(isinstance(op, keras.Layer) and holds(op, layer) for op in before):
        return None
    inputs = {id(op) for op in before if not _depends(op)}
    start = [op for op in before if id(op) in inputs]
    for op in graph_around(start[0]) if start else ():
        if isinstance(op, keras.Layer) and _depends(op) and holds(op, layer):
            for call in calls(op):
                needs = {id(x) for x in upstream(call.outputs) if not _depends(x)}
                if call.outputs and needs <= inputs:
                    return call.outputs[0]
    return None


def _depends(operation: Any) -> bool:
    return any(call.inputs for call in calls(operation))


# --- ways between two layers --------------------------------------------------------------------


def way_within(root: keras.Layer, holder: keras.Layer, layer: keras.Layer) -> Way | None:
    """How to walk from `holder` to `layer` inside `root`."""
    here, there = paths_to(root, holder), paths_to(root, layer)
    if not here or not there:
        return None
    return _between(here[0], there[0])


def with_hops(way: Way, holder: keras.Layer, layer: keras.Layer) -> Way:
    """The way, with the place in the graph of what it leads to, if the holder depends on that."""
    for call in calls(holder) if way.up == 1 else ():
        queue: deque[tuple[tuple[int, ...], Any]] = deque([((), call)])
        seen: set[int] = set()
        while queue:
            hops, step = queue.popleft()
            for index, tensor in enumerate(step.inputs):
                before = producer(tensor)
                if before is None or id(tensor) in seen:
                    continue
                seen.add(id(tensor))
                op = before.operation
                # Not any layer that holds it: one that is shared is also in other ones.
                if isinstance(op, keras.Layer) and descend(op, way.path[1:]) == (layer, ()):
                    return way._replace(hops=(*hops, index), kind=type(op).__name__)
                queue.append(((*hops, index), before))
    return way


def _by_hops(way: Way, holder: keras.Layer) -> list[keras.Layer]:
    """The layers that stand where the hops lead, if they are of the right class."""
    found = {}
    for inputs in [_stack.symbolic_inputs(holder), *(call.inputs for call in calls(holder))]:
        operation = None
        for hop in way.hops:
            step = producer(inputs[hop]) if hop < len(inputs) else None
            operation, inputs = (step.operation, step.inputs) if step else (None, [])
        if isinstance(operation, keras.Layer) and type(operation).__name__ == way.kind:
            layer, left = descend(operation, way.path[1:])
            if not left:
                found[id(layer)] = layer
    return list(found.values())


def way_in_graph(holder: keras.Layer, layer: keras.Layer) -> Way | None:
    """How to walk from `holder` to `layer` in a functional graph that knows both."""
    for start in (holder, layer):
        for around in in_graph(start):
            here, there = _chain(around, holder), _chain(around, layer)
            if start is holder:
                here = (holder.name,)
            if here and there:
                return _between(here, there)
    return None


def _between(here: Path, there: Path) -> Way:
    common = 0
    # The holder itself is no container to stay in, unless the layer is below it.
    while common < min(len(here), len(there)) and here[common] == there[common]:
        common += 1
    return Way(len(here) - common, there[common:])


def _chain(around: list[keras.Layer], layer: keras.Layer) -> Path | None:
    for op in around:
        if op is layer:
            return (op.name,)
    for op in around:
        for path in paths_to(op, layer):
            return (op.name, *path)
    return None


def follow(way: Way, holder: keras.Layer, roots: list[keras.Layer]) -> list[keras.Layer]:
    """The layers that a way leads to from `holder`; one if all is well, several if it is unclear.

    Looked up in the graph in which the holder was called, then from each of `roots` (the layers
    that are running now, the outermost first) and in the graph around it.
    """
    for start in [holder, *(root for root in roots if root is not holder)]:
        found: dict[int, keras.Layer] = {}
        for here in paths_to(start, holder):
            beyond = way.up - len(here)
            if beyond <= 0:
                container, _ = descend(start, here[: len(here) - way.up])
                layer, left = descend(container, way.path)
                if not left:
                    found[id(layer)] = layer
            elif beyond == 1 and way.path:
                there = _by_hops(way, holder) if start is holder else []
                # By name and by place: if these differ, layers were renamed, and both are shown.
                there += _named_in_graph(start, way.path)
                found |= {id(layer): layer for layer in there}
        if found:
            return list(found.values())
    return []


def _named_in_graph(start: keras.Layer, path: Path) -> list[keras.Layer]:
    for around in in_graph(start):
        found = {}
        for op in around:
            if op.name == path[0]:
                layer, left = descend(op, path[1:])
                if not left:
                    found[id(layer)] = layer
        if found:
            return list(found.values())
    return []


def look_up(
    address: Path, holder: keras.Layer | None, roots: list[keras.Layer]
) -> list[tuple[keras.Layer, Path]]:
    """What an address means to `holder` inside `roots`: layers, each with the segments left over.

    It is read like a name in a program: in the holder first, then in each container around it,
    outwards; then in the graph in which the holder, or a root, was called.
    """
    for root in roots:
        for container in _containers(holder, root):
            layer, left = descend(container, address)
            if len(left) < len(address) or own_weight(layer, "/".join(address)):
                return [(layer, left)]
    for start in [holder, *roots]:
        for around in in_graph(start) if start is not None else ():
            named = [op for op in around if op.name == address[0]]
            if named:
                return [descend(op, address[1:]) for op in named]
    return []


def addresses_around(holder: keras.Layer | None, root: keras.Layer | None) -> list[str]:
    """The addresses of all weights that a reference could mean, for a hint."""
    start = root if root is not None else holder
    if start is None:
        return []
    found = {
        "/".join((*place.path, name)): None
        for place in walk(start)
        for name, _ in own_weights(place.layer)
    }
    for around in in_graph(start):
        for op in around:
            found |= {
                "/".join((op.name, *place.path, name)): None
                for place in walk(op)
                for name, _ in own_weights(place.layer)
            }
    return list(found)


def _containers(holder: keras.Layer | None, root: keras.Layer) -> list[keras.Layer]:
    """The layers from `holder` out to `root`, both included."""
    if holder is None or holder is root:
        return [root]
    for path in paths_to(root, holder)[:1]:
        return [descend(root, path[:depth])[0] for depth in range(len(path), -1, -1)]
    return [root]
