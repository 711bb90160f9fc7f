"""The demo, start to end on the running backend; and what makes it fail."""

import math
import os
import re
import subprocess
import sys
import zipfile

import h5py
import keras
import numpy as np
import pytest
from rich.console import Console
from tests.turns import once

import steelyard as sy
import steelyard.layers  # so that Keras can load them
from steelyard.cli import demo
from steelyard.cli.demo import Check, Result, Row, Weighed

TRAINED = 1.5


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """The demo in a process of its own, quickly; and the folder that it was told to keep."""
    folder = tmp_path_factory.mktemp("demo") / "kept"
    environment = {**os.environ, "KERAS_BACKEND": keras.backend.backend(), "COLUMNS": "80"}
    process = subprocess.run(
        [
            *(sys.executable, "-c", "from steelyard.cli import main; main()"),
            *("demo", "--epochs", "2", "--out", str(folder)),
        ],
        capture_output=True,
        text=True,
        encoding="utf-8",
        env={**environment, "PYTHONIOENCODING": "utf-8"},
        timeout=300,
    )
    return process, folder


# --- start to end -------------------------------------------------------------------------------


@once("jax")
def test_all_agree(done):
    process, _ = done
    assert process.returncode == 0, process.stdout + process.stderr
    assert "12 weights, 68 comparisons, all agree" in process.stdout


@once("jax")
def test_table(done):
    process, _ = done
    rows = [line.split() for line in process.stdout.splitlines() if line.rstrip().endswith("✓")]
    assert len(rows) == 12
    lent = {}
    for address, _shape, *cells, _mark in rows:
        numbers = [float(cell) for cell in cells if re.fullmatch(r"\d+\.\d+", cell)]
        assert len(set(numbers[:4])) == 1, address
        if len(numbers) == 6:
            lent[address] = cells[0]
            assert numbers[4] == numbers[5]
    assert lent == {"conv/kernel": "weigh", "down_1/kernel": "up_1", "down_2/kernel": "up_2"}


@once("jax")
def test_models_learn(done):
    process, _ = done
    right = re.search(r"([\d.]+)% of 360 digits", process.stdout)
    error, guessing = re.search(
        r"squared error ([\d.]+), guessing ([\d.]+\d)", process.stdout
    ).groups()
    assert float(right[1]) > 70
    assert float(error) < 0.8 * float(guessing)


@once("jax")
def test_fits_a_terminal_and_keeps_its_progress_off_stdout(done):
    process, _ = done
    assert max(map(len, process.stdout.splitlines()[:-1])) <= 80
    assert "Traceback" not in process.stderr
    steps = [line.split()[0].strip(",") for line in process.stderr.splitlines()]
    assert steps == ["Start", "Train", "Train", "Load", "Weigh"]


@once("jax")
def test_kept_models_load(done):
    _, folder = done
    assert sorted(path.name for path in folder.iterdir()) == [
        "autoencoder.keras",
        "classifier.keras",
    ]
    for path in folder.iterdir():
        model = keras.models.load_model(path)
        weighed = demo.weigh(model)
        assert weighed.norms == pytest.approx(demo.weigh_file(path))
        assert all(weighed.norms[at] == pytest.approx(seen) for at, seen in weighed.seen.items())


@pytest.mark.in_turn
def test_file_that_was_tampered_with_is_noticed(done, tmp_path):
    _, folder = done
    model = keras.models.load_model(folder / "autoencoder.keras")
    before = demo.weigh(model)
    sy.weights(model)["down_1/kernel"].assign(sy.weights(model)["down_1/kernel"].numpy() * 1.001)
    model.save(tmp_path / "other.keras")
    after = demo.weigh_file(tmp_path / "other.keras")
    assert [at for at in before.norms if not Check("", before.norms[at], after[at]).agrees] == [
        "down_1/kernel"
    ]


def test_fresh_process_that_fails_says_why(tmp_path):
    with pytest.raises(sy.SteelyardError, match=r"loads the saved models failed: .*not_there"):
        demo._weigh_in_fresh_process([tmp_path / "not_there.keras"])


# --- what makes it fail -------------------------------------------------------------------------


def row(**wrong: float) -> Row:
    """A row in which all agrees, but for `wrong`."""
    stages = ("trained", "loaded", "NumPy", "cloned", "original")
    norms = {**dict.fromkeys(stages, TRAINED), "tuned": 1.75}
    seen = {stage: norms[stage] for stage in ("trained", "loaded", "cloned", "tuned")}
    norms |= {stage: norm for stage, norm in wrong.items() if stage in norms}
    seen |= {
        stage.removeprefix("seen_"): n for stage, n in wrong.items() if stage.startswith("seen_")
    }
    return Row("down/kernel", (3, 2), "up", norms, seen)


def test_good_row_is_status_0():
    checks = list(row().checks())
    assert len(checks) == 8
    assert demo.status(checks) == 0


@pytest.mark.parametrize("stage", ["trained", "loaded", "NumPy", "cloned", "original", "tuned"])
@pytest.mark.parametrize("norm", [TRAINED * (1 + 1e-5), math.nan])
def test_one_wrong_norm_is_status_1(stage, norm):
    checks = list(row(**{stage: norm}).checks())
    assert demo.status(checks) == 1
    assert all(stage in check.what for check in checks if not check.agrees)


@pytest.mark.parametrize("stage", ["trained", "loaded", "cloned", "tuned"])
def test_borrower_that_sees_something_else_is_status_1(stage):
    wrong = [check for check in row(**{f"seen_{stage}": 1.6}).checks() if not check.agrees]
    assert [check.what for check in wrong] == [f"down/kernel: {stage}, seen by up"]


@pytest.mark.parametrize(
    ("left", "right", "within", "agrees"),
    [
        (1.0, 1.0, 1e-6, True),
        (1.0, 1.0 + 5e-7, 1e-6, True),
        (1.0, 1.0 + 2e-6, 1e-6, False),
        (1.0, 1.005, 1e-2, True),
        (0.0, 0.0, 1e-6, True),
        (0.0, 1e-12, 1e-6, False),
        (math.nan, math.nan, 1e-6, False),
        (math.inf, 1.0, 1e-6, False),
    ],
)
def test_agrees(left, right, within, agrees):
    assert Check("", left, right, within).agrees is agrees


def test_counts_of_arrays_and_of_moved_weights(tmp_path):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, name="down")])
    model.save(tmp_path / "m.keras")
    kernel = row()
    still = row(tuned=TRAINED)
    assert demo.status(demo._counts("m", [kernel, kernel], tmp_path / "m.keras")) == 0
    assert demo.status(demo._counts("m", [kernel, still], tmp_path / "m.keras")) == 1
    assert demo.status(demo._counts("m", [kernel], tmp_path / "m.keras")) == 1


@pytest.mark.parametrize(("encoding", "mark"), [("utf-8", "✓"), ("ascii", "ok")])
def test_what_disagrees_is_said(encoding, mark, tmp_path):
    with open(tmp_path / "out.txt", "w", encoding=encoding) as file:
        result = Result("m", "A story.", [row(loaded=2.5), row()], [])
        demo.show([result], result.checks(), Console(file=file, width=80))
    said = (tmp_path / "out.txt").read_text(encoding=encoding).splitlines()
    assert "down/kernel: trained, loaded: 1.5 and 2.5" in said
    assert said[-1] == "2 weights, 16 comparisons, 2 disagree."
    marks = [line.split()[-1] for line in said if line.startswith("down/kernel ")]
    assert marks == ["no", mark]


# --- weighing -----------------------------------------------------------------------------------


def test_weigh_asks_the_graph():
    inputs = keras.Input((4,))
    hidden = keras.layers.Dense(3, name="hidden")
    code = hidden(inputs)
    model = keras.Model(inputs, [code, sy.layers.WeightAnalyzer(hidden, name="weigh")(code)])
    weighed = demo.weigh(model)
    assert isinstance(weighed, Weighed)
    kernel = hidden.get_weights()[0]
    assert weighed.norms["hidden/kernel"] == pytest.approx(np.linalg.norm(kernel), rel=1e-6)
    assert weighed.seen == {"hidden/kernel": pytest.approx(np.linalg.norm(kernel), rel=1e-6)}


def test_arrays_in_a_file_stand_in_their_order(tmp_path):
    # As text, "10" comes before "2".
    with h5py.File(tmp_path / "weights.h5", "w") as file:
        store = file.create_group("layers/dense/vars")
        store.attrs["name"] = "many"
        for index in range(12):
            store[str(index)] = np.float32(index)
    with zipfile.ZipFile(tmp_path / "m.keras", "w") as archive:
        archive.write(tmp_path / "weights.h5", "model.weights.h5")
    assert demo.arrays_in(tmp_path / "m.keras") == {"many": list(range(12))}
