"""`WeightValue`: another layer's weight, as a tensor of a functional graph."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from steelyard.errors import TargetError
from steelyard.layers.borrower import Borrower
from steelyard.live import calls, holders_around
from steelyard.refs import WeightRef, ref, upstream


@keras.saving.register_keras_serializable(package="steelyard")
class WeightValue(Borrower):
    """Gives another layer's weight, whatever it is called on; `sy.value` makes it.

    Args:
        of: whose weight: a layer, its symbolic output, a `keras.Variable` of it, an address, or a
            reference.
        weight: the name of the weight in the layer.
        cast: the dtype in which to give it, or None for the weight's own.
        stop_gradient: let no gradient flow back to the owner.
        **kwargs: as for any Keras layer.

    Output shape: that of the weight, without a batch axis.
    """

    def __init__(
        self,
        of: Any,
        weight: str = "kernel",
        cast: str | None = None,
        stop_gradient: bool = False,
        **kwargs: Any,
    ) -> None:
        # Nothing is computed from the inputs, so they need no cast.
        super().__init__(autocast=False, **{"dtype": "float32", **kwargs})
        self.cast = cast
        self.weight = self.borrow(of, weight, stop_gradient=stop_gradient)
        self.stop_gradient = stop_gradient
        self.supports_masking = True

    @classmethod
    def on_symbol(
        cls, of: Any, weight: str, on: Any, dtype: str | None, stop_gradient: bool, name: str | None
    ) -> keras.KerasTensor:
        """The weight, in the graph of a symbolic tensor; arguments as of `sy.value`."""
        reference = ref(of, weight)
        on = _place(of, reference) if on is None else on
        if not isinstance(on, keras.KerasTensor):
            raise TargetError(
                "`on` is a symbolic tensor of the functional graph in which the weight is wanted, "
                f"such as an output of a layer. Received an object of type {type(on).__name__}."
            )
        if dtype == "compute":
            dtype = _compute_dtype(reference)
        elif dtype is not None:
            dtype = keras.backend.standardize_dtype(dtype)
        return cls(reference, weight, dtype, stop_gradient, name=name)(on)

    def call(self, inputs: Any) -> Any:
        """The weight."""
        value = self.weight()
        if self.stop_gradient:
            value = ops.stop_gradient(value)
        return value if self.cast is None else ops.cast(value, self.cast)

    def compute_output_spec(self, inputs: Any, **kwargs: Any) -> keras.KerasTensor:
        """Shape and dtype of the weight."""
        return keras.KerasTensor(self.weight.shape, self.cast or self.weight.dtype)

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> None:
        """No mask: the weight is not what the inputs were."""


def _place(of: Any, reference: WeightRef) -> keras.KerasTensor:
    """A tensor of the graph in which the layer was called.

    Raises:
        TargetError: the layer was called in no graph, or in several.
    """
    if isinstance(of, keras.KerasTensor):
        return of
    layer = reference.layer
    if layer is None:
        raise TargetError(
            f"`sy.value` does not know yet where '{reference.address}' is. Say in which graph the "
            "weight is wanted, by a tensor of it: `sy.value(…, on=tensor)`; or hand over the layer."
        )
    found: dict[frozenset[str], keras.KerasTensor] = {}
    # A layer inside a wrapper, or in a model that was called as a whole, has no call of its own.
    for holder in holders_around(layer):
        for step in calls(holder):
            if step.outputs:
                found.setdefault(_inputs(step.outputs), step.outputs[0])
    everywhere = [place for place in found if all(place <= other for other in found)]
    if everywhere:
        return found[everywhere[0]]
    who = f"Layer '{layer.name}' ({type(layer).__name__})"
    if not found:
        raise TargetError(
            f"{who} was never called on a symbolic tensor, so that its weight is in no functional "
            "graph. Call it first, or say in which graph the weight is wanted: `sy.value(layer, "
            "on=tensor)`. Outside of graphs, `sy.ref(layer)()` gives the value."
        )
    graphs = "; ".join(", ".join(repr(name) for name in sorted(place)) for place in found)
    raise TargetError(
        f"{who} was called, by itself or in a model, on different inputs ({graphs}). Say in which "
        "graph the weight is wanted, by a tensor of it: `sy.value(layer, on=tensor)`."
    )


def _inputs(tensors: list[Any]) -> frozenset[str]:
    """The names of the inputs that symbolic tensors depend on."""
    sources = [op for op in upstream(tensors) if not any(call.inputs for call in calls(op))]
    return frozenset(op.name for op in sources)


def _compute_dtype(reference: WeightRef) -> str:
    owner = reference.owner()
    if owner is None or owner.layer is None:
        return str(keras.config.dtype_policy().compute_dtype)
    return str(owner.layer.compute_dtype)
