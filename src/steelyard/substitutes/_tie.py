"""`tie`: a layer computes with another layer's weight in the place of its own."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from steelyard.errors import (
    SteelyardError,
    SubstituteError,
    TargetError,
    UnboundReferenceError,
    UnbuiltOwnerError,
)
from steelyard.live import Substitute, assign, producer, stored, substitutes
from steelyard.refs import Owner, WeightRef, ref
from steelyard.substitutes._keep import kind, rewrite
from steelyard.substitutes._ledger import ledger_of
from steelyard.substitutes._place import refuse_codes, stand_in, substitute_for
from steelyard.substitutes._rewrite import Rewrite

TRANSPOSE = "transpose"


def tie(
    layer: Any,
    weight: str = "kernel",
    *,
    to: Any,
    transform: str | Callable[[Any], Any] | None = None,
) -> Any:
    """Ties a weight of a layer to another layer's: that one is used, trained and saved for both.

    The layer's own variable is gone: one owner, one copy on disk, one optimizer slot. Keras saves,
    loads, clones and exports the layer as ever; LoRA and quantization of the owner show through.

    Args:
        layer: the layer whose weight it is, of any class, built or not; or its symbolic output; or
            a model or layer above it, with the address of the weight from there on.
        weight: the name or address of the weight: `"kernel"`, `"cell/kernel"`, `"query/kernel"`.
        to: whose weight: a reference (`sy.ref`), or what `sy.ref` takes; a layer means its weight
            of the same name.
        transform: None; `"transpose"`, which reverses the axes; or a function of the value, made of
            `keras.ops`. To be saved, a function must be registered with Keras.

    Returns:
        The same layer.

    Raises:
        ShapeMismatchError: the shapes do not fit; says both.
        SubstituteError: the tie would make a circle, or the weight is tied or parametrized already.
        UnknownAddressError: the layer has no such weight.

    Example:
        >>> import keras, steelyard as sy
        >>> inputs = keras.Input((5,), dtype="int32")
        >>> table = keras.layers.Embedding(100, 8, name="table")
        >>> head = keras.layers.Dense(100, use_bias=False, name="head")
        >>> model = keras.Model(inputs, head(table(inputs)))
        >>> head = sy.tie(head, "kernel", to=sy.ref(table, "embeddings"), transform="transpose")
        >>> model.count_params()
        800
    """
    layer = layer_meant(layer)
    if not (transform is None or transform == TRANSPOSE or callable(transform)):
        raise SubstituteError(
            f"`transform` is None, 'transpose' or a function of the value. Received: {transform!r}"
        )
    reference = to if isinstance(to, WeightRef) else ref(to, weight)
    with contextlib.suppress(SteelyardError):  # an address may be one in this very model
        reference.target.resolve(layer, layer)
    rewrite(layer, weight, Tie(reference, transform))
    return layer


def layer_meant(layer: Any) -> keras.Layer:
    """The layer that a user hands over, as itself or as its output."""
    if isinstance(layer, keras.KerasTensor):
        step = producer(layer)
        if step is not None and isinstance(step.operation, keras.Layer):
            return step.operation
    if not isinstance(layer, keras.Layer):
        raise TargetError(
            "A Keras layer or model is wanted here, or the symbolic output of a layer. Received an "
            f"object of type {type(layer).__name__}."
        )
    return layer


@kind
class Tie(Rewrite):
    """A weight that is another layer's; see `tie`. Also the recipe of its substitute."""

    def __init__(self, reference: WeightRef, transform: Any) -> None:
        self._reference = reference
        self._transform = transform
        self._stops = False

    # --- as a rewrite ---------------------------------------------------------------------------

    @property
    def references(self) -> list[WeightRef]:
        """The reference to the other layer's weight."""
        return [self._reference]

    def kept_by(self, keeper: keras.Layer) -> None:
        """Counts the way to the other layer from `keeper`."""
        self._reference = self._reference.for_holder(keeper)

    def install(self, site: keras.Layer, name: str) -> None:
        """Puts the other layer's weight in the place of the site's own."""
        ledger = ledger_of(site)
        assert ledger is not None
        refuse_codes(site, name)
        before = substitute_for(site, name)
        self._refuse_circle(site, name)
        if isinstance(before, Substitute):
            raise SubstituteError(
                f"Weight '{name}' of layer '{site.name}' ({type(site).__name__}) is tied or "
                f"parametrized already. Make it independent first: `sy.bake(layer, '{name}')`."
            )
        # Under LoRA the base is frozen: what is borrowed is then read, not trained, from here.
        self._stops = bool(getattr(site, "lora_enabled", False)) and not before.trainable
        substitute = Substitute.standing_for(before, self, site)
        with contextlib.suppress(UnbuiltOwnerError, UnboundReferenceError):
            if self._owner() is not None:
                substitute.worked_out()  # says both shapes if they do not fit
        stand_in(site, name, substitute, ledger, keep=False)

    def repeats(self, other: Rewrite) -> bool:
        """Whether `other` ties to the same weight in the same way; code that runs on a load does.

        What was read from a config and knows its layer by a way only gives way to code.
        """
        if not isinstance(other, Tie) or other._transform != self._transform:
            return False
        mine, others = self._owner(), other._owner()
        if mine is None or others is None:
            return other._reference.layer is None or self._reference.layer is None
        return mine.layer is others.layer and mine.name == others.name

    def get_config(self) -> dict[str, Any]:
        """The tie as plain text and numbers."""
        return {
            "address": self.address,
            "to": self._reference.get_config(),
            "transform": keras.saving.serialize_keras_object(self._transform),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Tie:
        """Reads what `get_config` wrote."""
        transform = config["transform"]
        if isinstance(transform, dict):
            transform = keras.saving.deserialize_keras_object(transform)
        return cls(WeightRef.from_config(config["to"]), transform)

    def _refuse_circle(self, site: keras.Layer, name: str) -> None:
        owner, seen = self._owner(), 0
        while owner is not None and owner.layer is not None and seen < 100:
            if owner.layer is site and owner.name == name:
                raise SubstituteError(
                    f"Weight '{name}' of layer '{site.name}' ({type(site).__name__}) cannot be tied"
                    f" to '{self._reference.address}': that is worked out from this one."
                )
            standing: Any = substitutes(owner.layer).get(owner.name)
            while standing is not None and not isinstance(standing.recipe, Tie):
                below = standing.recipe.variables()[:1]
                standing = below[0] if below and isinstance(below[0], Substitute) else None
            owner, seen = (standing.recipe._owner() if standing is not None else None), seen + 1

    def _owner(self) -> Owner | None:
        try:
            return self._reference.owner()
        except SteelyardError:
            return None

    # --- as a recipe ----------------------------------------------------------------------------

    def value(self, fresh: dict[str, Any]) -> Any:
        """The other layer's effective weight of now, transformed."""
        value = self._reference()
        if self._transform == TRANSPOSE:
            value = ops.transpose(value)
        elif self._transform is not None:
            value = self._transform(value)
        return ops.stop_gradient(value) if self._stops else value

    def update(self) -> dict[str, Any]:
        """Nothing: the owner's own calls take its steps."""
        return {}

    def variables(self) -> list[keras.Variable]:
        """The variables that make up the other layer's weight."""
        owner = self._owner()
        if owner is None:
            return []
        if owner.layer is None:
            return [owner.variable]
        return list(stored(owner.layer, owner.name, owner.variable).values())

    def same_as(self) -> keras.Variable | None:
        """The other layer's variable, if nothing is done to its value."""
        owner = self._owner()
        if owner is None or self._transform is not None or not self._reference.is_plain:
            return None
        if owner.layer is None:
            return owner.variable
        return substitutes(owner.layer).get(owner.name, owner.variable)

    def assign(self, value: Any) -> None:
        """Changes the other layer's weight."""
        owner = self._owner()
        if owner is None or callable(self._transform) or not self._reference.is_plain:
            raise SubstituteError(
                f"'{self.address}' is tied to '{self._reference.address}', which cannot be worked "
                "back from a value. Assign to that one instead."
            )
        value = ops.transpose(value) if self._transform == TRANSPOSE else value
        if owner.layer is None:
            owner.variable.assign(value)
        else:
            where = self._reference.address
            assign(where, owner.layer, owner.name, owner.variable, value)

    def trainable(self) -> bool:
        """Whether the other layer's weight trains."""
        owner = self._owner()
        return not self._stops and (owner is None or owner.is_trainable())

    def freeze(self, frozen: bool) -> None:
        """Lets no gradient through from this layer: the owner is not this one's to freeze."""
        self._stops = frozen
