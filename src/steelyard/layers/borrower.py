"""`Borrower`: the base of layers that use other layers' weights."""

from __future__ import annotations

import inspect
from typing import Any

import keras

from steelyard.errors import TargetError
from steelyard.live import (
    arguments_given,
    as_default,
    holds,
    own_variables,
    reach,
    signature_of,
)
from steelyard.refs import (
    Reader,
    ReaderNotes,
    Target,
    WeightRef,
    build_once,
    is_target_config,
    ref,
)

_SEVERAL = inspect.Parameter.VAR_POSITIONAL


class Ledger(ReaderNotes):
    """What a borrower notes down.

    Attributes:
        given: the arguments of `__init__`, by name.
        borrowed: what was borrowed from: the object that was handed in, and what it became.
    """

    def __init__(self, given: dict[str, Any]) -> None:
        super().__init__()
        self.given = given
        self.borrowed: dict[int, tuple[Any, Target | WeightRef]] = {}


class Borrower(Reader, keras.layers.Layer):
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
        object.__setattr__(layer, "_ledger", Ledger(arguments_given(cls, args, kwargs)))
        object.__setattr__(layer, "build", build_once(layer))
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
        self.take_in_if_lent(reference.target)
        return reference

    @property
    def _readings(self) -> ReaderNotes:
        return self._ledger

    # --- calling --------------------------------------------------------------------------------

    @as_default
    def compute_output_shape(self, input_shape: Any) -> Any:
        """The shape that `call` gives for inputs of `input_shape`; wrappers ask for it."""
        spec = self.compute_output_spec(keras.KerasTensor(input_shape, self.compute_dtype))
        return keras.tree.map_structure(lambda tensor: tuple(tensor.shape), spec)

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
        parameters = signature_of(cls).parameters
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
        self.save_lent(store)

    def load_own_variables(self, store: Any) -> None:
        """Loads what the layer owns; what it borrows, the owner loads."""
        own = list(self.load_lent(store).values())
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

    def __deepcopy__(self, memo: dict[int, Any]) -> Borrower:
        twin = type(self).from_config(self.get_config())
        memo[id(self)] = twin
        for new, old in zip(twin._ledger.references, self._ledger.references, strict=True):
            new.copy_target(old, memo)
        if self._ledger.built:
            twin.build_from_config(self.get_build_config())
            twin.set_weights(self.get_weights())
        return twin


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
