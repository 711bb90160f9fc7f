"""Which process of a training this is, where several train one model together."""

from __future__ import annotations

from typing import Any

import keras


def rank(model: keras.Model) -> int:
    """The number of this process among those that train a model together; 0 for one alone.

    PyTorch's processes are those of its default group, which `DistributedDataParallel` uses;
    TensorFlow's the workers of the strategy under which the model was made; JAX's all of them.
    """
    return _RANKS.get(keras.backend.backend(), lambda _: 0)(model)


def _of_torch(_: Any) -> int:
    import torch.distributed as processes

    if not (processes.is_available() and processes.is_initialized()):
        return 0
    return int(processes.get_rank())


def _of_tensorflow(model: Any) -> int:
    resolver = model.distribute_strategy.cluster_resolver
    if resolver is None or not resolver.task_type or resolver.task_type == "chief":
        return 0
    return int(resolver.task_id or 0) + ("chief" in resolver.cluster_spec().jobs)


def _of_jax(_: Any) -> int:
    import jax

    return int(jax.process_index())


_RANKS = {"torch": _of_torch, "tensorflow": _of_tensorflow, "jax": _of_jax}
