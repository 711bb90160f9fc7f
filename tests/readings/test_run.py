"""A run: written a step at a time, read back to the last bit, also after the writer was killed."""

import json
import math
import signal
import sqlite3
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

import steelyard as sy
from steelyard.readings import RunStep, check_run_path, run_writer
from steelyard.records import Finding, Reading

pytestmark = pytest.mark.no_keras

needs_arrow = pytest.mark.skipif(find_spec("pyarrow") is None, reason="needs PyArrow")
ENDINGS = [".db", ".jsonl", pytest.param(".parquet", marks=needs_arrow)]


def step(number: int, *more: Reading, first: float = 1 / 3) -> RunStep:
    readings = (
        Reading("a/kernel", "l2_norm", first * number, "w"),
        Reading("a/kernel", "spectral_norm", 0.1, "w", bound=1e-9),
        Reading("b/kernel", "singular_values", (3.0, math.inf, 1e-300), "w"),
        Reading("b/kernel", "tail_model", "lognormal"),
        Reading("b/kernel", "stable_rank", None, "1", "undefined", "all zeros"),
        Reading("b/kernel", "cosine", math.nan),
        *more,
    )
    return RunStep(number, number // 10, number % 10, readings, {"loss": 0.5, "acc": math.nan})


FOUND = Finding("non-finite", "a/kernel", "It became NaN.", "Lower the learning rate.", 12)


def written(path, steps, start=0):
    writer = run_writer(path, {"model": "net"}, start)
    for one in steps:
        writer.append(one)
    writer.found(FOUND)
    writer.close()
    return path


@pytest.mark.parametrize("ending", ENDINGS)
def test_what_was_written_comes_back(tmp_path, ending):
    late = Reading("c/kernel", "l2_norm", 5.0, "w")
    path = written(tmp_path / f"run{ending}", [step(10), step(20, late)])
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    run = sy.Run.load(path)
    assert run.steps == [10, 20] and run.epochs == [1, 2] and run.batches == [0, 0]
    assert run.info == {"model": "net"} and run.findings == [FOUND]
    assert run.keys[0] == ("a/kernel", "l2_norm", "w") and len(run.keys) == 7
    assert run.values.dtype == "float64" and run.values.shape == (2, 7)
    assert run.values[0, 0] == 1 / 3 * 10 and math.isnan(run.values[0, 6])
    assert run.logs[0]["loss"] == 0.5 and math.isnan(run.logs[0]["acc"])
    assert run.readings(10) == sy.Readings(step(10).readings)
    assert run.readings() == run.readings(20) == sy.Readings(step(20, late).readings)
    assert run.readings().info == {"model": "net", "step": 20, "epoch": 2}
    assert sy.Readings.load(path) == run.readings()
    np.testing.assert_array_equal(run.series("c/kernel", "l2_norm"), [math.nan, 5.0])
    assert repr(run) == "Run(2 steps, 10 to 20; 3 weights, 7 series, 1 findings)"


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_training_taken_up_again_goes_on_and_a_new_one_replaces(tmp_path, ending):
    path = written(tmp_path / f"run{ending}", [step(1), step(2), step(3)])
    written(path, [step(3, first=7.0), step(4)], start=2)
    run = sy.Run.load(path)
    assert run.steps == [1, 2, 3, 4] and run.series("a/kernel", "l2_norm")[2] == 21
    assert len(run.findings) == 1  # the one of step 12 was wound back and came again
    written(path, [step(1)])
    assert sy.Run.load(path).steps == [1]


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("other", ENDINGS)
def test_saved_as_another(tmp_path, ending, other):
    run = sy.Run.load(written(tmp_path / f"a{ending}", [step(1), step(2)]))
    run.save(tmp_path / f"b{other}")
    again = sy.Run.load(tmp_path / f"b{other}")
    assert (
        again.keys == run.keys and again.findings == run.findings and again.logs[0]["loss"] == 0.5
    )
    np.testing.assert_array_equal(again.values, run.values)
    assert again.readings(1) == run.readings(1)


KILLED = """
import os, signal, sys
sys.path.insert(0, sys.argv[2])
from steelyard.readings import RunStep, run_writer
from steelyard.records import Reading
writer = run_writer(sys.argv[1], {"model": "net"})
number = 0
while True:
    number += 1
    readings = tuple(Reading(f"w{i}", "l2_norm", float(number * i), "w") for i in range(300))
    writer.append(RunStep(number, 0, number, readings, {}))
    print(number, flush=True)
"""


@pytest.mark.parametrize("ending", [".db", ".jsonl"])
def test_what_was_written_before_a_kill_is_there(tmp_path, ending):
    path = tmp_path / f"run{ending}"
    source = str(Path(sy.__file__).parent.parent)
    child = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(path), source], stdout=subprocess.PIPE, text=True
    )
    told = [int(child.stdout.readline()) for _ in range(25)]
    live = sy.Run.load(path)  # while it is being written
    child.send_signal(signal.SIGKILL)
    told += [int(line) for line in child.stdout.read().split("\n") if line.isdigit()]
    child.wait()
    run = sy.Run.load(path)
    assert len(live) >= 25 and run.steps[: len(told)] == told
    for row, number in enumerate(run.steps):
        np.testing.assert_array_equal(run.values[row], number * np.arange(300.0))
    written(path, [step(run.steps[-1] + 1)], start=run.steps[-1])
    assert len(sy.Run.load(path)) == len(run) + 1


def test_a_step_that_fails_leaves_nothing_of_it(tmp_path):
    writer = run_writer(tmp_path / "run.db")
    with pytest.raises(TypeError):
        writer.append(RunStep(1, 0, 1, (Reading("a", "m", 1.0, "w"),), {"loss": object()}))
    writer.append(RunStep(2, 0, 2, (Reading("b", "m", 2.0, "w"),)))
    writer.close()
    run = sy.Run.load(tmp_path / "run.db")
    assert run.steps == [2] and run.keys == [("b", "m", "w")]


def test_wrong_files(tmp_path):
    with pytest.raises(sy.SteelyardError, match=r"ends in one of '\.db', '\.jsonl', '\.parquet'"):
        run_writer(tmp_path / "run.txt")
    with pytest.raises(sy.SteelyardError, match="no folder"):
        check_run_path(tmp_path / "no" / "run.db")
    with pytest.raises(sy.SteelyardError, match="There is no file"):
        sy.Run.load(tmp_path / "run.db")
    sqlite3.connect(tmp_path / "mine.db").execute("CREATE TABLE t (x)")
    (tmp_path / "mine.jsonl").write_text('{"a": 1}\n')
    (tmp_path / "noise.db").write_bytes(b"no database at all" * 100)
    sy.Readings([Reading("a", "m", 1.0)]).save(tmp_path / "readings.jsonl")
    for name in ("mine.db", "mine.jsonl", "noise.db", "readings.jsonl"):
        before = (tmp_path / name).read_bytes()
        for use in (check_run_path, run_writer, sy.Run.load):
            with pytest.raises(sy.SteelyardError, match=name):
                use(tmp_path / name)
        assert (tmp_path / name).read_bytes() == before
    with pytest.raises(sy.SteelyardError, match=r"Nothing was measured at step 7\. Steps: none"):
        sy.Run().readings(7)


def test_lines_are_strict_json(tmp_path):
    path = written(tmp_path / "run.jsonl", [step(1)])
    lines = [json.loads(line, parse_constant=pytest.fail) for line in path.read_text().splitlines()]
    assert lines[1]["readings"][0] == {
        "address": "a/kernel", "metric": "l2_norm", "value": 1 / 3, "unit": "w", "status": "ok",
        "reason": "",
    }  # fmt: skip
