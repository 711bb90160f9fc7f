"""`WeightPenalty`: a loss on other layers' weights."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Sequence
from types import FunctionType
from typing import Any

import keras
from keras import ops

from steelyard import metrics as catalog
from steelyard.errors import ShapeMismatchError, SteelyardError, SubstituteError
from steelyard.layers.borrower import Borrower
from steelyard.live import AsksForLosses, own_dtype
from steelyard.refs import trainers

_NARROW = ("float16", "bfloat16")


@keras.saving.register_keras_serializable(package="steelyard")
class WeightPenalty(AsksForLosses, Borrower):
    """Adds a penalty on weights of other layers to the loss of the model that holds it.

    Counted once a step, by the values of that step, however often this layer or its model is
    called: also if it is never called and merely an attribute of a subclassed model. What it is
    called on passes through unchanged.

    Args:
        of: whose weights: a layer, built or not, its symbolic output, a `keras.Variable` of it, an
            address, or a reference; or a list of these.
        penalty: a Keras regularizer or its name, such as `"l2"`; the name of a metric of
            `sy.metrics`, such as `"l2_norm"`, whose slope is finite at 0 too; or a function to a
            scalar. A function that takes as many arguments as there are weights gets each as one,
            and else all in a list. Anything but a function is summed over the weights. To be
            saved, a function must be registered with Keras.
        strength: what the penalty is multiplied by.
        weight: the name of the weight in a layer; a reference has its own.
        **kwargs: as for any Keras layer.

    Input shape: anything.
    Output shape: the same; the very inputs.

    The values reach the penalty as effective values in float32 or wider, whatever the precision
    policy. A model that trains and in which no gradient of the penalty moves any weight is refused,
    as long as this layer itself is not frozen (`penalty.trainable = False`).

    Raises:
        SubstituteError: there is nothing to penalize, or `penalty` is none.
        ShapeMismatchError: the penalty is no scalar; says its shape.

    Example:
        >>> import keras, steelyard as sy
        >>> inputs = keras.Input((4,))
        >>> a = keras.layers.Dense(3, kernel_initializer="ones", name="a")
        >>> b = keras.layers.Dense(3, kernel_initializer="zeros", name="b")
        >>> both = keras.layers.Add()([a(inputs), b(inputs)])
        >>> apart = lambda u, v: keras.ops.sum(keras.ops.square(u - v))
        >>> model = keras.Model(inputs, sy.layers.WeightPenalty([a, b], apart, 0.5)(both))
        >>> [float(loss) for loss in model.losses]
        [6.0]
    """

    def __init__(
        self,
        of: Any,
        penalty: Any,
        strength: float = 1.0,
        weight: str = "kernel",
        **kwargs: Any,
    ) -> None:
        # Nothing is computed from the inputs: they shall not be cast on the way through.
        super().__init__(autocast=False, **{"dtype": "float32", **kwargs})
        given = list(of) if isinstance(of, (list, tuple)) else [of]
        if not given:
            raise SubstituteError("WeightPenalty was given no layer and no reference.")
        self.borrowed = [self.borrow(one, weight) for one in given]
        self.strength = _number(strength)
        self.penalty = _read(penalty)
        self._ledger.given["penalty"] = self.penalty
        self._function = _of_values(self.penalty, len(given))
        self._check_now()
        self.supports_masking = True
        self.built = True  # there is nothing to build; who only holds it need not call it

    def call(self, inputs: Any) -> Any:
        """The inputs."""
        return inputs

    def compute_output_spec(self, inputs: Any, **kwargs: Any) -> Any:
        """As the inputs."""
        return keras.tree.map_structure(
            lambda x: keras.KerasTensor(x.shape, x.dtype, sparse=x.sparse), inputs
        )

    def compute_output_shape(self, input_shape: Any) -> Any:
        """As the inputs."""
        return input_shape

    def losses_of_now(self) -> list[Any]:
        """The penalty, by the present values; asked for by `losses` of whatever holds the layer.

        Raises:
            BorrowError: a weight cannot be read.
            SubstituteError: a model trains, and the penalty can train nothing in it.
        """
        model = self.asker() or self
        with own_dtype():
            values = [_widened(reference.read_in(model)) for reference in self.borrowed]
            self._check_trains()
            loss = ops.convert_to_tensor(self._function(*values))
            self._check_scalar(tuple(loss.shape))
            return [self.strength * loss]

    # --- what is refused ------------------------------------------------------------------------

    def _check_now(self) -> None:
        """Refuses what is no scalar, if the shapes of all weights are known already."""
        try:
            specs = [keras.KerasTensor(r.shape, _wide(r.dtype)) for r in self.borrowed]
        except SteelyardError:
            return  # an owner is not built, or not found, yet
        spec = _Formula(self._function).compute_output_spec(*specs)
        self._check_scalar(tuple(getattr(spec, "shape", ())))

    def _check_scalar(self, shape: tuple[int, ...]) -> None:
        if shape != ():
            raise ShapeMismatchError(
                f"A penalty is a scalar, and that of WeightPenalty '{self.name}' has shape {shape},"
                f" from {self._listed()}. Reduce it, as by `keras.ops.sum`."
            )

    def _check_trains(self) -> None:
        """Refuses to be counted in a model that trains while no gradient moves anything."""
        training = trainers() if self.trainable else []
        model = next((m for m in training if m in self._ledger.askers), None)
        if model is None or any(r.is_trained_by(model) for r in self.borrowed):
            return
        raise SubstituteError(
            f"WeightPenalty '{self.name}' can train nothing in model '{model.name}': each of "
            f"{self._listed()} is frozen, is read with `stop_gradient`, or is no part of the model."
            " Let one of them train, or take the penalty out; to count it as a mere number, freeze "
            "it (`penalty.trainable = False`)."
        )

    def _listed(self) -> str:
        return ", ".join(f"'{reference.address}'" for reference in self.borrowed)

    # --- written and read back ------------------------------------------------------------------

    def _written(self, value: Any) -> Any:
        # Keras writes functions down on their way to a file; a clone gets them as they are.
        return value if isinstance(value, FunctionType) else super()._written(value)


class _Formula(keras.Operation):
    """A function as an operation, to work out the shape that it gives."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self._function = function

    def call(self, *values: Any) -> Any:
        return self._function(*values)


def _number(strength: Any) -> float:
    try:
        number = float(strength)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise SubstituteError(f"`strength` is a finite number. Received: {strength!r}")
    return number


def _read(penalty: Any) -> Any:
    """What a user hands over as a penalty: the name of a metric, or something to call."""
    if isinstance(penalty, str) and penalty in catalog.in_graph():
        return penalty
    if isinstance(penalty, (str, dict)) or _is_regularizer_class(penalty):
        try:
            return keras.regularizers.get(penalty)
        except ValueError as error:
            raise SubstituteError(
                f"There is no penalty {penalty!r}. There are the names of Keras's regularizers, "
                f"such as 'l1', 'l2' and 'l1_l2', and of metrics: {', '.join(catalog.in_graph())}."
            ) from error
    wrong = (type, keras.Layer, keras.constraints.Constraint)
    if callable(penalty) and not isinstance(penalty, wrong):
        return penalty
    raise SubstituteError(
        "A penalty is a Keras regularizer, its name such as 'l2', or a function from values to a "
        f"scalar. Received: {penalty!r}"
    )


def _is_regularizer_class(penalty: Any) -> bool:
    return isinstance(penalty, type) and issubclass(penalty, keras.regularizers.Regularizer)


def _of_values(penalty: Any, count: int) -> Callable[..., Any]:
    """A function from as many values as there are to the penalty of all."""
    if isinstance(penalty, str):
        return _summed(functools.partial(getattr(catalog, penalty), xp=ops))
    if isinstance(penalty, keras.regularizers.Regularizer):
        return _summed(penalty)
    asked = _asked_for(penalty)
    if asked is None or asked == count:
        function: Callable[..., Any] = penalty
        return function
    if asked > 1:
        raise SubstituteError(
            f"A penalty gets each of {count} weights as an argument, or all in a list. Received a "
            f"function of {asked} arguments: {penalty!r}"
        )
    return lambda *values: penalty(list(values))


def _summed(penalty: Callable[[Any], Any]) -> Callable[..., Any]:
    return lambda *values: sum(penalty(value) for value in values)


def _asked_for(function: Callable[..., Any]) -> int | None:
    """How many positional arguments a function must be given; None if any number will do."""
    parameters: Sequence[inspect.Parameter] = list(inspect.signature(function).parameters.values())
    if any(parameter.kind is inspect.Parameter.VAR_POSITIONAL for parameter in parameters):
        return None
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(p.kind in positional and p.default is inspect.Parameter.empty for p in parameters)


def _wide(dtype: str) -> str:
    return "float32" if dtype in _NARROW or dtype.startswith("float8") else dtype


def _widened(value: Any) -> Any:
    dtype = keras.backend.standardize_dtype(value.dtype)
    return value if _wide(dtype) == dtype else ops.cast(value, _wide(dtype))
