"""The weight that is meant in a layer, and what can be asked of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import keras

from steelyard.address import nearest
from steelyard.errors import AmbiguousAddressError, UnbuiltOwnerError, UnknownAddressError
from steelyard.live import (
    effective,
    holds,
    own_variables,
    own_weights,
    read,
    substitutes,
    walk,
)

Path = tuple[str, ...]


class Owner(NamedTuple):
    """A layer, and the name of one of the weights that it holds itself.

    The layer is None for a variable that was handed over as such and whose layer is not known.
    """

    layer: keras.Layer | None
    name: str
    variable: keras.Variable

    def value(self) -> Any:
        """The effective value of now."""
        if self.layer is None:
            return read(self.variable)
        return effective(self.layer, self.name, self.variable)

    def described(self) -> str:
        """The weight in words."""
        if self.layer is None:
            return f"variable '{self.variable.path}', whose layer"
        layer = f"layer '{self.layer.name}' ({type(self.layer).__name__})"
        return f"weight '{self.name}' of {layer}, which"

    def is_trainable(self) -> bool:
        """Whether training could change the weight."""
        frozen = self.layer is not None and not self.layer.trainable
        return bool(self.variable.trainable) and not frozen

    def is_in(self, model: keras.Layer) -> bool:
        """Whether a model holds the weight."""
        if self.layer is not None:
            return holds(model, self.layer)
        return any(variable is self.variable for variable in model.variables)


def own_weight(layer: keras.Layer, name: str) -> Owner | None:
    """The weight of this name that the layer itself holds."""
    named = [variable for variable in own_variables(layer) if variable.name == name]
    if len(named) == 1 and not name.startswith("variable"):  # the plain case, at each eager read
        return Owner(layer, name, named[0])
    for known, variable in own_weights(layer):
        if known == name:
            return Owner(layer, name, variable)
    return None


def find_weight(layer: keras.Layer, weight: str) -> Owner:
    """The one weight in or below `layer` that `weight` names.

    Tried in this order: the exact address inside the layer; an attribute of the layer that holds a
    variable; the end of an address, if a single weight ends like that.

    Raises:
        UnbuiltOwnerError: the layer has no weights yet.
        UnknownAddressError: no weight is named so.
        AmbiguousAddressError: several are.
    """
    here = [
        (flat((*place.path, name)), Owner(place.layer, name, variable))
        for place in walk(layer)
        for name, variable in own_weights(place.layer)
    ]
    wanted = tuple(weight.split("/"))
    exact = [owner for path, owner in here if path == wanted]
    held = vars(layer).get(weight)
    exact += [owner for _, owner in here if owner.variable is held]
    if exact:
        return exact[0]
    ending = [(path, owner) for path, owner in here if path[-len(wanted) :] == wanted]
    if len(ending) == 1:
        return ending[0][1]
    names = ["/".join(path) for path, _ in ending or here]
    if ending:
        raise AmbiguousAddressError(
            f"{len(ending)} weights of layer '{layer.name}' ({type(layer).__name__}) are named "
            f"'{weight}': {', '.join(names)}. Write one of these as `weight=`."
        )
    if not here and layer.built:
        raise UnknownAddressError(
            f"Layer '{layer.name}' ({type(layer).__name__}) has no weights at all, so it has no "
            f"'{weight}' to borrow."
        )
    if not layer.built:
        raise UnbuiltOwnerError(
            f"Layer '{layer.name}' ({type(layer).__name__}) has no weight '{weight}' yet: it is "
            f"not built. Call it on some data, or call its `build`, before its weight is read."
        )
    close = nearest(weight, names)
    raise UnknownAddressError(
        f"Layer '{layer.name}' ({type(layer).__name__}) has no weight '{weight}'. "
        f"Did you mean {' or '.join(repr(name) for name in close or names[:3])}?"
    )


def owner_of(variable: keras.Variable, layers: Iterable[keras.Layer]) -> Owner | None:
    """The layer among `layers`, or below one of them, that holds this very variable."""
    for layer in layers:
        for place in walk(layer):
            standing = substitutes(place.layer)
            for name, held in own_weights(place.layer):
                if held is variable or standing.get(name) is variable:
                    return Owner(place.layer, name, held)
    return None


def flat(path: Path) -> Path:
    """A path with what a list or dictionary adds (`blocks/0`) in segments of its own."""
    return tuple("/".join(path).split("/")) if path else ()
