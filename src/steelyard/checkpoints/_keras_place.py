"""A variable of a Keras file with its name, and a layer of it with the way that leads there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from steelyard.checkpoints import _leaf_table as table
from steelyard.checkpoints._keras_config import Made
from steelyard.checkpoints._keras_tree import Group

NO_CONFIG = "; the file has no config, which would say more"
NAMINGS = ("exact", "inferred", "unknown")


@dataclass(frozen=True, slots=True)
class Named:
    """A variable of the file and what it is to its layer.

    Args:
        stored: Its path in the file.
        address: Its address in the live model.
        naming: How certain that is: one of `NAMINGS`.
        name: The layer's own name for it.
        trainable: Whether training moves it.
        layer: The layer.
        beside: The paths of all variables of the layer, by their names.
        aliases: Other addresses, because a layer that is shared has several.
        parametrized: By what, a class or function, or "" where that is not known; None if not.
    """

    stored: str
    address: str
    naming: str
    name: str
    trainable: bool
    layer: Made
    beside: dict[str, str]
    aliases: tuple[str, ...] = ()
    parametrized: str | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """A layer of the file and how it was found.

    Args:
        group: What the file has there.
        segments: The way to it.
        layer: What is known of it.
        naming: How certain the way is.
        trainable: Whether the layer that holds it is to be trained.
        is_elsewhere: Whether the config has a layer here that the file has not: it was written at
            the first place where it is held.
    """

    group: Group
    segments: tuple[str, ...]
    layer: Made
    naming: str = "exact"
    trainable: bool = True
    is_elsewhere: bool = False


def child(place: Place, group: Group | None, segment: str, layer: Made, naming: str) -> Place:
    """The place of a layer that another one holds; `group` is None where the file has none."""
    worse = max(place.naming, naming, key=NAMINGS.index)
    trains = place.trainable if place.layer.trainable is None else place.layer.trainable
    path = (*place.segments, *segment.split("/")) if segment else place.segments
    return Place(group or Group(""), path, layer, worse, trains, group is None)


def guessed(name: str) -> Made:
    """The class that a name points to, if Keras made it."""
    kind = table.class_of(name)
    return Made(kind, None, {}, False, bool(kind))


def naming_note(namings: Sequence[str], why: str = "") -> str:
    """How many names are not certain, in a sentence; empty where all are.

    Args:
        namings: How certain each is.
        why: What goes behind, from a semicolon on.
    """
    count = Counter(namings)
    said = [f"{count[naming]:,} {naming}" for naming in ("inferred", "unknown") if count[naming]]
    if not said:
        return ""
    return f"Of {len(namings):,} names {' and '.join(said)}{why}."
