"""Calling a layer with other values for some of its weights, and with all else as it is.

Keras reads a variable through the stateless call that runs, if one does. Here such a call is laid
over what runs already: it answers for the weights that were given values, and lets everything else
through, so that nothing else is different: where values are read from, what is updated (batch
statistics, seeds), which losses are added.

Longer than other files, because what is laid over a call and what lets all else through must be
seen to agree side by side.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import keras
from keras import ops

from steelyard.address import nearest
from steelyard.errors import (
    AmbiguousAddressError,
    QuantizationError,
    ShapeMismatchError,
    SteelyardError,
    UnknownAddressError,
)
from steelyard.live import _effective, _source
from steelyard.live._assign import is_coded
from steelyard.live._keras import (
    call_root,
    dtype_of,
    hand_out_losses,
    outside_stateless_calls,
    own_dtype,
    own_value,
    recomputes,
)
from steelyard.live._quantized import read
from steelyard.live._substitute import Substitute, substitutes
from steelyard.live._walk import Place, holds, walk


def call_with(
    layer: keras.Layer, inputs: Iterable[Any], weights: Mapping[str, Any], kwargs: dict[str, Any]
) -> Any:
    """What `layer(*inputs, **kwargs)` gives when some of its weights have other values.

    Args:
        layer: A layer or model; if it is not built, this call builds it.
        inputs: As the layer is called with.
        weights: The values, by the addresses of the weights in the layer: tensors of the running
            backend or arrays.
        kwargs: As the layer is called with.

    Returns:
        The output, differentiable in the values.

    Raises:
        UnknownAddressError, AmbiguousAddressError: If no weight, or more than one, is named so.
        ShapeMismatchError: If a value has another shape than its weight.
        QuantizationError: If a weight is stored as codes.
        SteelyardError: If a value would not be what the layer computes with.
    """
    if not weights:
        return layer(*inputs, **kwargs)
    places = build(layer, inputs, kwargs)
    with _Overlay(layer, _stand_ins(layer, places, weights)):
        return layer(*inputs, **kwargs)


def build(layer: keras.Layer, inputs: Iterable[Any], kwargs: dict[str, Any]) -> list[Place]:
    """Builds a layer for these inputs, if it or a part of it is not; gives the layer's parts.

    Inside a stateless call a new variable has no value yet, so it must be there before.
    """
    places = walk(layer)
    if layer.built and not _source._unbuilt(places):
        return places
    try:
        output_spec(layer, inputs, kwargs)
        return walk(layer)
    except SteelyardError:
        raise
    except Exception as error:
        raise SteelyardError(
            f"{_described(layer)} is not built, and its weights cannot be made from the shapes of "
            f"its inputs. Call it once without `sy.call` first. Keras says: {error}"
        ) from error


def output_spec(layer: keras.Layer, inputs: Iterable[Any], kwargs: dict[str, Any]) -> Any:
    """The symbolic output of a plain call, of which no graph knows; builds the layer."""
    arguments = keras.tree.map_structure(_symbolic, (list(inputs), kwargs))
    return _PlainCall(layer).compute_output_spec(*arguments[0], **arguments[1])


def spec_with(
    layer: keras.Layer, inputs: Iterable[Any], weights: Mapping[str, Any], kwargs: dict[str, Any]
) -> Any:
    """The symbolic output of `call_with`, as far as names and shapes let it; builds the layer."""
    spec = output_spec(layer, inputs, kwargs)
    for name, weight in find_named(layer, walk(layer), weights).items():
        check_shape(name, weight, weights[name])
    return spec


class _PlainCall(keras.Operation):
    """The call of a layer as an operation: `Layer.compute_output_spec` does not build."""

    def __init__(self, layer: keras.Layer) -> None:
        super().__init__()
        self.layer = layer

    def call(self, *args: Any, **kwargs: Any) -> Any:
        return self.layer(*args, **kwargs)


def _symbolic(value: Any) -> Any:
    if isinstance(value, keras.Variable) or ops.is_tensor(value) or hasattr(value, "__array__"):
        return keras.KerasTensor(tuple(value.shape), keras.backend.standardize_dtype(value.dtype))
    return value


# --- From names to variables ----------------------------------------------------------------------


class Weight(NamedTuple):
    """A weight that a name means: the layer that holds it, and what that reads it from."""

    layer: keras.Layer
    name: str
    variable: keras.Variable

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the value that it takes."""
        return tuple(self.variable.shape)

    def lora(self) -> tuple[keras.Variable, ...]:
        """The two LoRA factors that the layer adds to it, or nothing."""
        stands = isinstance(self.variable, Substitute)
        return _effective._lora(self.layer, self.variable.name if stands else self.name)


def find_named(layer: keras.Layer, places: list[Place], names: Iterable[str]) -> dict[str, Weight]:
    """The weights that names mean in a layer with these parts, each by its name.

    A name is an address inside the layer or the end of one, as long as no other weight's ends like
    that; or the attribute of the layer that holds the weight.

    Raises:
        UnknownAddressError: If a name means nothing; the message has the nearest.
        AmbiguousAddressError: If it means several, or two names mean the same.
        QuantizationError: If a weight is stored as codes.
        SteelyardError: If the layer makes something else of the weight before it uses it.
    """
    rows = [row for listed in _source._rows(places) for row in listed]
    found: dict[str, Weight] = {}
    meant: dict[int, str] = {}
    for name in names:
        row = _row(layer, rows, name)
        standing = substitutes(row.layer).get(row.name)
        weight = Weight(row.layer, row.name, row.variable if standing is None else standing)
        if (other := meant.setdefault(id(weight.variable), name)) != name:
            raise AmbiguousAddressError(
                f"{other!r} and {name!r} are the same weight of {_described(layer)}. Give one."
            )
        _check_is_used(name, weight)
        found[name] = weight
    return found


def _row(layer: keras.Layer, rows: list[Any], name: str) -> Any:
    if not isinstance(name, str):
        raise UnknownAddressError(
            f"Weights are named by text, such as 'kernel'. Received: {name!r} (of type "
            f"{type(name).__name__})"
        )
    held = vars(layer).get(name)
    ending = f"/{name}"
    for meets in (
        lambda row, address: address == name,
        lambda row, address: row.variable is held,
        lambda row, address: address.endswith(ending),
    ):
        fit = [row for row in rows if any(meets(row, a) for a in (row.address, *row.aliases))]
        if len(fit) == 1:
            return fit[0]
        if fit:
            listed = ", ".join(repr(row.address) for row in fit)
            raise AmbiguousAddressError(
                f"{len(fit)} weights of {_described(layer)} are named {name!r}: {listed}. Write "
                "one of these."
            )
    known = [address for row in rows for address in (row.address, *row.aliases)]
    near = nearest(name, known) or known[:3]
    hint = f"Did you mean {' or '.join(map(repr, near))}?" if near else "It has no weights at all."
    raise UnknownAddressError(f"{_described(layer)} has no weight {name!r}. {hint}")


def _check_is_used(name: str, weight: Weight) -> None:
    """Refuses a weight whose variable is not what the layer computes with."""
    layer, variable = weight.layer, weight.variable
    if is_coded(layer, variable):
        raise QuantizationError(
            f"Weight {name!r} of {_described(layer)} is stored as {dtype_of(variable)} codes "
            f"({layer.quantization_mode}), which no other value can stand for. Call the layer as "
            "it was before `quantize`."
        )
    if isinstance(variable, Substitute) or weight.lora():
        return
    with own_dtype():
        made = _made_by_property(layer, weight.name)
        if made is not None and made is not variable and made is not variable.value:
            raise SteelyardError(
                f"{type(layer).__name__} makes another tensor of its variable {name!r} before it "
                "computes with it, so a value for the variable would not be the value that it "
                "uses. Let its property return the variable itself."
            )


def _made_by_property(layer: keras.Layer, name: str) -> Any:
    """What a property of a user's class gives for the weight; None if there is no such property."""
    for kind in type(layer).__mro__:
        if name in vars(kind):
            of_keras = kind.__module__.partition(".")[0] == "keras"
            is_mine = isinstance(vars(kind)[name], property) and not of_keras
            value = getattr(layer, name) if is_mine else None
            return value if ops.is_tensor(value) else None
    return None


def _described(layer: keras.Layer) -> str:
    return f"layer {layer.name!r} ({type(layer).__name__})"


# --- From values to what stands for them ----------------------------------------------------------


def _stand_ins(
    layer: keras.Layer, places: list[Place], weights: Mapping[str, Any]
) -> dict[int, Any]:
    """What the layer must find where it reads each variable, by the variable's identity."""
    named = find_named(layer, places, weights)
    _refuse_recomputing(places, named)
    values = {id(w.variable): _value(name, w, weights[name]) for name, w in named.items()}
    return {id(w.variable): _less_lora(w, values) for w in named.values()}


def _value(name: str, weight: Weight, given: Any) -> Any:
    """The value as a tensor of the weight's shape and dtype, as `Variable.assign` would have it."""
    with own_dtype():
        given = given.value if isinstance(given, keras.Variable) else given
    check_shape(name, weight, given)
    try:
        value = ops.convert_to_tensor(given, dtype_of(weight.variable))
    except (TypeError, ValueError) as error:
        raise SteelyardError(
            f"What was given for weight {name!r} of {_described(weight.layer)} cannot be made a "
            f"tensor of dtype {dtype_of(weight.variable)}. Received: {given!r}"
        ) from error
    check_shape(name, weight, value)
    if not _is_whole(value.shape):
        import tensorflow as tf  # the only backend whose shapes may be known in part

        value = tf.ensure_shape(value, weight.shape)
    return value


def check_shape(name: str, weight: Weight, value: Any) -> None:
    """Refuses a value, as far as its shape is known yet, that is not of its weight's shape.

    Raises:
        ShapeMismatchError: so it is.
    """
    shape = getattr(value, "shape", None)
    if shape is None or getattr(shape, "rank", 0) is None:
        return  # a list of numbers, or a tensor of any rank
    shape = tuple(shape)
    if len(shape) != len(weight.shape) or any(
        size not in (None, wanted) for size, wanted in zip(shape, weight.shape, strict=True)
    ):
        raise ShapeMismatchError(
            f"Weight {name!r} of {_described(weight.layer)} has shape {weight.shape}. Received a "
            f"value of shape {shape}."
        )


def _is_whole(shape: Any) -> bool:
    """Whether each size is known; TensorFlow may not even know their number."""
    return getattr(shape, "rank", 0) is not None and None not in tuple(shape)


def _less_lora(weight: Weight, values: dict[int, Any]) -> Any:
    """The value less what the layer will add to it."""
    value = values[id(weight.variable)]
    factors = weight.lora()
    if not factors:
        return value
    with own_dtype():
        a, b = (values[id(f)] if id(f) in values else read(f) for f in factors)
        delta = (weight.layer.lora_alpha / weight.layer.lora_rank) * ops.matmul(a, b)
        return ops.cast(ops.subtract(value, delta), value.dtype)


def _refuse_recomputing(places: list[Place], named: dict[str, Weight]) -> None:
    """Refuses what TensorFlow and torch would run again, for the gradient, after the call."""
    if keras.backend.backend() == "jax":
        return
    for place in [place for place in places if recomputes(place.layer)]:
        for name, weight in named.items():
            if holds(place.layer, weight.layer):
                raise SteelyardError(
                    f"{_described(place.layer)} was made in a `keras.RematScope`: it runs again "
                    f"when the gradient is taken, and would then find its stored {name!r} and not "
                    "the value that was given. Make the layer outside of the scope."
                )


# --- The call -------------------------------------------------------------------------------------


class _Overlay(keras.StatelessScope):
    """A scope that answers for some variables and lets all else through.

    A plain `StatelessScope` takes the place of the one around it: variables that it was not handed
    would have the values of outside (on JAX, constants of the compiled program), what is assigned
    would stay in it, and losses would be dropped.

    Args:
        layer: The layer that is called.
        values: What is read for a variable, by its identity.
    """

    def __init__(self, layer: keras.Layer, values: dict[int, Any]) -> None:
        super().__init__(collect_losses=True)
        self.layer = layer
        self.state_mapping = values
        self.around: Any = None
        self.stateless: Any = None
        self.staged = False

    def __enter__(self) -> _Overlay:
        super().__enter__()
        self.around = self.stateless = self.original_scope
        while isinstance(self.stateless, _Overlay):
            self.stateless = self.stateless.around
        if self.stateless is not None:
            self.collect_losses = self.stateless.collect_losses
            self.losses = self.stateless.losses
        self.staged = _is_staged()
        return self

    def __exit__(self, *args: Any) -> None:
        super().__exit__(*args)
        if self.stateless is None and self.losses:
            places = walk(self.layer)
            left = hand_out_losses((place.layer for place in places), self.losses)
            if left and (root := call_root()) is not None:  # of a layer that this one only calls
                hand_out_losses((place.layer for place in walk(root)), left)

    def get_current_value(self, variable: keras.Variable) -> Any:
        if id(variable) in self.state_mapping:
            return self.state_mapping[id(variable)]
        if self.around is not None:
            return self.around.get_current_value(variable)
        return own_value(variable)

    def add_update(self, update: tuple[keras.Variable, Any]) -> None:
        variable, value = update
        if id(variable) in self.state_mapping:
            super().add_update(update)
        elif self.around is not None:
            self.around.add_update(update)
        elif not self._would_leak(variable, value):
            with outside_stateless_calls():
                variable.assign(value)

    def _would_leak(self, variable: keras.Variable, value: Any) -> bool:
        """Whether JAX traces a loop of Keras, which drops what is assigned in it.

        Raises:
            SteelyardError: If the value belongs to a trace of the user's, and must not outlive it.
        """
        if keras.backend.backend() != "jax" or keras.config.is_nnx_enabled():
            return False
        import jax

        if not isinstance(value, jax.core.Tracer):
            return False
        if _is_staged() and not self.staged:
            return True
        raise SteelyardError(
            f"Inside a function that JAX transforms, {_described(self.layer)} would assign a "
            f"traced value to its variable {variable.path!r}. Call it in a `keras.StatelessScope`, "
            "which keeps what is assigned, or with `training=False`."
        )


def _is_staged() -> bool:
    """Whether JAX records operations rather than computing them."""
    if keras.backend.backend() != "jax":
        return False
    import jax

    return isinstance(ops.ones(()), jax.core.Tracer)
