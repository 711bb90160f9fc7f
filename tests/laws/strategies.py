"""The ways to train on several devices that the laws hold under: one class each.

What a strategy needs before its backend starts is done when it is made, once a process.
"""

import contextlib
import json
import os
import socket
import subprocess
import sys
from typing import Any

import keras
import numpy as np

WORKER = "TF_CONFIG"
# What is sharded on JAX, by the paths of the variables: owners by rows and by columns, borrowers,
# and what parametrizations store. The rest is on each device.
SHARDED = {
    "(proj|two|lstm/.*|hidden)/(recurrent_)?kernel$": (None, "model"),
    "(one|three|subject|head)/kernel(_a|_b|_mask)?$": ("model", None),
    "heads/query/kernel$": (None, "model", None),
    "table/embeddings$": ("model", None),
    "(proj|borrower|hidden|scan)/bias$": ("model",),
}


class Mirrored:
    """`tf.distribute.MirroredStrategy` on two devices of one process."""

    copies = 2

    def __init__(self) -> None:
        import tensorflow as tf

        cpu = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
        self.scope = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope
        self.fit = keras.Model.fit

    def misplaced(self, model: keras.Model) -> list[str]:
        """The weights that are on other devices than on each."""
        off = [v.path for v in model.variables if len(v.value.values) != self.copies]
        return off

    def spread(self, model: keras.Model) -> list[str]:
        """The weights of which no device has all."""
        return []


class Workers:
    """`tf.distribute.MultiWorkerMirroredStrategy`: this process is one of two."""

    copies = 2

    def __init__(self) -> None:
        import tensorflow as tf

        self.strategy = tf.distribute.MultiWorkerMirroredStrategy()
        assert self.strategy.num_replicas_in_sync == self.copies
        self.scope = self.strategy.scope

    def fit(
        self,
        model: keras.Model,
        x: np.ndarray,
        y: np.ndarray,
        batch_size: int,
        epochs: int = 1,
        callbacks: Any = (),
        **kwargs: Any,
    ) -> None:
        """Keras's own steps in a loop of one's own: its `fit` does not train under this strategy."""
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

    def misplaced(self, model: keras.Model) -> list[str]:
        """The weights that this worker has no mirror of."""
        return [v.path for v in model.variables if not hasattr(v.value, "values")]

    def spread(self, model: keras.Model) -> list[str]:
        """The weights of which no device has all."""
        return []


class Distributed:
    """`keras.distribution` over eight devices of one process."""

    copies = 8
    fit = staticmethod(keras.Model.fit)

    def __init__(self, distribution: Any) -> None:
        import jax

        assert jax.device_count() == self.copies
        self.distribution = distribution
        self.scope = distribution.scope

    def misplaced(self, model: keras.Model) -> list[str]:
        """The weights that lie otherwise than the distribution says."""
        return [
            f"{v.path}: {v.value.sharding}"
            for v in model.variables
            if not v.value.sharding.is_equivalent_to(self._asked(v), v.value.ndim)
        ]

    def spread(self, model: keras.Model) -> list[str]:
        """The weights of which no device has all."""
        return [v.path for v in model.variables if not v.value.sharding.is_fully_replicated]

    def _asked(self, variable: keras.Variable) -> Any:
        layout = self.distribution.get_variable_layout(variable)
        return getattr(layout, "backend_layout", layout)


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
    return Distributed(
        keras.distribution.ModelParallel(layout_map=layouts, batch_dim_name="batch")
    )


STRATEGIES = {"mirrored": Mirrored, "workers": Workers, "data": data, "model": model}
BACKENDS = {"mirrored": "tensorflow", "workers": "tensorflow", "data": "jax", "model": "jax"}


# --- Several processes ----------------------------------------------------------------------------


def among_others() -> bool:
    """Whether this process was told what the other workers are."""
    return WORKER in os.environ


def as_workers(arguments: list[str], count: int = 2, timeout: float = 400) -> list[Any]:
    """Runs a command in processes that know of each other; what each printed last, as JSON."""
    with contextlib.ExitStack() as taken:
        sockets = [taken.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        addresses = [f"127.0.0.1:{one.getsockname()[1]}" for one in sockets]
    workers = []
    for index in range(count):
        place = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
        env = {**os.environ, WORKER: json.dumps(place)}
        workers.append(
            subprocess.Popen(
                [sys.executable, *arguments], env=env, stdout=subprocess.PIPE, text=True
            )
        )
    try:
        said = [worker.communicate(timeout=timeout)[0] for worker in workers]
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
    return [json.loads(lines.splitlines()[-1]) for lines in said]
