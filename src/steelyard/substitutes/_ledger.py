"""What a layer whose weights were rewritten notes down."""

from __future__ import annotations

from typing import NamedTuple

import keras

from steelyard.live import Substitute
from steelyard.refs import ReaderNotes
from steelyard.substitutes._rewrite import Rewrite

LEDGER = "_steelyard_ledger"


class Dropped(NamedTuple):
    """Where the layer kept a variable of its own that it has no use for any more."""

    place: tuple[bool, int]
    trainable: bool


class Ledger(ReaderNotes):
    """What a rewritten layer notes down; no layer and no container, so that nobody tracks it.

    Attributes:
        base: the class that the layer was of.
        kept: the rewrites that the layer writes into its config.
        waiting: those that take effect once this layer is built, and the address from here on.
        at: the rewrites of the layer's own weights, by name, in the order in which they came.
        below: the substitutes that one call of the layer works out once.
        dropped: by name, the own variables that other layers' weights took the place of.
        added: by name of the weight, the variables that a rewrite added to the layer.
        asked_in: the save in which the layer was last asked for its config.
    """

    def __init__(self, layer: keras.Layer) -> None:
        super().__init__(built=bool(vars(layer).get("built")))
        self.base = type(layer)
        self.kept: list[Rewrite] = []
        self.waiting: list[tuple[Rewrite, str]] = []
        self.at: dict[str, list[Rewrite]] = {}
        self.below: list[Substitute] = []
        self.dropped: dict[str, Dropped] = {}
        self.added: dict[str, list[keras.Variable]] = {}
        self.asked_in: int | None = None

    def is_empty(self) -> bool:
        """Whether there is nothing to know of any more."""
        return not any((self.kept, self.waiting, self.at, self.below, self.references, self.taken))

    def added_ids(self) -> set[int]:
        """The identities of all variables that rewrites added."""
        return {id(variable) for added in self.added.values() for variable in added}


def ledger_of(layer: keras.Layer) -> Ledger | None:
    """The ledger of a layer, if any weight of it was rewritten."""
    found: Ledger | None = vars(layer).get(LEDGER)
    return found
