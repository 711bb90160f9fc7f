"""`Borrower`: the base of layers that use other layers' weights."""

from __future__ import annotations

import functools
import inspect
import math
from typing import Any

import keras

from steelyard.errors import TargetError
from steelyard.live import add_inputs, as_default, holds, own_variables, reach
from steelyard.refs import Target, WeightRef, feeding, is_target_config, ref

# The argument of a symbolic call that holds the outputs of owners; a model's graph keeps it.
EDGES = "steelyard_reads"
# Before the numbers under which a file keeps what was saved without its owner.
_LENT = "lent_"
_SEVERAL = inspect.Parameter.VAR_POSITIONAL


class Ledger:
    """What a borrower notes down; neither layer nor container, so that nobody tracks it.

    Attributes:
        given: the arguments of `__init__`, by name.
        borrowed: what was borrowed from: the object that was handed in, and what it became.
        references: all references that the layer holds.
        running: how many calls of the layer are running.
        built: what Keras set `built` to.
        taken: what the layer took in because it was saved without its owner.
    """

    def __init__(self, given: dict[str, Any]) -> None:
        self.given = given
        self.borrowed: dict[int, tuple[Any, Target | WeightRef]] = {}
        self.references: list[WeightRef] = []
        self.running = 0
        self.built = False
        self.taken: dict[int, keras.Variable] = {}


class Borrower(keras.layers.Layer):
    """A layer that uses weights of other layers, without owning them.

    Subclass it, take the other layer as an argument of `__init__`, borrow in one line, and call
    the reference where the value is wanted. There is nothing else to write: no `get_config`, no
    `from_config`, whatever the arguments.

    The other layer may be given as a layer (built or not), as its symbolic output, as a
    `keras.Variable` of it, as an address, or as a `WeightRef`. The borrower is then handed the
    same argument again when it is loaded or cloned, as a stand-in for the layer of the new model:
    do nothing with it but `borrow`.

    Example:
        >>> import keras, steelyard as sy
        >>> class TiedDecoder(sy.layers.Borrower):
        ...     def __init__(self, encoder, **kwargs):
        ...         super().__init__(**kwargs)
        ...         self.kernel = self.borrow(encoder, "kernel")
        ...
        ...     def call(self, x):
        ...         return keras.ops.matmul(x, self.kernel.T())
    """

    def __new__(cls, *args: Any, **kwargs: Any) -> Borrower:
        """Notes the arguments, which `get_config` writes down, before `__init__` runs."""
        layer = super().__new__(cls, *args, **kwargs)
        # Past the trackers of Keras, TensorFlow and torch, none of which is set up yet.
        object.__setattr__(layer, "_ledger", Ledger(_given(cls, args, kwargs)))
        object.__setattr__(layer, "build", _once(layer, layer.build))
        return layer

    def borrow(
        self,
        target: Any,
        weight: str = "kernel",
        *,
        stored: bool = False,
        stop_gradient: bool = False,
    ) -> WeightRef:
        """A reference, held by this layer, to a weight of another one; arguments as in `sy.ref`."""
        _, known = self._ledger.borrowed.get(id(target), (target, None))
        if isinstance(target, WeightRef):
            reference = target.for_holder(self)
            self._ledger.borrowed[id(target)] = (target, reference)
            # A layer that was handed over may have been made into a reference on the way here.
            given = reference.target.given
            if not isinstance(given, str):
                self._ledger.borrowed.setdefault(id(given), (given, reference.target))
        else:
            # One target for all weights that are borrowed from one layer.
            shared = known if isinstance(known, Target) else Target.of(target)
            if not isinstance(target, str):
                self._ledger.borrowed[id(target)] = (target, shared)
            reference = ref(shared, weight, stored=stored, stop_gradient=stop_gradient)
            reference = reference.held_by(self)
        self._ledger.references.append(reference)
        if reference.target.lent and reference.target.way is None and not reference.is_bound:
            self._take_in(reference.target)
        return reference

    def _take_in(self, target: Target) -> None:
        """Owns what was saved without its owner: a decoder that was saved alone, say."""
        variables = {
            key: self.add_weight(shape=tuple(shape), dtype=dtype, name=target.lent[key])
            for key, (shape, dtype) in target.expected.items()
        }
        self._ledger.taken |= {id(variable): variable for variable in variables.values()}
        target.take_in(self, variables)

    # --- calling --------------------------------------------------------------------------------

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Lets a subclass's own `compute_output_spec` know nothing of the edges of the graph."""
        super().__init_subclass__(**kwargs)
        if "compute_output_spec" in vars(cls):
            cls.compute_output_spec = _without_edges(cls.compute_output_spec)  # type: ignore

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Calls the layer; on symbolic input, also makes the owners part of the model."""
        edges = kwargs.pop(EDGES, None)
        self._ledger.running += 1
        try:
            symbolic = _symbolic_among([*args, *kwargs.values()])
            # Owners are looked for here, where the inputs of the call show what it depends on.
            owners = {id(o): o for r in self._ledger.references if symbolic and (o := r.layer)}
            if edges is None and symbolic:
                found = [feeding(o, symbolic[0]) for o in owners.values() if o is not self]
                edges = [edge for edge in found if edge is not None]
            outputs = super().__call__(*args, **kwargs)
            if edges and symbolic and all(map(_is_symbolic, edges)):
                add_inputs(self, EDGES, edges)
            return outputs
        finally:
            self._ledger.running -= 1

    def compute_output_spec(self, *args: Any, **kwargs: Any) -> Any:
        """As for any layer: by `compute_output_shape`, or by tracing `call`."""
        kwargs.pop(EDGES, None)
        return super().compute_output_spec(*args, **kwargs)

    @as_default
    def compute_output_shape(self, input_shape: Any) -> Any:
        """The shape that `call` gives for inputs of `input_shape`; wrappers ask for it."""
        spec = self.compute_output_spec(keras.KerasTensor(input_shape, self.compute_dtype))
        return keras.tree.map_structure(lambda tensor: tuple(tensor.shape), spec)

    @property
    def built(self) -> bool:
        """Whether the layer is built; not before its owners are known, except while it is called.

        Keras's trainers call a model that has unbuilt layers once as a whole before they compile
        its pieces. That call is where a borrower inside a nested model finds its owner.
        """
        ledger = self._ledger
        known = all(reference.is_bound for reference in ledger.references)
        return ledger.built and self.is_complete() and (known or ledger.running > 0)

    @built.setter
    def built(self, value: bool) -> None:
        self._ledger.built = value

    def is_complete(self) -> bool:
        """Whether the layer has made all its own weights.

        A subclass whose own weights take their shape from the owner's says no until it has made
        them; `build` is then called again when the layer is called next.
        """
        return True

    def count_params(self) -> int:
        """The number of parameters that the layer itself owns."""
        return sum(math.prod(variable.shape) for variable in self.weights)

    def quantize(self, mode: str | None = None, **kwargs: Any) -> None:
        """Does nothing: what there is to quantize belongs to the owner."""

    # --- written and read back ------------------------------------------------------------------

    def get_config(self) -> dict[str, Any]:
        """The arguments of `__init__`; of a layer that is borrowed from, the way to walk there."""
        config = super().get_config()
        self._check_arguments()
        for key, value in self._ledger.given.items():
            if key not in config:
                config[key] = keras.tree.map_structure(self._written, value)
        return config

    def _written(self, value: Any) -> Any:
        if isinstance(value, (str, int, float, bool, type(None))):
            return value
        _, known = self._ledger.borrowed.get(id(value), (value, value))
        if isinstance(known, Target):
            return known.get_config(self)
        return keras.saving.serialize_keras_object(known)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Borrower:
        """A layer from what `get_config` wrote."""
        config = {key: _read(value) for key, value in config.items()}
        parameters = _signature(cls).parameters
        kinds = {parameter.kind: name for name, parameter in parameters.items()}
        later = {}
        if inspect.Parameter.VAR_KEYWORD not in kinds:
            later = {key: config.pop(key) for key in list(config) if key not in parameters}
        several = kinds.get(_SEVERAL)
        if several in config:
            names = list(parameters)[1 : list(parameters).index(several)]
            before = [config.pop(name, parameters[name].default) for name in names]
            layer = cls(*before, *config.pop(several), **config)
        else:
            layer = super().from_config(config)
        for key, value in later.items():
            setattr(layer, {"dtype": "dtype_policy"}.get(key, key), value)
        return layer

    def save_own_variables(self, store: Any) -> None:
        """Saves what the layer owns, and what it borrows from outside the model that is saved."""
        kept: dict[str, Any] = {}
        super().save_own_variables(kept)
        for index, value in enumerate(self._own(list(kept.values()))):
            store[str(index)] = value
        lent = [value for target in self._targets() for value in target.values_to_lend(self)]
        for index, value in enumerate(lent):
            store[f"{_LENT}{index}"] = value

    def load_own_variables(self, store: Any) -> None:
        """Loads what the layer owns; what it borrows, the owner loads."""
        names = list(store.keys())
        lent = [store[name] for name in sorted(names, key=_number) if name.startswith(_LENT)]
        own = [store[name] for name in sorted(names, key=_number) if not name.startswith(_LENT)]
        for variable, value in zip(self._ledger.taken.values(), lent, strict=False):
            variable.assign(value)
        for index, variable in enumerate(own_variables(self)):
            if id(variable) in self._ledger.taken:
                own.insert(index, variable)
        super().load_own_variables({str(index): value for index, value in enumerate(own)})

    def _own(self, values: list[Any]) -> list[Any]:
        """The values of the variables that the layer did not take in."""
        mine = own_variables(self)
        if len(values) != len(mine):  # a subclass saves in a way of its own
            return values
        taken = self._ledger.taken
        return [v for v, variable in zip(values, mine, strict=True) if id(variable) not in taken]

    def _check_arguments(self) -> None:
        """Refuses to write down a whole layer of which a part was borrowed.

        It would come back as a second layer beside the one in the model.
        """
        owners = [reference.layer for reference in self._ledger.references]
        for name, value in self._ledger.given.items():
            for layer in reach(value, keras.Layer):
                if id(layer) in self._ledger.borrowed or holds(self, layer):
                    continue
                if any(owner is not None and holds(layer, owner) for owner in owners):
                    raise TargetError(
                        f"Layer '{self.name}' ({type(self).__name__}) was given layer "
                        f"'{layer.name}' as `{name}` and borrows a part of it, so it cannot be "
                        f"saved: hand over the part, or borrow by `self.borrow({name}, "
                        "'address/of/the/weight')`."
                    )

    def _targets(self) -> list[Target]:
        targets = [reference.target for reference in self._ledger.references]
        return list({id(target): target for target in targets}.values())

    def __deepcopy__(self, memo: dict[int, Any]) -> Borrower:
        twin = type(self).from_config(self.get_config())
        memo[id(self)] = twin
        for new, old in zip(twin._ledger.references, self._ledger.references, strict=True):
            new.copy_target(old, memo)
        if self._ledger.built:
            twin.build_from_config(self.get_build_config())
            twin.set_weights(self.get_weights())
        return twin


def _number(name: str) -> tuple[str, int]:
    digits = name.removeprefix(_LENT)
    return name[: len(name) - len(digits)], int(digits) if digits.isdigit() else 0


def _once(layer: Borrower, build: Any) -> Any:
    """`build`, but not again for a layer that merely does not know its owner yet.

    Wrappers build what says that it is not built.
    """

    @functools.wraps(build)
    def build_once(*args: Any, **kwargs: Any) -> None:
        if not (layer._ledger.built and layer.is_complete()):
            build(*args, **kwargs)

    return build_once


def _without_edges(method: Any) -> Any:
    @functools.wraps(method)
    def compute_output_spec(self: Borrower, *args: Any, **kwargs: Any) -> Any:
        kwargs.pop(EDGES, None)
        return method(self, *args, **kwargs)

    return compute_output_spec


def _given(cls: type, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """The arguments of `__init__` by name, as they were given."""
    signature = _signature(cls)
    try:
        bound = signature.bind(None, *args, **kwargs)
    except TypeError:
        return {}  # `__init__` itself is about to say what is wrong
    given = dict(list(bound.arguments.items())[1:])
    for name, parameter in signature.parameters.items():
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            given |= given.pop(name, {})
        elif parameter.kind is inspect.Parameter.VAR_POSITIONAL and name in given:
            given[name] = list(given[name])
    return given


def _signature(cls: type) -> inspect.Signature:
    return inspect.signature(cls.__init__)  # type: ignore[misc] # of the class itself, not of one


def _read(value: Any) -> Any:
    if is_target_config(value):
        return Target.from_config(value)
    if isinstance(value, dict) and {"class_name", "config"} <= set(value):
        return keras.saving.deserialize_keras_object(value)
    if isinstance(value, dict):
        return {key: _read(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_read(item) for item in value]
    return value


def _symbolic_among(values: list[Any]) -> list[Any]:
    if any(isinstance(value, (list, tuple, dict)) for value in values):
        values = keras.tree.flatten(values)
    return [value for value in values if _is_symbolic(value)]


def _is_symbolic(value: Any) -> bool:
    return isinstance(value, keras.KerasTensor)
