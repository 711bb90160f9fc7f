"""What a layer that reads other layers' weights notes down, and the references of any layer."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import keras

from steelyard.live import attributes, reach

if TYPE_CHECKING:
    from steelyard.refs._target import Target


class Reference:
    """Whatever holds a target; `WeightRef` is the one kind of it."""

    _target: Target


class ReaderNotes:
    """What a reader notes down; neither layer nor container, so that nobody tracks it.

    Attributes:
        references: all references that the layer holds.
        listed: references that are only told of: to a weight of the layer itself.
        running: how many calls of the layer are running.
        built: what Keras set `built` to.
        taken: what the layer took in because it was saved without its owner.
        askers: the models that were found to hold the layer when they asked for losses or metrics.
    """

    def __init__(self, built: bool = False) -> None:
        self.references: list[Any] = []
        self.listed: list[Any] = []
        self.running = 0
        self.built = built
        self.taken: dict[int, keras.Variable] = {}
        self.askers: weakref.WeakSet[keras.Layer] = weakref.WeakSet()


def held_references(layer: keras.Layer) -> list[Any]:
    """The references that a layer holds: in attributes, lists and dictionaries, and noted down."""

    def found() -> Iterator[Reference]:
        for value in attributes(layer).values():
            if isinstance(value, ReaderNotes):
                yield from (*value.references, *value.listed)
            yield from reach(value, Reference)

    return list({id(reference): reference for reference in found()}.values())
