"""`penalize`: a regularizer on the weights of a model that is built already."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from steelyard.errors import ShapeMismatchError, SubstituteError
from steelyard.live import LiveSource, dtype_of, own_dtype
from steelyard.refs import WeightRef, find_weight, ref
from steelyard.selection import Weights
from steelyard.substitutes._keep import kind, rewrite
from steelyard.substitutes._ledger import ledger_of
from steelyard.substitutes._rewrite import Rewrite
from steelyard.substitutes._tie import layer_meant


def penalize(model: Any, pattern: Any, penalty: Any, *, strength: float = 1.0) -> Any:
    """Adds a penalty on weights of a built model to its loss, as if it had been built with it.

    Each weight is penalized by itself, once a step however often its layer is called, by the value
    that the layer computes with. The penalty is saved, loaded and cloned with the model, and
    `sy.references` lists it. A weight that is frozen later is not penalized while it is.

    Args:
        model: a model or layer.
        pattern: which of its weights, as `sy.weights(model).select` reads it: `"**/kernel"`.
        penalty: a Keras regularizer, its name (`"l2"`), or a function from the value, a tensor of
            the weight's shape, to a scalar. To be saved, a function must be registered with Keras.
        strength: what the penalty is multiplied by.

    Returns:
        The same model.

    Raises:
        UnknownAddressError: the pattern matches nothing.
        SubstituteError: a weight that it matches does not train, so that it would do nothing.
        ShapeMismatchError: the penalty of a value is no scalar.

    Example:
        >>> import keras, steelyard as sy
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
        >>> model = sy.penalize(model, "**/kernel", keras.regularizers.L2(0.01))
        >>> len(model.losses)
        1
    """
    model = layer_meant(model)
    source = LiveSource(model)
    chosen = Weights(source, source.specs(), source.note, source.also).select(pattern)
    frozen = [weight.address for weight in chosen if not weight.trainable]
    if frozen:
        raise SubstituteError(
            f"{len(frozen)} of {len(chosen)} weights that {pattern!r} matches do not train "
            f"({', '.join(map(repr, frozen[:3]))}), so a penalty on them would do nothing. Let "
            "them train first, or name those that do."
        )
    changes = [(weight.address, Penalize(_as_penalty(penalty), strength)) for weight in chosen]
    for address, change in changes:
        owner = find_weight(model, address)
        assert owner.layer is not None
        change.check(owner.value(), address)
    for address, change in changes:
        rewrite(model, address, change)
    return model


def _as_penalty(penalty: Any) -> Any:
    if isinstance(penalty, (str, dict)):
        return keras.regularizers.get(penalty)
    if callable(penalty) and not isinstance(penalty, (type, keras.constraints.Constraint)):
        return penalty
    raise SubstituteError(
        "A penalty is a Keras regularizer, its name such as 'l2', or a function from a value to a "
        f"scalar. Received: {penalty!r}"
    )


@kind
class Penalize(Rewrite):
    """A penalty on one weight; see `penalize`."""

    def __init__(self, penalty: Any, strength: float) -> None:
        self._penalty = penalty
        self._strength = float(strength)
        self._reference: WeightRef | None = None

    def check(self, value: Any, address: str) -> None:
        """Refuses a penalty that is no scalar."""
        loss = self._penalty(value)
        shape = tuple(getattr(loss, "shape", ()))
        if shape != ():
            raise ShapeMismatchError(
                f"A penalty is a scalar, and that of '{address}' of shape {tuple(value.shape)} has "
                f"shape {shape}."
            )

    def install(self, site: keras.Layer, name: str) -> None:
        """Has the site's loss count the penalty."""
        self._reference = ref(site, name).held_by(site)
        ledger = ledger_of(site)
        assert ledger is not None
        ledger.listed.append(self._reference)

    def loss(self, model: keras.Layer) -> Any:
        """The penalty of now; None while the weight is frozen."""
        assert self._reference is not None
        owner = self._reference.owner()
        if owner is None or not owner.is_trainable():
            return None
        with own_dtype():
            value = self._reference.read_in(model)
            if dtype_of(owner.variable) in ("float16", "bfloat16"):
                value = ops.cast(value, "float32")
            return self._strength * self._penalty(value)

    def get_config(self) -> dict[str, Any]:
        """The penalty as plain text and numbers."""
        return {
            "address": self.address,
            "penalty": keras.saving.serialize_keras_object(self._penalty),
            "strength": self._strength,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Penalize:
        """Reads what `get_config` wrote."""
        penalty = keras.saving.deserialize_keras_object(config["penalty"])
        return cls(penalty, config["strength"])

    def repeats(self, other: Rewrite) -> bool:
        """Whether code does again, on a load, what the config says that it did."""
        return isinstance(other, Penalize) and self.by_code and other.by_code
