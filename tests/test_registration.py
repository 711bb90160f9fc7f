"""A file with our layers loads after `import steelyard`, wherever that line stands."""

import subprocess
import sys

import keras
import numpy as np
import pytest
from tests.turns import once

import steelyard as sy

pytestmark = once("torch")

LOAD = "model = keras.models.load_model({path!r}, compile=False)\nprint(model.layers[-1].name)"


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    inputs = keras.Input((4,))
    encoder = keras.layers.Dense(2, name="encoder")
    model = keras.Model(inputs, sy.layers.TiedDense(encoder, name="tied")(encoder(inputs)))
    path = str(tmp_path_factory.mktemp("saved") / "model.keras")
    model.save(path)
    assert np.isfinite(model.predict(np.zeros((1, 4)), verbose=0)).all()
    return path


def run(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize(
    "imports",
    [
        "import keras\nimport steelyard",
        "import steelyard\nimport keras",
        "import steelyard\nfrom keras.models import load_model\nimport keras",
    ],
    ids=["keras first", "steelyard first", "a part of keras first"],
)
def test_a_file_loads_in_a_fresh_process(path, imports):
    done = run(f"{imports}\n{LOAD.format(path=path)}")
    assert done.stdout.strip().endswith("tied"), done.stderr


@pytest.mark.parametrize("first", ["sy.ref", "sy.parametrizations"])
def test_any_name_may_be_the_first_to_import_keras(path, first):
    code = f"import steelyard as sy\n{first}\nimport keras\n{LOAD.format(path=path)}"
    done = run(code)
    assert done.stdout.strip().endswith("tied"), done.stderr


def test_without_us_keras_says_what_is_missing(path):
    done = run(f"import keras\n{LOAD.format(path=path)}")
    assert done.returncode != 0
    assert "steelyard>TiedDense" in done.stderr


def test_importing_keras_alone_is_left_as_it_was():
    code = (
        "import sys\nbefore = list(sys.meta_path)\nimport steelyard\nimport keras\n"
        "assert keras.__spec__.origin.endswith('__init__.py')\n"
        "print(sum('steelyard' in type(f).__module__ for f in sys.meta_path))"
    )
    assert run(code).stdout.strip().endswith("0")
