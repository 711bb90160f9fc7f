"""The laws that every borrowing layer keeps, written once over the table in `zoo.py`."""

import copy
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np

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


def can_be(case: Case, place: str, way: str) -> bool:
    """Whether Keras itself can copy such a model in this way."""
    # Keras clones functional and sequential models only, and so says.
    return not (way == "cloned" and place in ("subclassed", "halves"))


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


def check_counts(model: keras.Model) -> None:
    """Every weight is one layer's own, and listed once."""
    variables = model.variables
    assert len({id(v) for v in variables}) == len(variables)
    leaves = [layer for layer in model._flatten_layers(include_self=False)]
    own = {id(v): v for layer in leaves for v in zoo.own_variables(layer)}
    assert {id(v) for v in model.weights} == set(own)
    assert model.count_params() == sum(int(np.prod(v.shape)) for v in own.values())


# --- Processes ------------------------------------------------------------------------------------


def in_process(*arguments: str, **environment: str) -> dict:
    """Runs a module of this folder in a fresh process; gives what it printed last, read as JSON."""
    path = [str(ROOT), *(entry for entry in sys.path if entry)]
    env = {**os.environ, "KERAS_BACKEND": BACKEND, "PYTHONPATH": os.pathsep.join(path)}
    done = subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=ROOT,
        env={**env, **environment},
        capture_output=True,
        text=True,
        timeout=400,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout.splitlines()[-1])


def save_all(folder: Path, cases) -> dict[str, dict]:
    """Saves every case in every place; gives by file what a loaded model must compute."""
    wanted = {}
    for case in cases:
        for place in zoo.PLACES:
            if not zoo.fits(case, place):
                continue
            model = randomize(zoo.PLACES[place](case))
            x = inputs()
            name = f"{case.name}@{place}".replace(" ", "_")
            wanted[name] = {"case": case.name, "before": should_be(case, model, x).tolist()}
            model.save(folder / f"{name}.keras")
    (folder / "cases.json").write_text(json.dumps({k: v["case"] for k, v in wanted.items()}))
    return wanted
