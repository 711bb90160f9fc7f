"""The layers that a class of somebody's own holds, as far as the names in the file tell."""

from __future__ import annotations

import re

from steelyard.checkpoints._keras_config import snake
from steelyard.checkpoints._keras_place import Place, child, guessed
from steelyard.checkpoints._keras_tree import Group, natural

_OPTIMIZERS: tuple[str, ...] = (
    "sgd",
    "rmsprop",
    "adam",
    "adamw",
    "adagrad",
    "adadelta",
    "adamax",
    "nadam",
    "ftrl",
)
_OPTIMIZERS += ("lion", "lamb", "muon", "adafactor", "loss_scale_optimizer", "SGD", "RMSprop")


def of_attributes(place: Place, groups: dict[str, Group]) -> list[Place]:
    """The layers that a class of somebody's own holds in its attributes."""
    below = []
    for key, group in groups.items():
        if group.is_empty or _is_no_weight(place, key, group):
            continue
        if group.is_layer:
            below.append(_of_attribute(place, key, group))
        elif key == "layers" and not place.segments:
            below += _of_rest(place, group)
        else:
            below += of_container(place, group, key.lstrip("_"))
    return below


def _of_attribute(place: Place, key: str, group: Group) -> Place:
    """A public attribute is the segment; a private one gives way to a name that was chosen."""
    layer = guessed(group.name)
    automatic = bool(layer.kind) or not group.name or snake(group.name) == key.lstrip("_")
    segment = key if not key.startswith("_") else (key.lstrip("_") if automatic else group.name)
    return child(place, group, segment, layer, "inferred")


def _of_rest(place: Place, group: Group) -> list[Place]:
    """What a subclassed model holds in attributes that come after `layers` in the alphabet.

    Keras comes upon them in the model's list of layers, and writes them by class and count: the
    attribute is lost, and only the layer's own name is left.
    """
    return [
        child(place, held, held.name or key, guessed(key), "unknown")
        for key, held in group.children.items()
    ]


def of_container(place: Place, group: Group, segment: str) -> list[Place]:
    """A list or dictionary; Keras drops its keys, and the order between different classes."""
    below = []
    filled = {key: held for key, held in group.children.items() if not held.is_empty}
    stems = {re.sub(r"_\d+$", "", key) for key in group.children}
    index_of = {key: n for n, key in enumerate(sorted(group.children, key=natural))}
    for key, held in filled.items():
        index = str(index_of[key]) if len(stems) == 1 else key
        naming = "inferred" if len(stems) == 1 else "unknown"
        where = child(place, held, f"{segment}/{index}".lstrip("/"), guessed(key), naming)
        below += [where] if held.is_layer else of_container(where, held, "")
    return below


def _is_no_weight(place: Place, key: str, group: Group) -> bool:
    """An optimizer, or the state of a random generator: saved with a model, but no weight of it."""
    if not place.segments and key in ("optimizer", "_optimizer"):
        return True
    stem = re.sub(r"_\d+$", "", group.name)
    if stem in _OPTIMIZERS and group.dtypes.get("0", "").startswith(("int", "uint")):
        return True
    return "seed_generator" in (re.sub(r"_\d+$", "", key).lstrip("_"), stem) and all(
        dtype.startswith(("int", "uint")) for dtype in group.dtypes.values()
    )
