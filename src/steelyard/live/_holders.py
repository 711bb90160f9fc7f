"""Who holds a layer. Keras keeps the way down only; the way up is read off the living objects."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import keras

from steelyard.live import _keras


def holders(layer: keras.Layer) -> list[keras.Layer]:
    """The layers and models that track `layer` directly, in no order that means anything.

    Looks through all objects of the process: a tenth of a second, for calls that are rare.
    """
    return [
        held for held in _all_layers() if any(child is layer for child in _keras.sublayers(held))
    ]


def holders_around(layer: keras.Layer) -> list[keras.Layer]:
    """`layer` itself, and all that hold it at any depth; looked for as `holders` does."""
    parents: dict[int, list[keras.Layer]] = {}
    for holder in _all_layers():
        for child in _keras.sublayers(holder):
            parents.setdefault(id(child), []).append(holder)
    found = {id(layer): layer}
    queue = [layer]
    while queue:
        for holder in parents.get(id(queue.pop()), ()):
            if id(holder) not in found:
                found[id(holder)] = holder
                queue.append(holder)
    return list(found.values())


def _all_layers() -> Iterator[keras.Layer]:
    """All layers of the process that are complete enough to be asked what they track."""
    for thing in gc.get_objects():
        # Not `isinstance`: proxies may raise when they are asked for their class.
        if issubclass(type(thing), keras.Layer) and _keras.is_set_up(thing):
            yield thing
