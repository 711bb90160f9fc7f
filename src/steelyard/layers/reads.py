"""`Reads`: an edge in a functional graph."""

from __future__ import annotations

from typing import Any

import keras


@keras.saving.register_keras_serializable(package="steelyard")
class Reads(keras.layers.Layer):
    """Passes its first input on, and makes the others part of the model.

    A borrowing layer puts it before itself where the model would otherwise leave out the layer
    that it borrows from. As an ordinary layer of the graph it is kept by everything that keeps
    graphs: save, load, clone, export.

    Call it on a list of tensors: the first is returned unchanged.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"autocast": False, **kwargs})
        self.supports_masking = True

    def call(self, inputs: list[Any]) -> Any:
        """The first of `inputs`."""
        return inputs[0]

    def compute_output_spec(self, inputs: list[Any]) -> Any:
        """The spec of the first input."""
        first = inputs[0]
        return keras.KerasTensor(first.shape, first.dtype, sparse=first.sparse)

    def compute_mask(self, inputs: list[Any], previous_mask: Any = None) -> Any:
        """The mask of the first input."""
        return previous_mask[0] if isinstance(previous_mask, (list, tuple)) else previous_mask
