"""A Keras file becomes another one: all of it as it is stored, but what `map` replaces."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from steelyard.converting._mapped import Map, Progress, mapped
from steelyard.errors import (
    AddressError,
    CheckpointError,
    ShapeMismatchError,
    SteelyardError,
    UnknownAddressError,
)
from steelyard.selection import Rename, Weight, Weights, renamed

if TYPE_CHECKING:
    import numpy as np


def write_keras(
    path: str,
    ending: str,
    selection: Weights,
    map: Map | None,
    rename: Rename | None,
    progress: Progress | None,
) -> None:
    """Writes what Keras loads; the weights that are not selected are in it, too."""
    from steelyard.checkpoints import copy_keras, is_keras_file

    source = selection.source
    if not is_keras_file(source):
        raise CheckpointError(
            f"{path}: Keras numbers what is in its files by the structure of the model, which this "
            f"source does not have. Build the model, load the weights with "
            f"sy.copy_weights(source, model), and save it."
        )
    if map is None and len(selection) < len(source.specs()):
        raise SteelyardError(
            f"{path}: Keras loads a whole model, and `select` chooses {len(selection):,} of its "
            f"{len(source.specs()):,} weights. Leave it out; with `map` it says what to change."
        )
    optimizer = _with_optimizer(source, rename)
    if optimizer is None:
        raise AddressError(
            f"{path}: a Keras file keeps the names that its config has, so `rename` cannot change "
            f"them. What it can do is leave the optimizer out: {{'optimizer': None}}."
        )
    array = _array_at(selection, map)
    copy_keras(path, ending, source, array, optimizer, progress)


def is_kept(selection: Weights, map: Map | None, rename: Rename | None) -> bool:
    """Whether safetensors get all that the source is: a Keras file of which all was asked for."""
    from steelyard.checkpoints import can_be_kept

    source = selection.source
    whole = map is None and len(selection) == len(source.specs())
    return whole and can_be_kept(source) and _with_optimizer(source, rename) is not None


def write_kept(
    path: str, selection: Weights, rename: Rename | None, progress: Progress | None
) -> None:
    """Writes safetensors that can become the Keras file again."""
    from steelyard.checkpoints import keep_keras

    source: Any = selection.source
    keep_keras(path, source, bool(_with_optimizer(source, rename)), progress)


def _with_optimizer(source: Any, rename: Rename | None) -> bool | None:
    """Whether the optimizer stays; None if `rename` asks for more than to leave it out."""
    from steelyard.checkpoints import optimizer_paths

    if rename is None:
        return True
    addresses = [spec.address for spec in source.specs()]
    # So that leaving it out is right where there is none.
    beside = optimizer_paths(source) or ["optimizer"]
    try:
        names = renamed(dict.fromkeys([*addresses, *beside]), rename)
    except UnknownAddressError:
        return None
    if any(names[address] != address for address in addresses):
        return None
    become = {name: names[name] for name in beside}
    if all(new is None for new in become.values()):
        return False
    return True if all(name == new for name, new in become.items()) else None


def _array_at(selection: Weights, map: Map | None) -> Callable[[str], np.ndarray]:
    """What stands at a path of the file: what is stored there, or what `map` makes of it."""
    source: Any = selection.source
    if map is None:
        return lambda path: source.raw(path)
    weights = {source.stored_path[weight.address]: weight for weight in selection}

    def array(path: str) -> np.ndarray:
        if path not in weights:
            return source.raw(path)
        weight = weights[path]
        if len(source.parts(weight.address)) > 1:
            _check_left_alone(map, weight)
            return source.raw(path)
        return _replaced(map, weight, source.raw(path))

    return array


def _replaced(map: Map, weight: Weight, stored: np.ndarray) -> np.ndarray:
    shape = stored.shape
    found = mapped(map, weight, stored)
    if found.shape != shape:
        raise ShapeMismatchError(
            f"`map` makes an array of shape {found.shape} of {weight.address!r}, which has "
            f"{shape}; the layer that loads it has the shape that its config says."
        )
    return found


def _check_left_alone(map: Map, weight: Weight) -> None:
    """A value that is worked out from several arrays has no one way back into them."""
    value = weight.numpy()
    value.flags.writeable = False
    if mapped(map, weight, value) is not value:
        raise SteelyardError(
            f"{weight.address!r} is stored in parts ({', '.join(weight.stored())}), and what `map` "
            f"gives cannot be taken apart again. Give the array back as it is, or leave the weight "
            f"out of `select`; or load the model, change it there and save it."
        )
