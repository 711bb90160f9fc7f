"""`Reader`: what every layer that reads other layers' weights has in common."""

from __future__ import annotations

import contextlib
import functools
import math
from typing import Any

import keras

from steelyard.errors import SteelyardError
from steelyard.live import add_inputs, holds, own_variables, reopen
from steelyard.refs._find import feeding
from steelyard.refs._readings import ReaderNotes
from steelyard.refs._ref import WeightRef
from steelyard.refs._stack import asking
from steelyard.refs._target import Target

# The argument of a symbolic call that holds the outputs of owners; a model's graph keeps it.
EDGES = "steelyard_reads"
# Before the numbers under which a file keeps what was saved without its owner.
_LENT = "lent_"


class Reader:
    """Put before a layer class: its layers may read other layers' weights, and own none of them.

    The owners become part of any model that the layer is called in; the layer is not built before
    they are known; and what is saved without its owner is taken in.
    """

    @property
    def _readings(self) -> ReaderNotes:
        raise NotImplementedError

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Lets a subclass's own `compute_output_spec` know nothing of the edges of the graph."""
        super().__init_subclass__(**kwargs)
        if "compute_output_spec" in vars(cls):
            cls.compute_output_spec = _without_edges(cls.compute_output_spec)  # type: ignore

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Calls the layer; on symbolic input, also makes the owners part of the model."""
        edges = kwargs.pop(EDGES, None)
        self._readings.running += 1
        try:
            symbolic = _symbolic_among([*args, *kwargs.values()])
            # Owners are looked for here, where the inputs of the call show what it depends on.
            owners = {id(o): o for r in self._readings.references if symbolic and (o := r.layer)}
            if edges is None and symbolic:
                found = [feeding(o, symbolic[0]) for o in owners.values() if o is not self]
                edges = [edge for edge in found if edge is not None]
            outputs = super().__call__(*args, **kwargs)  # type: ignore[misc]
            if edges and symbolic and all(map(_is_symbolic, edges)):
                add_inputs(self, EDGES, edges)
            return outputs
        finally:
            self._readings.running -= 1

    def compute_output_spec(self, *args: Any, **kwargs: Any) -> Any:
        """As for any layer: by `compute_output_shape`, or by tracing `call`."""
        kwargs.pop(EDGES, None)
        return super().compute_output_spec(*args, **kwargs)  # type: ignore[misc]

    @property
    def built(self) -> bool:
        """Whether the layer is built; not before its owners are known, except while it is called.

        Keras's trainers call a model that has unbuilt layers once as a whole before they compile
        its pieces. That call is where a reader inside a nested model finds its owner.
        """
        readings = self._readings
        if not readings.built or not self.is_complete():
            return False
        return readings.running > 0 or all(map(_is_known, readings.references))

    @built.setter
    def built(self, value: bool) -> None:
        self._readings.built = value

    def is_complete(self) -> bool:
        """Whether the layer has made all its own weights.

        A subclass whose own weights take their shape from the owner's says no until it has made
        them; `build` is then called again when the layer is called next.
        """
        return True

    def count_params(self) -> int:
        """The number of parameters that the layer itself owns."""
        if not self._readings.built:
            return int(super().count_params())  # type: ignore[misc]
        return sum(math.prod(variable.shape) for variable in self.weights)  # type: ignore

    def asker(self) -> keras.Layer | None:
        """The outermost model that trains, or asks for losses or metrics, and holds this layer."""
        layer: Any = self
        for model in asking():
            if model not in self._readings.askers and holds(model, layer):
                self._readings.askers.add(model)
            if model in self._readings.askers:
                return model
        return None

    # --- saved without the owner ----------------------------------------------------------------

    def take_in_if_lent(self, target: Target) -> None:
        """Owns what was saved without its owner: a decoder that was saved alone, say."""
        if not target.lent or target.way is not None or target.layer is not None:
            return
        layer: Any = self
        with reopen(layer):
            variables = {
                key: layer.add_weight(shape=tuple(shape), dtype=dtype, name=target.lent[key])
                for key, (shape, dtype) in target.expected.items()
            }
        self._readings.taken |= {id(variable): variable for variable in variables.values()}
        target.take_in(layer, variables)

    def save_lent(self, store: Any) -> None:
        """Saves what is borrowed from outside the model that is saved."""
        targets = {id(r.target): r.target for r in self._readings.references}.values()
        lent = [value for target in targets for value in target.values_to_lend(self)]
        for index, value in enumerate(lent):
            store[f"{_LENT}{index}"] = value

    def load_lent(self, store: Any) -> dict[str, Any]:
        """Loads what was taken in, and gives what else the store has."""
        names = sorted(store.keys(), key=_number)
        lent = [store[name] for name in names if name.startswith(_LENT)]
        for variable, value in zip(self._readings.taken.values(), lent, strict=False):
            variable.assign(value)
        return {name: store[name] for name in names if not name.startswith(_LENT)}

    def own_but_taken(self) -> list[keras.Variable]:
        """The variables that the layer itself holds, without what it took in."""
        mine = own_variables(self)
        return [variable for variable in mine if id(variable) not in self._readings.taken]


def build_once(layer: Any) -> Any:
    """`build`, but not again for a reader that merely does not know its owner yet.

    Wrappers build what says that it is not built.
    """
    build = layer.build

    @functools.wraps(build)
    def build_if_not_built(*args: Any, **kwargs: Any) -> None:
        if not isinstance(layer, Reader):
            build(*args, **kwargs)
        elif not (layer._readings.built and layer.is_complete()):
            layer._readings.running += 1
            try:
                build(*args, **kwargs)
            finally:
                layer._readings.running -= 1

    return build_if_not_built


def _is_known(reference: WeightRef) -> bool:
    """Whether the owner is known, or can be told from the graph that the layer is in."""
    with contextlib.suppress(SteelyardError):
        return reference.is_bound or reference.layer is not None
    return False


def _number(name: str) -> tuple[str, int]:
    digits = name.removeprefix(_LENT)
    return name[: len(name) - len(digits)], int(digits) if digits.isdigit() else 0


def _without_edges(method: Any) -> Any:
    @functools.wraps(method)
    def compute_output_spec(self: Any, *args: Any, **kwargs: Any) -> Any:
        kwargs.pop(EDGES, None)
        return method(self, *args, **kwargs)

    return compute_output_spec


def _symbolic_among(values: list[Any]) -> list[Any]:
    if any(isinstance(value, (list, tuple, dict)) for value in values):
        values = keras.tree.flatten(values)
    return [value for value in values if _is_symbolic(value)]


def _is_symbolic(value: Any) -> bool:
    return isinstance(value, keras.KerasTensor)
