"""The laws that every borrowing layer keeps, written once over the table in `zoo.py`."""

import contextlib
import copy
import json
import os
import pickle
import socket
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from tests.laws import zoo
from tests.laws.zoo import Case, inputs, output, randomize, shift, should_be

ROOT = Path(__file__).parent.parent.parent
BACKEND = keras.backend.backend()
CLOSE = dict(rtol=2e-4, atol=2e-5)


# --- Ways to a second model -----------------------------------------------------------------------


def cloned(model, folder):
    twin = keras.models.clone_model(model)
    twin.set_weights(model.get_weights())
    return twin


def from_config(model, folder):
    twin = type(model).from_config(model.get_config())
    twin(inputs())
    twin.set_weights(model.get_weights())
    return twin


def from_json(model, folder):
    twin = keras.models.model_from_json(model.to_json())
    twin(inputs())
    twin.set_weights(model.get_weights())
    return twin


def deep_copied(model, folder):
    return copy.deepcopy(model)


def pickled(model, folder):
    return pickle.loads(pickle.dumps(model))


def loaded(model, folder):
    model.save(folder / "model.keras")
    return keras.models.load_model(folder / "model.keras")


COPIES = {
    function.__name__: function
    for function in (cloned, from_config, from_json, deep_copied, pickled, loaded)
}


# The other ways are also those of a load in a fresh process, which has every place.
PLACES = {"cloned": tuple(zoo.PLACES), "from_config": ("after", "before", "siblings", "halves")}


def can_be(case: Case, place: str, way: str) -> bool:
    """Whether such a model is copied in this way: by Keras at all, and in these tests."""
    if way == "cloned" and place in ("subclassed", "halves"):
        return False  # Keras clones functional and sequential models only, and so says
    return place in PLACES.get(way, ("after", "siblings"))


# --- Tied -----------------------------------------------------------------------------------------


def check_copy(case: Case, model: keras.Model, twin: keras.Model) -> None:
    """The copy computes the same from weights of its own, and the original is out of it."""
    x = inputs()
    was = output(model, x)
    np.testing.assert_allclose(output(twin, x), was, **CLOSE)
    same = {id(v) for v in model.variables} & {id(v) for v in twin.variables}
    assert not same, "the copy shares variables with the original"
    shift(case, twin)
    wanted = should_be(case, twin, x)
    assert np.abs(wanted - was).max() > 1e-2, "this shift would show nothing"
    np.testing.assert_allclose(output(twin, x), wanted, **CLOSE)
    np.testing.assert_allclose(output(model, x), was, **CLOSE)


def check_counts(case: Case, model: keras.Model) -> None:
    """Every weight is one layer's own, and is listed once."""
    borrower = zoo.borrower_in(model)
    lent = {id(v) for v in zoo.variables(case, model)}
    assert not lent & {id(v) for v in borrower.variables}
    assert borrower.count_params() == sum(int(np.prod(v.shape)) for v in borrower.variables)
    listed = [id(v) for v in model.trainable_variables]
    assert len(set(listed)) == len(listed)
    assert lent <= set(listed)
    leaves = [layer for layer in model.layers if type(layer) is not keras.layers.InputLayer]
    assert sum(layer.count_params() for layer in leaves) == model.count_params()
    assert model.count_params() == sum(int(np.prod(v.shape)) for v in model.weights)


# --- Trained --------------------------------------------------------------------------------------


def train(
    model: keras.Model,
    x: np.ndarray,
    rate: float = 0.1,
    epochs: int = 1,
    by: Callable[..., Any] = keras.Model.fit,
    **kwargs,
) -> None:
    """Gradient descent on the borrower's output, towards 0; one step an epoch."""
    outputs = keras.tree.flatten(model(x))
    wanted = [np.zeros(tuple(y.shape), "float32") for y in outputs]
    alone = len(outputs) == 1
    loss = "mse" if alone else ["mse", *[None] * (len(outputs) - 1)]
    model.compile(keras.optimizers.SGD(rate), loss, **kwargs)
    by(
        model,
        x,
        wanted[0] if alone else wanted,
        batch_size=len(x),
        epochs=epochs,
        shuffle=False,
        verbose=0,
    )


def check_trains(case: Case, model: keras.Model, rows: int = 4, **kwargs) -> None:
    """A step of `fit` moves every owner, and the borrower with it."""
    x = inputs(rows)
    was = zoo.values(case, model)
    train(model, x, **kwargs)
    for before, now in zip(was, zoo.values(case, model), strict=True):
        assert np.abs(now - before).max() > 1e-5
    np.testing.assert_allclose(output(model, x), should_be(case, model, x), **CLOSE)
    got = output(model, x, predict=True)
    np.testing.assert_allclose(got, should_be(case, model, x), **CLOSE)


def check_gradient(case: Case, model: keras.Model) -> None:
    """What a step takes from the owner is the slope of the loss, by differences in NumPy."""
    x = inputs()
    was = zoo.values(case, model)
    own = [np.asarray(w, "float64") for w in zoo.borrower_in(model).get_weights()]

    def loss(values):
        y = case.expected(x[:, : case.width].astype("float64"), values, own)
        return np.mean(np.square(y))

    wanted = [np.zeros_like(value) for value in was]
    for index, value in enumerate(was):
        for place in np.ndindex(value.shape):
            step = [np.copy(w) for w in was]
            step[index][place] += 1e-5
            up = loss(step)
            step[index][place] -= 2e-5
            wanted[index][place] = (up - loss(step)) / 2e-5
    train(model, x, rate=1.0)
    for before, now, slope in zip(was, zoo.values(case, model), wanted, strict=True):
        assert np.abs(slope).max() > 1e-3
        np.testing.assert_allclose(before - now, slope, rtol=1e-3, atol=1e-4)


def give(model: keras.Model, layer: keras.Layer) -> None:
    """Makes a model hold a layer that is not in its graph."""
    setattr(model, layer.name, layer)
    if layer not in model._flatten_layers():
        pytest.skip("this Keras tracks no layer that a functional model is given later")


# --- Exported -------------------------------------------------------------------------------------


class SavedModel:
    """A TensorFlow SavedModel, read back without Keras."""

    def __init__(self, folder: Path) -> None:
        import tensorflow as tf

        self.artifact = tf.saved_model.load(str(folder))

    def __call__(self, x):
        return np.asarray(self.artifact.serve(x))

    def shift(self, value, by: float = 0.25) -> None:
        """Changes the variable of the export that has this value."""
        all_of = self.artifact.variables
        (found,) = [v for v in all_of if v.shape == value.shape and np.allclose(v, value)]
        found.assign_add(np.full(found.shape, by, "float32"))


class Program:
    """A torch `ExportedProgram`, read back without Keras."""

    def __init__(self, path: Path) -> None:
        import torch

        self.torch = torch
        self.module = torch.export.load(str(path)).module()

    def __call__(self, x):
        return self.module(self.torch.from_numpy(x)).detach().numpy()


def exported(model: keras.Model, folder: Path) -> SavedModel | Program:
    if BACKEND == "torch":
        if keras.__version__.startswith("3.13."):
            pytest.skip("Keras 3.13 exports nothing for torch")
        model.export(folder / "model.pt2", format="torch", verbose=False)
        return Program(folder / "model.pt2")
    pytest.importorskip("tensorflow")
    model.export(folder / "export", verbose=False)
    return SavedModel(folder / "export")


# --- Processes ------------------------------------------------------------------------------------


def in_process(*arguments: str, **environment: str) -> dict:
    """Runs a module of this folder in a fresh process; gives what it printed last, read as JSON."""
    (said,) = in_processes(arguments, [environment])
    return said


def in_processes(arguments: Sequence[str], environments: Sequence[dict[str, str]]) -> list[dict]:
    """The same in several at once, each with more in its environment."""
    path = [str(ROOT), *(entry for entry in sys.path if entry)]
    told = {"KERAS_BACKEND": BACKEND, "PYTHONPATH": os.pathsep.join(path)}
    with contextlib.ExitStack() as open_files:
        running, outputs = [], []
        for more in environments:
            files = [open_files.enter_context(tempfile.TemporaryFile("w+")) for _ in range(2)]
            outputs.append(files)
            process = subprocess.Popen(
                [sys.executable, "-m", *arguments],
                cwd=ROOT,
                env={**os.environ, **told, **more},
                stdout=files[0],
                stderr=files[1],
            )
            running.append(process)
        try:
            statuses = [process.wait(timeout=400) for process in running]
        finally:
            for process in running:
                process.kill()
                process.wait()
        said, errors = zip(*([_all_of(file) for file in files] for files in outputs), strict=True)
    assert not any(statuses), "\n".join(text[-4000:] for text in errors)
    return [json.loads(text.splitlines()[-1]) for text in said]


def _all_of(file) -> str:
    file.seek(0)
    return file.read()


def trained_under(strategy: str) -> dict[str, dict]:
    """What `replicas.py` says of a strategy, by row; under "other" what the second worker says."""
    module = ["tests.laws.replicas", strategy]
    if strategy == "workers":
        said, other = in_processes(module, [{"TF_CONFIG": place} for place in _two_places()])
        return {row: {**report, "other": other[row]} for row, report in said.items()}
    if BACKEND != "jax":
        return in_process(*module)
    eight = "--xla_force_host_platform_device_count=8"
    return in_process(*module, XLA_FLAGS=f"{os.environ.get('XLA_FLAGS', '')} {eight}")


def _two_places() -> list[str]:
    """What each of two workers of TensorFlow's is told: where both are, and which it is."""
    with contextlib.ExitStack() as taken:
        sockets = [taken.enter_context(socket.socket()) for _ in range(2)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        cluster = {"worker": [f"127.0.0.1:{one.getsockname()[1]}" for one in sockets]}
    return [
        json.dumps({"cluster": cluster, "task": {"type": "worker", "index": index}})
        for index in range(2)
    ]


def save_all(folder: Path, stands) -> dict[str, dict]:
    """Saves cases in places; gives by file what a loaded model must compute."""
    wanted = {}
    for case, place in stands:
        name = f"{case.name}@{place}".replace(" ", "_")
        wanted[name] = {"case": case.name, **_saved(folder / f"{name}.keras", case, place)}
    there = {key: row["case"] for key, row in wanted.items() if "error" not in row}
    (folder / "cases.json").write_text(json.dumps(there))
    return wanted


def _saved(path: Path, case: Case, place: str) -> dict:
    try:
        model = randomize(zoo.PLACES[place](case))
        model.save(path)
        return {"before": should_be(case, model, inputs()).tolist()}
    except Exception:  # shown by the test of this model; the others are tested all the same
        return {"error": traceback.format_exc()[-3000:]}
