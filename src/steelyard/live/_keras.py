"""Every private name of Keras that Steelyard leans on, each with the reason; nowhere else.

`tests/live/test_keras.py` touches each one, so that a Keras release that drops a name fails with
that name in the message.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import keras
from keras.src.backend.common import global_state
from keras.src.models.functional import Functional, functional_like_constructor
from keras.src.ops.function import make_node_key
from keras.src.saving.serialization_lib import SafeModeScope
from keras.src.utils.io_utils import ask_to_proceed_with_overwrite
from keras.src.utils.naming import to_snake_case
from keras.src.utils.python_utils import default
from keras.src.utils.python_utils import is_default as _is_default


@contextlib.contextmanager
def own_dtype() -> Iterator[None]:
    """A scope in which a variable reads in its own dtype.

    Inside the `call` of a mixed-precision layer Keras casts each float variable that is read.
    `Layer(autocast=False)` does not help the outermost layer, and there is no public scope. The
    class `AutocastScope`, given None, would also make `Variable.dtype` say float32 of all.
    """
    scope = global_state.get_global_attribute("autocast_scope")
    global_state.set_global_attribute("autocast_scope", None)
    try:
        yield
    finally:
        global_state.set_global_attribute("autocast_scope", scope)


def call_root() -> keras.Layer | None:
    """The outermost layer whose `__call__` is running in this thread, if any.

    Keras keeps it to hand `training` down; no public name tells a layer who called it.
    """
    context = global_state.get_global_attribute("current_call_ctx")
    return None if context is None else context.entry_layer


def in_shape_inference() -> bool:
    """Whether Keras only works out shapes now: no value that is computed here reaches anybody."""
    return global_state.get_global_attribute("symbolic_scope") is not None


def unmapped(variable: keras.Variable) -> bool:
    """Whether a stateless call runs that was not handed this variable.

    On JAX such a variable would be baked into the compiled program as a constant. The scope class
    is public, the running instance is not.
    """
    scope = global_state.get_global_attribute("stateless_scope")
    return scope is not None and scope.get_current_value(variable) is None


def is_graph_model(layer: Any) -> bool:
    """Whether the layer is a Functional or Sequential model, whose children go by their names.

    `keras.Sequential` is public; the class that `keras.Model(inputs, outputs)` gives is not.
    """
    return isinstance(layer, (Functional, keras.Sequential))


def sublayers(layer: keras.Layer) -> list[keras.Layer]:
    """The layers that this one tracks, in the order in which it came to hold them.

    `Model.layers` is public, but a plain layer has no such property.
    """
    tracked: list[keras.Layer] = layer._layers
    if not is_graph_model(layer):
        return list(tracked)
    found = list(layer.layers)
    known = {id(child) for child in [*found, getattr(layer, "_functional", None)]}
    return found + [child for child in tracked if id(child) not in known]


def is_set_up(layer: keras.Layer) -> bool:
    """Whether a layer has come far enough in its `__init__` to be asked what it tracks."""
    return "_layers" in vars(layer)


def is_auto_named(layer: keras.Layer) -> bool:
    """Whether Keras named the layer itself, by class and count: such a name changes on a reload."""
    stem = re.escape(to_snake_case(type(layer).__name__))
    return re.fullmatch(rf"{stem}(_\d+)?", layer.name) is not None


def own_variables(layer: keras.Layer) -> list[keras.Variable]:
    """The weights that the layer itself holds, without those of its sublayers.

    `Layer.weights` is public, but adds the sublayers' own.
    """
    return [*layer._trainable_variables, *layer._non_trainable_variables]


def attributes(layer: keras.Layer) -> dict[str, Any]:
    """The instance attributes of a layer, whichever backend's base class stores them."""
    held = dict(vars(layer))
    # torch's `Module` keeps submodules apart from the other attributes.
    held.update(held.pop("_modules", None) or {})
    for name in _BOOKKEEPING:
        held.pop(name, None)
    return held


# Lists that Keras keeps of what the user's own attributes hold already: no way to walk through.
_BOOKKEEPING = (
    "_layers",
    "_metrics",
    "_functional",
    "_operations",
    "_operations_by_depth",
    "_trainable_variables",
    "_non_trainable_variables",
    "_self_unconditional_checkpoint_dependencies",
    "_self_unconditional_dependency_names",
    "_torch_params",
    "_tracked",
    "_steelyard_substitutes",
)


def as_default(method: Any) -> Any:
    """Marks a method as one that a subclass may replace, as Keras marks its own.

    `Layer.compute_output_spec` traces `call` unless `compute_output_shape` was replaced.
    """
    return default(method)


def is_default(method: Any) -> bool:
    """Whether a method is one that Keras marked as its own, to tell whether it was replaced."""
    return bool(_is_default(method))


class Step(NamedTuple):
    """One call of an operation in a functional graph."""

    operation: Any
    inputs: list[Any]
    outputs: list[Any]


def producer(tensor: Any) -> Step | None:
    """The call that made a symbolic tensor (`KerasTensor` has no public way back)."""
    history = getattr(tensor, "_keras_history", None)
    if history is None or history.operation is None:
        return None
    return _step(history.operation._inbound_nodes[history.node_index])


def calls(operation: Any) -> list[Step]:
    """Each symbolic call of an operation; `Operation.output` shows the first one only."""
    return [_step(node) for node in operation._inbound_nodes]


def consumers(operation: Any) -> Iterator[Any]:
    """The operations that take an output of this one."""
    for node in operation._outbound_nodes:
        yield node.operation


def add_inputs(layer: keras.Layer, name: str, tensors: list[Any]) -> None:
    """Makes the last symbolic call of a layer depend on more tensors, as an argument `name`.

    A layer of its own in between would do this with public names, but it would also change the
    depth, and with it the order, of the other layers of the model, by which files are keyed.
    """
    node = layer._inbound_nodes[-1]
    given = node.arguments
    node.arguments = type(given)(*given.args, **{**given.kwargs, name: tensors})
    for tensor in tensors:
        tensor._keras_history.operation._outbound_nodes.append(node)


def dtype_of(variable: keras.Variable) -> str:
    """The dtype in which a variable is stored; `Variable.dtype` says what it is cast to now."""
    return keras.backend.standardize_dtype(variable._dtype)


def _step(node: Any) -> Step:
    return Step(node.operation, node.input_tensors, node.output_tensors)


@contextlib.contextmanager
def reopen(layer: keras.Layer) -> Iterator[None]:
    """Lets a built layer make one more variable.

    Keras locks a layer after `build`; a layer whose shape depends on another one may have to wait.
    """
    locked = layer._tracker.locked
    layer._tracker.unlock()
    try:
        yield
    finally:
        if locked:
            layer._tracker.lock()


def mapped_value(variable: keras.Variable) -> Any:
    """What the stateless call that runs holds for a variable; None where none does."""
    scope = global_state.get_global_attribute("stateless_scope")
    return None if scope is None else scope.get_current_value(variable)


def in_stateless_scope() -> bool:
    """Whether values live in a stateless call now: no variable can be given one outside of it."""
    return global_state.get_global_attribute("stateless_scope") is not None


def autocast(variable: keras.Variable, value: Any) -> Any:
    """A value, cast as Keras casts that of a variable inside the `call` of a mixed layer.

    What works out its own value must do by hand what `Variable.value` does on the way out.
    """
    return variable._maybe_autocast(value)


def in_training() -> bool:
    """Whether the layer call that runs was told to train, by itself or by a call around it.

    Keras keeps it to hand `training` down to layers whose `call` has no such argument.
    """
    context = global_state.get_global_attribute("current_call_ctx")
    return getattr(context, "training", None) is True


def place_of(layer: keras.Layer, variable: keras.Variable) -> tuple[bool, int] | None:
    """Where a layer keeps a variable: whether among those made trainable, and at which index.

    Files without names are written and read in this order, and no public name shows it.
    """
    for trains, held in (
        (True, layer._trainable_variables),
        (False, layer._non_trainable_variables),
    ):
        for index, candidate in enumerate(held):
            if candidate is variable:
                return trains, index
    return None


def put_at(layer: keras.Layer, variable: keras.Variable, place: tuple[bool, int]) -> None:
    """Makes a layer own a variable, at a place that `place_of` gave."""
    trains, index = place
    with reopen(layer):
        store = "trainable_variables" if trains else "non_trainable_variables"
        layer._tracker.add_to_store(store, variable)
    held = layer._trainable_variables if trains else layer._non_trainable_variables
    held.insert(index, held.pop())
    layer._post_track_variable(variable)


def let_go(layer: keras.Layer, variable: keras.Variable, names: list[str] | None = None) -> None:
    """Makes a layer own a variable no more, which these attributes hold or held.

    `del layer.name` would do it, but only for an attribute that is the variable itself.
    """
    if names is None:
        names = [name for name, held in vars(layer).items() if held is variable]
    layer._untrack_variable(variable)
    if hasattr(layer, "_delete_tracking"):  # TensorFlow's own list, which SavedModels are made of
        for name in names:
            layer._delete_tracking(name)


def list_for_torch(layer: keras.Layer) -> None:
    """Has the list of parameters that PyTorch knows of a layer be that of its variables now.

    Keras makes it when a layer is built, of all variables at any depth, and keeps it current for
    the layer that gains or loses a variable, but not for those around. Where there is none yet,
    it is made when it is asked for.
    """
    parts: list[Any] = [layer, getattr(layer, "_functional", None)]  # a Sequential's graph
    for one in parts:
        if hasattr(one, "_torch_params"):
            one._track_variables()


def add_at(layer: keras.Layer, place: tuple[bool, int], **kwargs: Any) -> keras.Variable:
    """Has a layer make a weight at a place that `place_of` gave; `add_weight` appends."""
    trains, index = place
    with reopen(layer):
        variable = layer.add_weight(trainable=trains, **kwargs)
    held = layer._trainable_variables if trains else layer._non_trainable_variables
    held.insert(index, held.pop())
    return variable


def is_initialized(variable: keras.Variable) -> bool:
    """Whether a variable has a value yet; in a traced `build` it gets one only afterwards."""
    return variable._value is not None


def initialize_later(variable: keras.Variable, change: Any) -> None:
    """Has `change` make the first value of a variable, from the one that its initializer gives."""
    before = variable._initializer
    variable._initializer = lambda shape, dtype=None: change(before(shape, dtype=dtype))


class AsksForLosses:
    """Put before a layer class: its layers are asked for their losses once a step.

    What `add_loss` is given in `call` is counted once a call; and Keras's own regularizers, which
    are counted once a step, see the stored variable only. Keras collects both by private methods.
    """

    def losses_of_now(self) -> list[Any]:
        """The scalar losses of the present values."""
        return []

    def _get_own_losses(self) -> list[Any]:
        return [*super()._get_own_losses(), *self.losses_of_now()]  # type: ignore[misc]


# --- what an audit asks ---------------------------------------------------------------------------


def is_remade_from_layers(model: Any) -> bool:
    """Whether loading makes a model anew from the configs of its layers, not by its own class.

    Keras asks the same of a class, by the arguments of its `__init__`.
    """
    # The generated class of a rewritten model writes the config of this one, and its rewrites.
    kind = getattr(model, "base_of_rewritten", None) or type(model)
    if isinstance(model, keras.Sequential):
        return bool(kind.get_config is keras.Sequential.get_config)
    plain = isinstance(model, Functional) and kind.get_config is Functional.get_config
    return plain and functional_like_constructor(kind)


def operations(model: Any) -> list[Any]:
    """The operations of a graph model, its layers among them, in the order of the graph."""
    inner = getattr(model, "_functional", None) if isinstance(model, keras.Sequential) else model
    return list(inner.operations) if isinstance(inner, Functional) else []


def call_arguments(operation: Any) -> list[Any]:
    """What an operation was given in its symbolic calls, constants and variables included.

    `Node.input_tensors` shows the symbolic tensors only.
    """
    return [
        argument
        for node in operation._inbound_nodes
        for argument in keras.tree.flatten([node.arguments.args, node.arguments.kwargs])
    ]


def compiled_flags(model: keras.Model) -> dict[keras.Layer, bool]:
    """The `trainable` of each layer when the model was compiled; empty before Keras 3.15."""
    return dict(getattr(model, "_compiled_trainable_state", None) or {})


def optimized(model: keras.Model) -> list[keras.Variable] | None:
    """The variables that the optimizer of a compiled model was built for; None if it is not built.

    Its public `variables` are its own: the learning rate, the momenta.
    """
    optimizer = getattr(model, "optimizer", None)
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    if optimizer is None or not optimizer.built:
        return None
    return list(optimizer._trainable_variables)


def averages(model: keras.Model) -> dict[int, keras.Variable]:
    """The moving average that the optimizer keeps of each variable, by the variable's `id`.

    There is no public way to them; what `use_ema` does at the end of training is to put them in
    the place of the weights.
    """
    optimizer = getattr(model, "optimizer", None)
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    if optimizer is None or not optimizer.built or not optimizer.use_ema:
        return {}
    kept = zip(
        optimizer._trainable_variables, optimizer._model_variables_moving_average, strict=True
    )
    return {id(variable): average for variable, average in kept if average is not None}


def in_training_mode(model: keras.Model, x: Any) -> Any:
    """What a model makes of a batch in training, called as Keras's own `train_step` calls it."""
    return model(x, training=True) if model._call_has_training_arg else model(x)


def loss_of(model: keras.Model, x: Any, y: Any, prediction: Any, weights: Any) -> Any:
    """The loss of a batch, worked out as Keras's own `train_step` does, by overridden methods."""
    return model._compute_loss(x=x, y=y, y_pred=prediction, sample_weight=weights, training=True)


def has_own_train_step(model: keras.Model) -> bool:
    """Whether what a model does with a batch is another thing than what Keras does."""
    step = getattr(model.train_step, "__func__", model.train_step)
    return not step.__module__.startswith("keras.")


def written(model: keras.Layer) -> tuple[Any, Any]:
    """The config of a model as a file gets it; and again, with the identity of each object in it.

    In a file Keras puts the same `shared_object_id` on configs that it will read back as one
    object, but not on all that are one. In the second config each has the `id` of its object there.
    """
    return _written(model, {}), _written(model, _Stamping())


class _Stamping(dict[int, Any]):
    """Says of each object that it was met before, so that Keras marks its config."""

    def __contains__(self, key: object) -> bool:
        return True

    def __getitem__(self, key: int) -> Any:
        return {}


def _written(model: keras.Layer, met: dict[int, Any]) -> Any:
    name = "shared_objects/id_to_config_map"
    before = global_state.get_global_attribute(name)
    global_state.set_global_attribute(name, met)
    try:
        return keras.saving.serialize_keras_object(model.get_config())
    finally:
        global_state.set_global_attribute(name, before)


# --- what saving and cloning ask ------------------------------------------------------------------


class _Configs(dict[int, Any]):
    """The first config that was written of each object; some objects count as met before."""

    def __init__(self, known: set[int], others: bool) -> None:
        super().__init__()
        self.known = known
        self.others = others

    def __contains__(self, key: object) -> bool:
        return key in self.known or (self.others and super().__contains__(key))

    def __missing__(self, key: int) -> dict[str, Any]:
        return {}  # Keras marks the first config too; ours are marked already


@contextlib.contextmanager
def identified(parts: list[Any], others: bool) -> Iterator[dict[int, Any]]:
    """A scope in which each config of one of `parts` says which layer or operation it is of.

    Keras writes `shared_object_id` into a config when it meets an object again, and into the first
    one by hindsight: in vain if that was copied meanwhile, as it is inside models and wrappers. And
    only `save_model` and `load_model` open such a scope.

    Args:
        parts: what to identify; it must stay alive for as long as the configs are used.
        others: whether Keras marks all other objects by its own rules. It goes by addresses, which
            may be taken again by another object where objects are also made inside the scope.

    Yields:
        The objects that stand for an id: read, and added to, when Keras makes objects from configs.
    """
    names = ("shared_objects/id_to_obj_map", "shared_objects/id_to_config_map")
    before = [global_state.get_global_attribute(name) for name in names]
    made: dict[int, Any] = {}
    for name, value in zip(names, (made, _Configs({id(x) for x in parts}, others)), strict=True):
        global_state.set_global_attribute(name, value)
    try:
        yield made
    finally:
        for name, value in zip(names, before, strict=True):
            global_state.set_global_attribute(name, value)


def calls_within(model: Any) -> list[tuple[Any, int]]:
    """How often a graph model calls each of its operations.

    An operation's own list of calls is of all the models that use it.
    """
    inner = getattr(model, "_functional", None) if isinstance(model, keras.Sequential) else model
    if not isinstance(inner, Functional):
        return []
    return [
        (op, sum(make_node_key(op, i) in inner._nodes for i in range(len(op._inbound_nodes))))
        for op in inner.operations
    ]


def may_overwrite(path: str) -> bool:
    """Asks the user on the terminal, in Keras's words, whether a file may be replaced."""
    return bool(ask_to_proceed_with_overwrite(path))


def safe_mode(on: bool) -> contextlib.AbstractContextManager[Any]:
    """A scope in which Python lambdas in configs are refused, or made; `load_model` opens one."""
    scope: contextlib.AbstractContextManager[Any] = SafeModeScope(on)
    return scope


# --- what calling with other values asks ----------------------------------------------------------


@contextlib.contextmanager
def outside_stateless_calls() -> Iterator[None]:
    """A scope in which what is assigned reaches the variables, though a stateless call runs."""
    scope = global_state.get_global_attribute("stateless_scope")
    global_state.set_global_attribute("stateless_scope", None)
    try:
        yield
    finally:
        global_state.set_global_attribute("stateless_scope", scope)


def own_value(variable: keras.Variable) -> Any:
    """What a variable itself holds, whatever a stateless call has for it; None before it is made.

    `Variable.value` asks the scope that runs, which is who is asking here.
    """
    return variable._value


def hand_out_losses(layers: Iterable[keras.Layer], losses: list[Any]) -> list[Any]:
    """Gives losses that a stateless call collected to the layers that added them.

    Without such a call `add_loss` puts them there itself. A layer knows its own by their identity.

    Returns:
        The losses that are of none of these layers.
    """
    left = {id(loss): loss for loss in losses}
    for layer in layers:
        own = [loss for loss in losses if id(loss) in layer._loss_ids]
        layer._losses.extend(own)
        layer._loss_ids.difference_update(map(id, own))
        for loss in own:
            left.pop(id(loss), None)
    return list(left.values())


def recomputes(layer: keras.Layer) -> bool:
    """Whether the call of a layer may run again for the gradient, as `keras.RematScope` has it."""
    mode = layer._remat_mode
    if mode is None or mode.mode not in ("full", "larger_than", "list_of_layers"):
        return False
    return mode.mode != "list_of_layers" or layer.name in mode.layer_names
