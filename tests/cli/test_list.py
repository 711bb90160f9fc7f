"""`steelyard list`: what is in a file."""

import json

import numpy as np
import pytest

from steelyard.cli import _output

pytestmark = pytest.mark.no_keras

ARRAYS = {
    "body/kernel": np.zeros((4, 3), "float32"),
    "body/bias": np.zeros(3, "float32"),
    "head/kernel": np.zeros((3, 2), "float16"),
}


@pytest.fixture(autouse=True)
def _a_file(files):
    files["m.keras"] = dict(ARRAYS)


def test_a_line_for_each_weight(run):
    lines = run("list", "m.keras").stdout.splitlines()
    assert lines[0].split() == ["address", "shape", "dtype", "size", "trainable", "layer"]
    assert [line.split()[0] for line in lines[1:4]] == list(ARRAYS)
    assert lines[1].split() == ["body/kernel", "(4,", "3)", "float32", "12", "yes", "Dense"]
    assert lines[-1] == "3 weights, 21 parameters (21 trainable), 72 bytes"


def test_select(run):
    out = run("list", "m.keras", "--select", "**/bias").stdout
    assert "body/bias" in out and "kernel" not in out
    out = run("list", "m.keras", "--select", "**/bias", "--select", "head/*").stdout
    assert "body/bias" in out and "head/kernel" in out and "body/kernel" not in out


def test_json(run):
    told = json.loads(run("list", "m.keras", "--json").stdout)
    assert list(told) == [
        *("steelyard", "schema", "path", "note", "count", "size", "nbytes", "weights")
    ]
    assert (told["steelyard"], told["schema"], told["path"]) == ("list", 1, "m.keras")
    assert (told["count"], told["size"], told["nbytes"]) == (3, 21, 72)
    assert told["weights"][0] == {
        "address": "body/kernel",
        "shape": [4, 3],
        "dtype": "float32",
        "size": 12,
        "nbytes": 48,
        "trainable": True,
        "layer": "Dense",
        "aliases": [],
        "stored_shape": None,
        "axes": "",
    }


def test_json_of_a_selection(run):
    told = json.loads(run("list", "m.keras", "--json", "--select", "head/*").stdout)
    assert [weight["address"] for weight in told["weights"]] == ["head/kernel"]
    assert told["count"] == 1


def test_many_are_all_there_in_a_pipe(run, files):
    files["m.keras"] = {f"layer_{i}/{'x' * 90}": np.zeros(1) for i in range(300)}
    lines = run("list", "m.keras").stdout.splitlines()
    assert [line.split()[0] for line in lines[1:301]] == list(files["m.keras"])
    assert all("…" not in line for line in lines)


def test_a_name_cannot_rearrange_the_terminal(run, files):
    files["m.keras"] = {"a\x1b[31m\u202e[red]/kernel": np.zeros(1)}
    out = run("list", "m.keras").stdout
    assert "a\\x1b[31m\\u202e[red]/kernel" in out
    assert "\x1b" not in out
    weight = json.loads(run("list", "m.keras", "--json").stdout)["weights"][0]
    assert weight["address"] == "a\x1b[31m\u202e[red]/kernel"


@pytest.mark.parametrize("path", ["m.keras", "none.keras"])
def test_wrong_use(run, path):
    result = run("list", path, "--select", "kernle", code=2)
    assert result.stdout == ""
    says = "no such file" if path == "none.keras" else "No weight matches the pattern 'kernle'"
    assert says in result.stderr
    assert "Traceback" not in result.stderr
    run("list", code=2)


def test_an_empty_file(run, files):
    files["m.keras"] = {}
    assert "0 weights" in run("list", "m.keras").stdout
    assert json.loads(run("list", "m.keras", "--json").stdout)["weights"] == []


def test_on_a_terminal_it_is_a_table(run, monkeypatch):
    monkeypatch.setattr(_output, "is_terminal", lambda: True)
    monkeypatch.setenv("COLUMNS", "30")
    lines = run("list", "m.keras").stdout.splitlines()
    assert max(map(len, lines)) <= 30
    monkeypatch.setenv("COLUMNS", "100")
    assert any(line.startswith("body/kernel") for line in run("list", "m.keras").stdout.split("\n"))
