"""The gradient of a batch, without a change to the training that it is the gradient of.

Keras shows callbacks no gradients. On PyTorch they lie in the variables after the step. On
TensorFlow and JAX the compiled step keeps them to itself, and a step that would also hand them out
is another program, which rounds otherwise (decisions/0009). So the batch is taken before the step,
its gradient worked out by a program of its own, from the same weights, seeds and statistics, which
are as before afterwards; and the step gets the batch as if it had come from the data.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from steelyard.live import has_own_train_step, in_training_mode, loss_of, view

_OWN_STEP = "the model has a train_step of its own, whose gradients only it knows"
_MANY_STEPS = (
    "steps_per_execution is {0}: the step runs inside Keras's compiled loop, where no batch can be "
    "taken out; compile with steps_per_execution=1"
)
_REPLICAS = "the step runs on several replicas at once"
_RANDOM = "the model draws from a random state that cannot be put back ({0}); use keras.random"
_NOT_TAKEN = "the gradient of this batch was not asked for before it was trained on"


class Gradients:
    """The gradients of the trainable variables of a model at batches that are announced.

    Args:
        model: A model in training.
    """

    def __init__(self, model: keras.Model) -> None:
        self._model = model
        self.reason = _why_none(model)
        self._wanted = False
        self._found: dict[int, np.ndarray] | None = None
        self._scale = 1.0
        self._torch = keras.backend.backend() == "torch"
        self._original: Any = None
        self._before_it: Any = None
        self._look: Any = None
        if not self.reason and not self._torch:
            self._look = (_of_jax if keras.backend.backend() == "jax" else _of_tensorflow)(model)
            self._put_in()

    def ask(self) -> None:
        """Say that the next batch's gradient is wanted."""
        self._found = None
        if self.reason:
            return
        self._wanted = True
        if self._torch and (optimizer := _optimizer(self._model)) is not None:
            self._scale = float(optimizer.scale_loss(1.0))

    def of(self, variable: keras.Variable) -> np.ndarray | str:
        """The gradient of a variable at the last batch, or why there is none."""
        if self.reason:
            return self.reason
        if not any(variable is one for one in self._model.trainable_variables):
            return "training does not move this weight itself"
        if self._torch:
            if not self._wanted:
                return _NOT_TAKEN
            gradient = variable.value.grad
            if gradient is None:
                return "no gradient reached it"
            array = view(gradient)
            return array if self._scale == 1 else array / array.dtype.type(self._scale)
        if self._found is None:
            return self.reason or _NOT_TAKEN
        return self._found.get(id(variable), "no gradient reached it")

    def forget(self) -> None:
        """Let go of the gradients of the last batch."""
        self._found, self._wanted = None, False

    def close(self) -> None:
        """Take nothing out any more."""
        if self._original is not None and self._model.train_function is self._before_it:
            self._model.train_function = self._original
        self._wanted = False

    def _put_in(self) -> None:
        """Stand before the function that Keras trains by."""
        original = self._original = self._model.train_function

        def train(*given: Any) -> Any:
            if self._wanted:
                self._wanted = False
                given = self._taken(*given)
            return original(*given)

        self._model.train_function = self._before_it = train

    def _taken(self, *given: Any) -> tuple[Any, ...]:
        """Work out the gradient of the batch that comes; what the step is to be given instead."""
        *state, iterator = given
        batch, again = _batch(iterator)
        try:
            gradients = self._look(*state, batch)
            self._found = {
                id(variable): np.asarray(gradient)
                for variable, gradient in zip(
                    self._model.trainable_variables, gradients, strict=True
                )
                if gradient is not None
            }
        except Exception as error:  # the training goes on without it
            self.reason = f"{type(error).__name__}: {error}"
        return (*state, again)


def _why_none(model: keras.Model) -> str:
    torch = keras.backend.backend() == "torch"
    if _optimizer(model) is None:  # a loop of the user's trains it
        return "" if torch else "the model has no optimizer"
    if has_own_train_step(model):
        return _OWN_STEP
    if not torch and model.steps_per_execution > 1:
        return _MANY_STEPS.format(model.steps_per_execution)
    strategy = getattr(model, "distribute_strategy", None)  # TensorFlow's models have one
    return _REPLICAS if strategy is not None and strategy.num_replicas_in_sync > 1 else ""


def _optimizer(model: keras.Model) -> Any:
    """The optimizer of a compiled model; one that is not compiled may have no such attribute."""
    return getattr(model, "optimizer", None)


def _batch(iterator: Any) -> tuple[Any, Any]:
    """The next batch, and an iterator that has it and is of the same kind."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        if isinstance(iterator, tf.data.Iterator):
            held = iterator.get_next_as_optional()
            if not held.has_value():
                raise StopIteration
            batch = held.get_value()
            # Of the same element_spec: the step that is compiled already takes it.
            one = tf.data.Dataset.from_tensors(batch)
            variant = tf.data.experimental.to_variant(one)
            same = tf.data.experimental.from_variant(variant, iterator.element_spec)
            return batch, iter(same)
    batch = next(iterator)
    return batch, iter((batch,))


def _of_jax(model: keras.Model) -> Any:
    import jax

    def gradients(state: Any, batch: Any) -> Any:
        trainable, others, optimizer, counts = state
        x, y, weights = keras.utils.unpack_x_y_sample_weight(batch)
        slope = jax.grad(model.compute_loss_and_updates, has_aux=True)
        given = dict(training=True, optimizer_variables=optimizer)
        found, _ = slope(trainable, others, counts, x, y, weights, **given)
        mapping = list(zip(model.optimizer.variables, optimizer, strict=True))
        with keras.StatelessScope(mapping):
            scale = model.optimizer.scale_loss(keras.ops.ones(()))
        return [gradient / scale.astype(gradient.dtype) for gradient in found]

    return gradients if model.run_eagerly else jax.jit(gradients)


def _of_tensorflow(model: keras.Model) -> Any:
    import tensorflow as tf

    reached: list[bool] = []

    def gradients(batch: Any) -> Any:
        x, y, weights = keras.utils.unpack_x_y_sample_weight(batch)
        with tf.GradientTape() as tape:
            loss = loss_of(model, x, y, in_training_mode(model, x), weights)
        found = tape.gradient(loss, model.trainable_variables)
        reached[:] = [gradient is not None for gradient in found]
        return [tf.convert_to_tensor(gradient) for gradient in found if gradient is not None]

    traced = tf.function(
        gradients, jit_compile=model.jit_compile, reduce_retracing=True, autograph=False
    )
    safe: set[int] = set()

    def undisturbed(batch: Any) -> Any:
        batch = keras.tree.map_structure(
            lambda part: None if isinstance(part, tf.experimental.Optional) else part, batch
        )
        concrete = traced.get_concrete_function(batch)
        if id(concrete) not in safe:
            _refuse_hidden_state(concrete.graph)
            safe.add(id(concrete))
        with _put_back(concrete.graph.variables):
            found = iter(traced(batch))
        return [next(found) if there else None for there in reached]

    return undisturbed


@contextlib.contextmanager
def _put_back(variables: Any) -> Iterator[None]:
    """Whatever the block changes of these is undone: statistics, seeds, counts."""
    import tensorflow as tf

    before = [tf.identity(variable) for variable in variables]  # no copy until it is written to
    try:
        yield
    finally:
        for variable, value in zip(variables, before, strict=True):
            variable.assign(value)


def _refuse_hidden_state(graph: Any) -> None:
    """What draws from TensorFlow's own random state, or runs Python, cannot be undone."""
    definition = graph.as_graph_def()
    nodes = [*definition.node, *(n for f in definition.library.function for n in f.node_def)]
    hidden = {node.op for node in nodes if node.op in _HIDDEN}
    if hidden:
        raise ValueError(_RANDOM.format(min(hidden)))


_HIDDEN = frozenset(
    (
        *("RandomUniform", "RandomUniformInt", "RandomStandardNormal", "TruncatedNormal"),
        *("ParameterizedTruncatedNormal", "RandomShuffle", "RandomGamma", "RandomPoissonV2"),
        *("Multinomial", "PyFunc", "EagerPyFunc"),
    )
)
