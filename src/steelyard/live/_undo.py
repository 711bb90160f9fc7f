"""Changing several variables, or none of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import keras

from steelyard.errors import SteelyardError
from steelyard.live._holders import holders_around
from steelyard.live._keras import is_initialized, own_dtype


class Undo:
    """What variables held, to be put back if a change of several comes to nothing."""

    def __init__(self) -> None:
        self._held: dict[int, tuple[keras.Variable, Any]] = {}

    def keep(self, variable: keras.Variable) -> None:
        """Notes what a variable holds; the first time counts."""
        if id(variable) not in self._held:
            with own_dtype():
                value = keras.ops.stop_gradient(keras.ops.copy(variable.value))
            self._held[id(variable)] = (variable, value)

    def put_back(self, variables: Iterable[keras.Variable] | None = None) -> None:
        """Gives variables what they held, bit for bit; all that were noted if none are named."""
        chosen = list(self._held) if variables is None else [id(v) for v in variables]
        for variable, value in [self._held[key] for key in chosen if key in self._held]:
            variable.assign(value)


def bring_back(layer: keras.Layer, variables: Iterable[keras.Variable]) -> None:
    """Sees to it that variables hold their values, and that a change of them is not lost.

    While `fit`, `evaluate` or `predict` runs on JAX, the values are with the trainer: a variable
    has none, and what is assigned to it is overwritten at the next step. `Callback.model` hands
    them back for its own model; for other ways to a model, this does.

    Args:
        layer: The layer that holds the variables.
        variables: The variables that are about to be read or changed.

    Raises:
        SteelyardError: If the values are nowhere to be had.
    """
    empty = [variable for variable in variables if not is_initialized(variable)]
    if not empty:
        return
    if keras.backend.backend() == "jax":
        for holder in holders_around(layer):
            if isinstance(holder, keras.Model):
                holder.jax_state_sync()
    if without := [variable.path for variable in empty if not is_initialized(variable)]:
        raise SteelyardError(
            f"Variable {without[0]!r} has no value now: a trainer or a traced function has it. "
            f"Do this between two steps or after them, from a callback or outside of `fit`."
        )
