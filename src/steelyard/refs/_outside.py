"""Reading a weight whose layer is no part of the model that runs.

The value is always the live one. What cannot be right is refused: training a model through a
weight that it does not train or save, and exporting a weight as a frozen constant.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from steelyard.errors import ForeignOwnerError
from steelyard.live import (
    bring_back,
    dtype_of,
    holds,
    is_initialized,
    mapped_value,
    own_dtype,
    stored,
    ultimate,
    unmapped,
)
from steelyard.refs import _stack
from steelyard.refs._owner import Owner

if TYPE_CHECKING:
    from steelyard.refs._ref import WeightRef


def would_be_constant(variable: keras.Variable) -> bool:
    """Whether JAX would bake the present value of a variable into the program that it compiles.

    Or what its initializer gives, if a trainer has the value.
    """
    if keras.backend.backend() != "jax":
        return False
    return any(unmapped(part) or not is_initialized(part) for part in ultimate(variable))


def bring_up_to_date() -> None:
    """While `fit` runs on JAX, the values are with the trainer, and the variables have none."""
    if keras.backend.backend() == "jax":
        for model in _stack.fitting():
            if isinstance(model, keras.Model):
                model.jax_state_sync()


def check(reference: WeightRef, owner: Owner, reader: keras.Layer | None) -> None:
    """Refuses to train or export a model that lacks the layer whose weight it reads.

    Nothing is refused where nothing is lost: a weight that is frozen, a reference that lets no
    gradient through, a model that is merely called while another one trains.

    Args:
        reference: what is being read.
        owner: where that is.
        reader: the outermost layer that is running, if any.

    Raises:
        ForeignOwnerError: the model is being trained or exported.
    """
    exporters = _stack.exporters()
    if exporters and not any(owner.is_in(model) for model in exporters):
        raise ForeignOwnerError(_refusal("exported", exporters[0], owner))
    if reference.stops_gradient or not owner.is_trainable() or reader is None:
        return
    trainers = [model for model in _stack.trainers() if holds(model, reader)]
    if trainers and not any(owner.is_in(model) for model in trainers):
        raise ForeignOwnerError(_refusal("trained", trainers[0], owner))


def is_trained(reference: WeightRef, owner: Owner, model: keras.Layer) -> bool:
    """Whether training `model` moves what a reference reads, by the gradient of what it gives."""
    if reference.stops_gradient or not owner.is_in(model):
        return False
    parts: Iterable[keras.Variable] = [owner.variable]
    if owner.layer is not None:
        if not owner.layer.trainable:
            return False
        parts = stored(owner.layer, owner.name, owner.variable).values()
    return any(part.trainable for part in parts)


def is_of_now(variable: keras.Variable) -> bool:
    """Whether a read gives the value of the moment at which the running code is carried out.

    JAX compiles code that may run much later. Then nobody knows, unless the values are arguments of
    that code, or the step that it belongs to can be told.
    """
    if keras.backend.backend() != "jax" or not _in_trace():
        return True
    known = all(mapped_value(part) is not None for part in ultimate(variable))
    return known or bool(_stack.values_in_step())


def _in_trace() -> bool:
    import jax

    return isinstance(keras.ops.ones(()), jax.core.Tracer)


def _refusal(doing: str, model: keras.Layer, owner: Owner) -> str:
    harm = {
        "trained": f"training '{model.name}' would neither train nor save it",
        "exported": "the export would freeze its present value without a word",
    }[doing]
    name = "owner" if owner.layer is None else owner.layer.name
    remedies = (
        f"Use the layer in the model, or hold it there (`model.{name} = layer`, before `compile`)"
    )
    if doing == "trained":
        remedies += "; or, if it shall only be read, borrow it with `stop_gradient=True`"
    return (
        f"Model '{model.name}' is being {doing} and reads {owner.described()} is no part of it: "
        f"{harm}. {remedies}."
    )


def read_live(owner: Owner, read: Callable[[], Any]) -> Any:
    """Reads a weight that a compiled JAX program was not handed.

    As the step that runs has it, if it is a weight of the model that takes the step; or else from
    the host, at each run.
    """
    import jax

    in_step, tracing = _stack.values_in_step(), _in_trace()

    def now(variable: keras.Variable) -> Any:
        value = mapped_value(variable)
        value = in_step.get(id(variable)) if value is None else value
        if value is not None or not tracing:
            return value
        spec = jax.ShapeDtypeStruct(tuple(variable.shape), dtype_of(variable))
        return jax.pure_callback(lambda: on_host(variable), spec)

    def on_host(variable: keras.Variable) -> np.ndarray:
        if owner.layer is not None:
            bring_back(owner.layer, [variable])
        with own_dtype():
            return np.asarray(variable.value)

    parts = {owner.name: owner.variable}
    if owner.layer is not None:
        parts = stored(owner.layer, owner.name, owner.variable)
    values = [(part, now(part)) for part in parts.values()]
    with keras.StatelessScope([(part, value) for part, value in values if value is not None]):
        return read()
