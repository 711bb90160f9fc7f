"""Digits learned by two processes of PyTorch, watched in each; prints what came of it."""

import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import torch
from tests.laws import pair_ddp as pair
from tests.monitor.training import IMAGES, LABELS
from torch import distributed

import steelyard as sy

METRICS = ("l2_norm", "update_ratio", "gradient_norm")
BATCH, STEPS = 128, 4


def made() -> keras.Model:
    keras.utils.set_random_seed(3 + distributed.get_rank())
    hidden = keras.layers.Dense(16, activation="relu", name="hidden")
    inputs = keras.Input((64,))
    net = keras.Model(inputs, keras.layers.Dense(10, name="head")(hidden(inputs)))
    return sy.parametrize(net, "hidden/kernel", sy.parametrizations.WeightNorm())


class Noted:
    """A sink of a user's own, in memory."""

    def __init__(self) -> None:
        self.steps: dict[str, dict[str, float | None]] = {}

    def log(self, step: int, readings: sy.Readings) -> None:
        self.steps[str(step)] = {
            f"{r.metric}/{r.address.removeprefix('inner/')}": r.value for r in readings
        }


class Watched:
    """A training with a Monitor, all of whose sinks are the same in each process."""

    def __init__(self, folder: Path) -> None:
        self.noted = Noted()
        self.folder = folder
        sinks = [folder / "run.db", folder / "events", folder / "run.jsonl", "logs", self.noted]
        self.monitor = sy.Monitor(METRICS, every=1, sinks=sinks)

    def said(self, logs: dict[str, float]) -> dict[str, Any]:
        return {
            "steps": self.noted.steps,
            "logs": {name.replace("/inner", ""): float(value) for name, value in logs.items()},
            "findings": [str(finding) for finding in self.monitor.findings],
        }


def fit(net: keras.Model, watched: Watched, rows: Callable[[Any], Any]) -> dict[str, float]:
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    net.compile(keras.optimizers.SGD(0.2), loss)
    x, y = (np.concatenate([rows(one[:BATCH])] * STEPS) for one in (IMAGES, LABELS))
    given = dict(batch_size=len(x) // STEPS, shuffle=False, verbose=0)
    history = net.fit(x, y, callbacks=[watched.monitor], **given).history
    return {name: values[-1] for name, values in history.items()}


def loop(net: Any, watched: Watched, rows: Callable[[Any], Any]) -> dict[str, float]:
    """A loop of one's own, which tells the callbacks what Keras would tell them."""
    history = keras.callbacks.History()
    told = [watched.monitor, history]
    callbacks = keras.callbacks.CallbackList(told, model=net, epochs=1, steps=STEPS)
    optimizer = torch.optim.SGD(net.parameters(), 0.2)
    x = torch.from_numpy(rows(IMAGES[:BATCH]))
    y = torch.from_numpy(rows(LABELS[:BATCH])).long()
    callbacks.on_train_begin()
    callbacks.on_epoch_begin(0)
    for batch in range(STEPS):
        callbacks.on_train_batch_begin(batch)
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(net(x, training=True), y)
        loss.backward()
        optimizer.step()
        callbacks.on_train_batch_end(batch, {"loss": float(loss.detach())})
    callbacks.on_epoch_end(0)
    callbacks.on_train_end()
    return {name: values[-1] for name, values in history.history.items()}


WAYS = {
    "fit": (fit, pair.Parallel),
    "loop": (loop, pair.wrapped),
}


def watched(way: str) -> dict[str, Any]:
    train, wrap = WAYS[way]
    with tempfile.TemporaryDirectory() as own:
        folder = Path(pair.of_each(own)[0])
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            here = Watched(folder)
            said = here.said(train(wrap(made()), here, pair.share))
        said["warnings"] = [str(w.message) for w in told if "steelyard" in w.filename]
        every = pair.of_each(said)
        files = sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))
        run = sy.Run.load(folder / "run.db")
        return {
            "each": every,
            "files": [name.partition(".out")[0] for name in files],
            "run": {"steps": run.steps, "findings": len(run.findings)},
            "one": alone(train) if distributed.get_rank() == 0 else None,
        }


def alone(train: Callable[..., Any]) -> dict[str, Any]:
    """The same, by one process on the whole batch."""
    with tempfile.TemporaryDirectory() as folder:
        here = Watched(Path(folder))
        return here.said(train(made(), here, lambda rows: rows))


def rows() -> Iterator[tuple[str, Callable[[], Any]]]:
    for way in WAYS:
        yield way, lambda way=way: watched(way)


if __name__ == "__main__":
    pair.run(rows)
