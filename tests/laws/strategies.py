"""The ways to train on several devices that the laws hold under: one class each.

What a strategy needs before its backend starts is done when it is made, once a process.
"""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

# What is sharded on JAX, by the paths of the variables: owners by rows and by columns, borrowers,
# and what parametrizations store. The rest is on each device.
SHARDED = {
    "(proj|two|lstm/.*|hidden)/(recurrent_)?kernel$": (None, "model"),
    "(one|three|subject|head)/kernel(_a|_b|_mask)?$": ("model", None),
    "heads/query/kernel$": (None, "model", None),
    "table/embeddings$": ("model", None),
    "(proj|borrower|hidden|scan)/bias$": ("model",),
}


class Strategy:
    """A way to train on several devices.

    Attributes:
        copies: How many devices share a batch.
        scope: What a model is made and trained in.
        fit: Trains one, with the arguments of `keras.Model.fit` after the model.
        shows_gradients: Whether `sy.Monitor` gets the gradient of a batch.
    """

    copies = 2
    scope: Callable[[], Any]
    fit: Callable[..., Any] = staticmethod(keras.Model.fit)
    shows_gradients = False

    def placed(self, model: keras.Model) -> dict[str, list[str]]:
        """The weights that are not where they should be, and those of which no device has all."""
        raise NotImplementedError


class Mirrored(Strategy):
    """`tf.distribute.MirroredStrategy` on two devices of one process."""

    def __init__(self) -> None:
        import tensorflow as tf

        cpu = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(
            cpu, [tf.config.LogicalDeviceConfiguration()] * 2
        )
        self.scope = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope

    def placed(self, model: keras.Model) -> dict[str, list[str]]:
        off = [v.path for v in model.variables if len(getattr(v.value, "values", ())) != 2]
        return {"misplaced": off, "spread": []}


class Workers(Strategy):
    """`tf.distribute.MultiWorkerMirroredStrategy`: this process is one of two."""

    def __init__(self) -> None:
        import tensorflow as tf

        self.strategy = tf.distribute.MultiWorkerMirroredStrategy()
        assert self.strategy.num_replicas_in_sync == self.copies
        self.scope = self.strategy.scope
        self.fit = self._fit

    def _fit(
        self,
        model: keras.Model,
        x: np.ndarray,
        y: np.ndarray,
        batch_size: int,
        epochs: int = 1,
        callbacks: Any = (),
        **kwargs: Any,
    ) -> None:
        """Keras's own step in a loop of one's own: its `fit` does not train here."""
        import tensorflow as tf

        data = tf.data.Dataset.from_tensor_slices((x, y)).batch(batch_size)
        data = self.strategy.experimental_distribute_dataset(data)
        with self.scope():
            model.optimizer.build(model.trainable_variables)
        step = tf.function(lambda batch: self.strategy.run(model.train_step, args=(batch,)))
        told = keras.callbacks.CallbackList(list(callbacks), model=model)
        told.on_train_begin()
        for epoch in range(epochs):
            told.on_epoch_begin(epoch)
            for number, batch in enumerate(data):
                told.on_train_batch_begin(number)
                step(batch)
                told.on_train_batch_end(number, {})
            told.on_epoch_end(epoch, {})
        told.on_train_end()

    def placed(self, model: keras.Model) -> dict[str, list[str]]:
        off = [v.path for v in model.variables if not hasattr(v.value, "values")]
        return {"misplaced": off, "spread": []}


class Distributed(Strategy):
    """`keras.distribution` over eight devices of one process."""

    copies = 8
    shows_gradients = True

    def __init__(self, distribution: Any) -> None:
        import jax

        assert jax.device_count() == self.copies
        self.distribution = distribution
        self.scope = distribution.scope

    def placed(self, model: keras.Model) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {"misplaced": [], "spread": []}
        for variable in model.variables:
            layout = self.distribution.get_variable_layout(variable)
            asked = getattr(layout, "backend_layout", layout)
            sharding = variable.value.sharding
            if not sharding.is_equivalent_to(asked, variable.value.ndim):
                found["misplaced"].append(f"{variable.path}: {sharding}")
            if not sharding.is_fully_replicated:
                found["spread"].append(variable.path)
        return found


def data() -> Distributed:
    """Each device has all weights and its share of the batch."""
    return Distributed(keras.distribution.DataParallel())


def model() -> Distributed:
    """Of two devices each has a half of what `SHARDED` names; four such pairs share the batch."""
    devices = keras.distribution.list_devices()
    mesh = keras.distribution.DeviceMesh((4, 2), ("batch", "model"), devices)
    layouts = keras.distribution.LayoutMap(mesh)
    for path, axes in SHARDED.items():
        layouts[path] = axes
    return Distributed(keras.distribution.ModelParallel(layout_map=layouts, batch_dim_name="batch"))


STRATEGIES = {"mirrored": Mirrored, "workers": Workers, "data": data, "model": model}
BACKENDS = {"mirrored": "tensorflow", "workers": "tensorflow", "data": "jax", "model": "jax"}
