"""`WeightAnalyzer`: numbers about another layer's weight, as a tensor."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from steelyard import metrics as catalog
from steelyard.address import nearest
from steelyard.errors import UnboundReferenceError, UnbuiltOwnerError, UnknownMetricError
from steelyard.layers._weight_metric import WeightMetric
from steelyard.layers.borrower import Borrower
from steelyard.live import in_shape_inference


@keras.saving.register_keras_serializable(package="steelyard")
class WeightAnalyzer(Borrower):
    """Computes metrics of another layer's weight, inside the graph.

    Call it on any tensor, or nest of tensors: only its batch size is used.

    Args:
        of: whose weight: a layer, built or not; its symbolic output; a `keras.Variable` of it; an
            address; or a reference.
        metrics: the name of a metric, or several: those of `sy.catalog()` that are `in_graph`.
        weight: the name of the weight in the layer.
        log: whether `fit` and `evaluate` show the numbers in their logs and progress bar, and
            `fit` in its history too, each as `<name of this layer>_<metric>`.
        **kwargs: as for any Keras layer.

    Raises:
        UnknownMetricError: there is no metric of that name.

    Output:
        A float32 tensor of shape (batch, metrics): the same numbers in each row, so that `fit`,
        `evaluate`, `predict` over many batches and `export` can treat them as any output.
        Differentiable with respect to the weight.

    Logs:
        A number in the logs of a batch is that of the weight as the step has left it, and one in
        the history is that of the weight after the last step of the epoch: no mean over batches.
        The layer need only be held by the model, not called. A file of weights has nothing of it.
        On JAX the values are read off the running `train_step` or `test_step`, Keras's own or a
        user's with the arguments that Keras gives it; where none runs, the number is NaN.

    Example:
        >>> import keras, numpy as np, steelyard as sy
        >>> inputs = keras.Input((4,))
        >>> hidden = keras.layers.Dense(3, kernel_initializer="ones", name="hidden")(inputs)
        >>> analyzer = sy.layers.WeightAnalyzer(hidden, metrics=["l1_norm", "max_abs"])
        >>> model = keras.Model(inputs, analyzer(inputs))
        >>> model.predict(np.zeros((2, 4)), verbose=0).tolist()
        [[12.0, 1.0], [12.0, 1.0]]
        >>> analyzer.read()
        {'l1_norm': 12.0, 'max_abs': 1.0}
    """

    def __init__(
        self,
        of: Any,
        metrics: str | Sequence[str] = "l2_norm",
        weight: str = "kernel",
        log: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.log = bool(log)
        self.metric_names = (metrics,) if isinstance(metrics, str) else tuple(metrics or ())
        if not self.metric_names:
            raise UnknownMetricError(
                f"WeightAnalyzer was given no metric. There are: {', '.join(catalog.in_graph())}."
            )
        self._functions = {name: _metric(name) for name in self.metric_names}
        self.weight = self.borrow(of, weight)
        self.supports_masking = True
        if self.log:
            self._logged = [
                WeightMetric(functools.partial(self._now, name), name=f"{self.name}_{name}")
                for name in self.metric_names
            ]

    def call(self, inputs: Any) -> Any:
        """The metrics, of shape (batch, metrics), whatever the inputs are."""
        value = keras.ops.cast(self.weight(), "float32")
        axes = self.weight.axes
        numbers = [function(value, keras.ops, axes=axes) for function in self._functions.values()]
        numbers = [keras.ops.cast(number, "float32") for number in numbers]
        row = keras.ops.stack(numbers)
        batch = keras.ops.shape(keras.tree.flatten(inputs)[0])[0]
        return keras.ops.broadcast_to(row[None, :], (batch, len(numbers)))

    def read(self) -> dict[str, float]:
        """The metrics of the present value, by name; for use outside any graph."""
        value = np.asarray(keras.ops.convert_to_numpy(self.weight()), dtype="float64")
        told = {"axes": self.weight.axes}
        return {name: float(function(value, **told)) for name, function in self._functions.items()}

    def _now(self, name: str) -> Any:
        """One of the numbers, when a model asks for its metrics; NaN while nobody can know it."""
        if in_shape_inference():
            return keras.ops.zeros(())
        model = self.asker()
        try:
            if not self.weight.is_of_now(model):
                return keras.ops.convert_to_tensor(math.nan, "float32")
            value = keras.ops.cast(self.weight.read_in(model), "float32")
        except (UnbuiltOwnerError, UnboundReferenceError):
            return keras.ops.convert_to_tensor(math.nan, "float32")
        return self._functions[name](value, keras.ops, axes=self.weight.axes)

    def compute_output_spec(self, inputs: Any, **kwargs: Any) -> keras.KerasTensor:
        """(batch, metrics) in float32; known before the weight is."""
        first = keras.tree.flatten(inputs)[0]
        return keras.KerasTensor((first.shape[0], len(self.metric_names)), "float32")

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> None:
        """No mask: the rows are not what the inputs were."""


def _metric(name: str) -> Any:
    known = catalog.in_graph()
    if name in known:
        return getattr(catalog, name)
    if name in catalog.__all__:
        raise UnknownMetricError(
            f"{name!r} cannot be computed inside a graph: sy.measure gives it. A graph can compute "
            f"{', '.join(known)}."
        )
    close = nearest(str(name), known)
    raise UnknownMetricError(
        f"There is no metric {name!r}. "
        + (f"Did you mean {' or '.join(map(repr, close))}? " if close else "")
        + f"There are: {', '.join(known)}."
    )
