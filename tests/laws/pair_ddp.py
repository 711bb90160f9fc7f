"""Two processes that train by PyTorch's `DistributedDataParallel`, over the loopback interface."""

import contextlib
import datetime
import gc
import importlib
import json
import multiprocessing
import os
import tempfile
import traceback
from collections.abc import Callable, Iterator
from typing import Any

os.environ["GLOO_SOCKET_IFNAME"] = "lo"

import keras
import numpy as np
import torch
from torch import distributed
from torch.nn.parallel import DistributedDataParallel

RANKS = 2


def wrapped(model: keras.Model, **given: Any) -> DistributedDataParallel:
    """A Keras model, which is a module of torch, as Keras's guide has it."""
    return DistributedDataParallel(model, **given)


class Parallel(keras.Model):
    """Calls a model through its wrapper, so that `fit` trains it on several processes."""

    def __init__(self, model: keras.Model, **given: Any) -> None:
        super().__init__(name="parallel")
        self.inner = model
        # In no attribute of its own: Keras would track the wrapper's parameters once more.
        self.through = wrapped(model, **given).__call__

    def call(self, x: Any, training: bool | None = None) -> Any:
        return self.through(x, training=training)


def share(array: np.ndarray) -> np.ndarray:
    """The rows of a batch that are this process's."""
    rows = len(array) // RANKS
    begin = distributed.get_rank() * rows
    return array[begin : begin + rows]


def train(
    model: DistributedDataParallel,
    x: np.ndarray,
    y: list[np.ndarray],
    rate: float,
    steps: int = 1,
) -> None:
    """Gradient descent by a loop of one's own, on this process's rows of the batch."""
    optimizer = torch.optim.SGD(model.parameters(), rate)
    for _ in range(steps):
        optimizer.zero_grad()
        outputs = keras.tree.flatten(model(torch.from_numpy(share(x)), training=True))
        pairs = zip(outputs, y, strict=False)
        loss = sum((out - torch.from_numpy(share(to))).square().mean() for out, to in pairs)
        loss = loss + sum(model.module.losses)
        loss.backward()
        optimizer.step()


def apart(model: keras.Model) -> float:
    """How far the weights of the processes are from each other."""
    mine = [np.array(keras.ops.convert_to_numpy(v)) for v in model.variables]
    every: list[Any] = [None] * RANKS
    distributed.all_gather_object(every, mine)
    return max(float(np.abs(a.astype("float64") - b).max()) for a, b in zip(*every, strict=True))


def of_each(told: Any) -> list[Any]:
    """What each process says, in order."""
    every: list[Any] = [None] * RANKS
    distributed.all_gather_object(every, told)
    return every


def run(rows: Callable[[], Iterator[tuple[str, Callable[[], Any]]]]) -> None:
    """Has both processes work out all rows, and prints by name what the first one says of each."""
    with tempfile.TemporaryDirectory() as folder:
        store = f"file://{folder}/store"
        # A fork has everything imported already; nothing has been computed yet.
        _import_late()
        gc.freeze()
        fork = multiprocessing.get_context("fork")
        other = fork.Process(target=_work, args=(1, store, rows), daemon=True)
        other.start()
        said = _work(0, store, rows)
        other.join(60)
    print(json.dumps(said))


def _import_late() -> None:
    """What Keras imports at the first call of some layers, if it is there."""
    with contextlib.suppress(ImportError):
        importlib.import_module("tensorflow")


def _work(rank: int, store: str, rows: Any) -> dict[str, Any]:
    torch.set_num_threads(1)
    limit = datetime.timedelta(seconds=60)
    distributed.init_process_group(
        "gloo", init_method=store, rank=rank, world_size=RANKS, timeout=limit
    )
    said = {}
    for name, work in rows():
        try:
            said[name] = work()
        except Exception:
            said[name] = {"error": traceback.format_exc()[-3000:]}
        distributed.barrier()
    distributed.destroy_process_group()
    return said
