"""`CalledWith`: a call with other values for some weights, as a layer of a functional model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras

from steelyard.errors import TargetError
from steelyard.layers.borrower import Borrower
from steelyard.live import call_root, call_with, holds, paths_to, producer, spec_with
from steelyard.refs import (
    WeightRef,
    feeding,
    graph_around,
    ref,
    upstream,
    writers,
)


@keras.saving.register_keras_serializable(package="steelyard")
class CalledWith(Borrower):
    """Calls another layer with other values for some of its weights; `sy.call` makes it.

    A layer that stands nowhere else in the model is this one's own: saved, trained and frozen with
    it. One that does is borrowed.

    Args:
        of: the layer that is called; or a reference to a weight of it, which stands for the layer.
        **kwargs: as for any Keras layer.

    Called with the inputs of the layer as a list, the values by the names of the weights, and what
    else the layer is to be called with: tensors in `named`, anything else in `options`.
    """

    def __init__(self, of: Any, **kwargs: Any) -> None:
        # The layer that is called casts its inputs, and each value is cast like its weight.
        super().__init__(autocast=False, **{"dtype": "float32", **kwargs})
        self._there: WeightRef | None = None
        if isinstance(of, keras.Layer):
            self.layer = of
        else:
            self._there = self.borrow(of)
        self.supports_masking = True

    @classmethod
    def on_symbols(
        cls,
        layer: keras.Layer,
        inputs: Sequence[Any],
        weights: Mapping[str, Any],
        kwargs: dict[str, Any],
    ) -> Any:
        """The symbolic output of a call with other values, in the graph of these tensors.

        Args:
            layer: The layer that is called.
            inputs: Its inputs, symbolic or not.
            weights: The values by name, symbolic or not.
            kwargs: As the layer is called with.

        Raises:
            TargetError: If a value is a variable, which no graph would keep.
        """
        for name, value in weights.items():
            if isinstance(value, keras.Variable):
                raise TargetError(
                    f"Weight {name!r} of layer '{layer.name}' ({type(layer).__name__}) was given "
                    f"variable '{value.path}', whose present value a functional model would keep "
                    "for ever. Give `sy.value(layer, name)` of the layer that holds it."
                )
        values = {
            name: value if _is_symbolic(value) else keras.ops.convert_to_tensor(value)
            for name, value in weights.items()
        }
        symbolic = [x for x in keras.tree.flatten([inputs, values, kwargs]) if _is_symbolic(x)]
        # Keras takes tensors and other things in one argument for a mistake.
        named = {key: value for key, value in kwargs.items() if _is_tensors(value)}
        options = {key: value for key, value in kwargs.items() if key not in named}
        caller = cls._for(layer, symbolic, next(iter(weights)))
        return caller(list(inputs), weights=values, named=named, options=options)

    @classmethod
    def _for(cls, layer: keras.Layer, symbolic: list[keras.KerasTensor], name: str) -> CalledWith:
        """What calls `layer` in the graph of these tensors: what did so before, or a new one.

        One for all calls: a model that is cloned must not get a copy of the layer for each.
        """
        steps = [step for tensor in symbolic if (step := producer(tensor))]
        around = {id(op): op for step in steps for op in graph_around(step.operation)}
        for op in around.values():
            if isinstance(op, cls) and op.called() is layer:
                return op
        before = [op for op in upstream(symbolic) if isinstance(op, keras.Layer)]
        stands = any(holds(op, layer) for op in before)
        stands = stands or feeding(layer, symbolic[0]) is not None
        taken = {op.name for op in around.values()}
        own = f"{layer.name}_called"
        names = (own, *(f"{own}_{count}" for count in range(1, len(taken) + 2)))
        free = next(candidate for candidate in names if candidate not in taken)
        return cls(ref(layer, name) if stands else layer, name=free)

    def called(self) -> keras.Layer:
        """The layer that is called. A method: Keras saves what a property gives as a part of this.

        Raises:
            UnboundReferenceError: it has not been found.
        """
        if self._there is None:
            return self.layer
        layer = self._there.layer
        if layer is None:
            raise self._there.target.not_found(self, call_root())
        return layer

    def build(self, input_shape: Any) -> None:
        """Makes nothing; the layer that is called is built when it is called."""

    def call(
        self,
        inputs: Sequence[Any],
        weights: Mapping[str, Any],
        named: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> Any:
        """The output of the layer, as `sy.call` gives it."""
        return call_with(self.called(), inputs, weights, {**(options or {}), **(named or {})})

    def compute_output_spec(
        self,
        inputs: Sequence[Any],
        weights: Mapping[str, Any],
        named: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> Any:
        """The output of a plain call; also says what is wrong with a name or a shape."""
        return spec_with(self.called(), inputs, weights, {**(options or {}), **(named or {})})

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> None:
        """None: the layer that is called has put its own masks on the outputs."""

    def get_config(self) -> dict[str, Any]:
        """As for any borrower.

        Raises:
            TargetError: the layer that is called came to stand elsewhere in the model too, after
                this one took it for its own. A copy of the model would have it twice.
        """
        root = next(iter(writers()), self)
        where = ["/".join(path) for path in paths_to(root, self.called())]
        if self._there is None and len(where) > 1:
            raise TargetError(
                f"Layer '{self.layer.name}' ({type(self.layer).__name__}) stands in model "
                f"'{root.name}' at {' and at '.join(map(repr, where))}: once for `sy.call`, which "
                f"came first, and once because it was called itself. Call it itself before it is "
                "called by `sy.call`; the two then share it."
            )
        return super().get_config()


def _is_symbolic(value: Any) -> bool:
    return isinstance(value, keras.KerasTensor)


def _is_tensors(value: Any) -> bool:
    """Whether a value is a tensor, or several."""
    leaves = keras.tree.flatten(value)
    return any(_is_symbolic(leaf) or keras.ops.is_tensor(leaf) for leaf in leaves)
