"""Putting a substitute where a layer holds a variable, and taking it away again."""

from __future__ import annotations

from typing import Any

import keras

from steelyard.errors import SubstituteError
from steelyard.live import (
    Substitute,
    attributes,
    hold,
    let_go,
    own_weights,
    place_of,
    substitutes,
)
from steelyard.substitutes._ledger import Dropped, Ledger


def swap(layer: keras.Layer, old: keras.Variable, new: keras.Variable) -> list[str]:
    """Puts `new` wherever the attributes of a layer hold `old`; gives the names of these.

    Past the trackers of Keras, TensorFlow and torch: what the layer owns does not change.
    """
    names = []
    for name, held in attributes(layer).items():
        if held is old:
            vars(layer)[name] = new
            names.append(name)
        elif _swap_in(held, old, new):
            names.append(name)
    return names


def _swap_in(held: Any, old: Any, new: Any, depth: int = 8) -> bool:
    if not depth or not isinstance(held, (list, dict)):
        return False
    found = False
    for key, item in list(enumerate(held) if isinstance(held, list) else held.items()):
        if item is old:
            # The class's own: that of a tracked container would track what is put in.
            (list if isinstance(held, list) else dict).__setitem__(held, key, new)  # type: ignore
            found = True
        else:
            found |= _swap_in(item, old, new, depth - 1)
    return found


def substitute_for(layer: keras.Layer, name: str) -> keras.Variable:
    """What a layer computes with for a weight of its own: a substitute, or what it stores."""
    standing = substitutes(layer).get(name)
    return dict(own_weights(layer))[name] if standing is None else standing


def refuse_codes(layer: keras.Layer, name: str) -> None:
    """Refuses to rewrite a weight of a quantized layer, which computes with codes.

    Raises:
        SubstituteError: the layer is quantized.
    """
    if (mode := getattr(layer, "quantization_mode", None)) is not None:
        raise SubstituteError(
            f"Layer '{layer.name}' ({type(layer).__name__}) is quantized ('{mode}'), so nothing "
            f"can stand for its weight '{name}'. Tie or parametrize it first, and quantize then."
        )


def stand_in(layer: keras.Layer, name: str, new: Substitute, ledger: Ledger, keep: bool) -> None:
    """Has a layer compute with a substitute for a weight of its own.

    Args:
        layer: the layer.
        name: the weight.
        new: what it computes with from now on.
        ledger: the layer's.
        keep: whether the layer goes on to store the variable of before.

    Raises:
        SubstituteError: no attribute of the layer holds the variable.
    """
    before = substitute_for(layer, name)
    names = swap(layer, before, new)
    if not names:
        raise SubstituteError(
            f"Layer '{layer.name}' ({type(layer).__name__}) holds its weight '{name}' in no "
            "attribute, list or dictionary, so nothing can be put in its place."
        )
    if not keep and not isinstance(before, Substitute):
        place = place_of(layer, before)
        assert place is not None
        ledger.dropped[name] = Dropped(place, before.trainable)
        let_go(layer, before, names)
    hold(layer, name, new)
