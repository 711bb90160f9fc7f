"""What a checkpoint says of the objects that it was made from: the names of their variables."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping

from steelyard.checkpoints._bundle import Told
from steelyard.checkpoints._flat import address_of
from steelyard.checkpoints._protobuf import as_bytes, as_text, fields
from steelyard.errors import CheckpointError

GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"
_VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"
# Keras 3 keeps a model's variables in lists, and TensorFlow's way to them may lead through the
# optimizer; a key like that says nothing of where a weight is, and its full name does.
_BY_NUMBER = re.compile(r"(^|/)(_?(all_|non_)?(trainable_)?variables/\d+$|_operations/\d+/)")
_OPTIMIZER = re.compile(r"(^|/)_?optimizer/(?!_trainable_variables/\d+/\.)|/\.OPTIMIZER_SLOT/")
_COUNTERS = re.compile(r"(^|/)(save_counter|_CHECKPOINTABLE_OBJECT_GRAPH|global_step)(/|$)")


def full_names(graph: bytes) -> dict[str, str]:
    """The full name of the variable behind each key."""
    found = {}
    for number, node in fields(graph):
        if number != 1:
            continue
        for inner, attribute in fields(as_bytes(node)):
            if inner == 2:
                told = dict(fields(as_bytes(attribute)))
                found[as_text(told.get(3, b""))] = as_text(told.get(2, b""))
    return found


def is_bookkeeping(key: str) -> bool:
    """Whether a key is of training and saving, and of no weight."""
    return bool(_OPTIMIZER.search(key) or _COUNTERS.search(key))


def without_copies(told: Mapping[str, Told], names: Mapping[str, str]) -> list[str]:
    """The keys of all weights; `model.export` of Keras keeps each once more, in another order."""

    def what(key: str) -> tuple[object, ...]:
        entry = told[key]
        return names.get(key), entry.kind, entry.shape, entry.size, entry.crc

    copies = [key for key in told if key.startswith("_all_variables/")]
    others = [key for key in told if not key.startswith("_all_variables/")]
    if not copies or Counter(map(what, copies)) - Counter(map(what, others)):
        return list(told)
    return others


def addresses(keys: list[str], names: Mapping[str, str]) -> list[tuple[str, str]]:
    """Where the weight of each key should be, and how certain that is.

    A key that is a way through attributes is `"exact"`. The full name of a variable, of which the
    name of the model is taken off, is `"inferred"`: it was given when the variable was made, and
    leaves out models in between. A number in a list says nothing: `"unknown"`.
    """
    telling = {key: names[key] for key in keys if _is_telling(key, names)}
    root = _common_root(list(telling.values()))
    found = []
    for key in keys:
        if key in telling:
            found.append((address_of(telling[key][root:]), "inferred"))
        else:
            naming = "unknown" if _is_number(key) else "exact"
            found.append((address_of(key.removesuffix(_VALUE)), naming))
    return found


def _is_telling(key: str, names: Mapping[str, str]) -> bool:
    """Whether the full name says more than the key."""
    return "/" in names.get(key, "") and _is_number(key)


def _is_number(key: str) -> bool:
    return bool(_BY_NUMBER.search(key.removesuffix(_VALUE)))


def _common_root(names: list[str]) -> int:
    """How long the name of the model is, with its slash, if all names begin with it.

    With two segments, the first is that of a layer.
    """
    if not names or any(name.count("/") < 2 for name in names):
        return 0
    roots = {name.partition("/")[0] for name in names}
    return len(roots.pop()) + 1 if len(roots) == 1 else 0


def in_order(keys: list[str]) -> list[str]:
    """Sorted, and 10 after 9."""
    return sorted(keys, key=lambda key: [_part(part) for part in re.split(r"(\d+)", key)])


def _part(text: str) -> tuple[int, str]:
    if len(text) > 18:
        return (0, text)
    return (int(text), "") if text.isascii() and text.isdigit() else (0, text)


def names_in(graph: bytes, where: str) -> dict[str, str]:
    """The full names, and an error that says where."""
    try:
        return full_names(graph)
    except CheckpointError as error:
        raise CheckpointError(f"{where}: its graph of objects is damaged: {error}") from error
