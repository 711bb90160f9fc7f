"""`steelyard diff`: what differs between two files, and the exit status that says whether any."""

import json
import math

import numpy as np
import pytest

import steelyard as sy
from steelyard.cli import _output

pytestmark = pytest.mark.no_keras

W = np.arange(12, dtype="float32").reshape(4, 3)


@pytest.fixture(autouse=True)
def _two_files(files):
    files["a.keras"] = {"same": W, "w": W, "old": W + 5, "gone": W[:2], "shape": W}
    files["b.keras"] = {"same": W, "w": W * 2, "new": W + 5, "more": W[:1], "shape": W.T}


def test_the_same_is_0(run):
    result = run("diff", "a.keras", "a.keras")
    assert result.stdout == "identical: 5 unchanged\n"
    assert json.loads(run("diff", "a.keras", "a.keras", "--json").stdout)["identical"] is True


def test_a_difference_is_1(run):
    lines = run("diff", "a.keras", "b.keras", code=1).stdout.splitlines()
    assert lines[0].split() == ["kind", "address", "shape", "from", "why"]
    kinds = [line.split()[:2] for line in lines[1:-1]]
    assert kinds == [
        ["removed", "gone"],
        ["added", "more"],
        ["renamed", "new"],
        ["reshaped", "shape"],
        ["changed", "w"],
    ]
    assert "by 1; max abs difference 11, cosine 1" in lines[5]
    assert lines[3].split() == ["renamed", "new", "(4,", "3)", "old"]
    assert lines[-1] == "1 removed, 1 added, 1 renamed, 1 reshaped, 1 changed, 1 unchanged"


def test_json(run):
    told = json.loads(run("diff", "a.keras", "b.keras", "--json", code=1).stdout)
    assert list(told) == [
        *("steelyard", "schema", "first", "second", "identical", "count", "kinds", "changes")
    ]
    assert (told["steelyard"], told["schema"]) == ("diff", 1)
    assert (told["first"], told["second"]) == ("a.keras", "b.keras")
    assert told["identical"] is False
    assert told["kinds"] == {
        "unchanged": 1,
        "changed": 1,
        "renamed": 1,
        "added": 1,
        "reshaped": 1,
        "removed": 1,
    }
    changes = {change["address"]: change for change in told["changes"]}
    assert changes["w"] == {
        "address": "w",
        "kind": "changed",
        "source": "w",
        "reason": "max abs difference 11, cosine 1",
        "shape": [4, 3],
        "source_shape": [4, 3],
        "dtype": "float32",
        "source_dtype": "float32",
        "amount": pytest.approx(1),
        "numbers": {"max_abs_difference": 11.0, "cosine": pytest.approx(1)},
    }
    assert told["count"] == len(sy.diff("a.keras", "b.keras"))


def test_json_is_strict(run, files):
    files["a.keras"] = {"w": np.zeros(2)}
    files["b.keras"] = {"w": np.array([1, math.nan])}
    out = run("diff", "a.keras", "b.keras", "--json", code=1).stdout
    told = json.loads(out, parse_constant=lambda name: pytest.fail(name))
    assert told["changes"][0]["amount"] == "inf"


def test_select(run):
    assert run("diff", "a.keras", "b.keras", "--select", "same").stdout.startswith("identical")
    out = run("diff", "a.keras", "b.keras", "--select", "w", "--select", "same", code=1).stdout
    assert "1 changed, 1 unchanged" in out and "gone" not in out


def test_metrics(run):
    out = run("diff", "a.keras", "b.keras", "--metrics", "subspace_angle", code=1).stdout
    assert "subspace angle" in out


def test_a_dtype_that_differs_is_a_difference(run, files):
    files["a.keras"] = {"w": W}
    files["b.keras"] = {"w": W.astype("float64")}
    out = run("diff", "a.keras", "b.keras", code=1).stdout
    assert "the same values, stored as float64 instead of float32" in out


@pytest.mark.parametrize(
    "told", [["a.keras"], ["a.keras", "none.keras"], ["a.keras", "b.keras", "--select", "sme"]]
)
def test_errors_are_2(run, told):
    result = run("diff", *told, code=2)
    assert result.stdout == ""
    assert "Traceback" not in result.stderr


def test_what_could_not_be_read_is_2(run, files):
    files["b.keras"] = dict(files["a.keras"], w=OSError("cut off"))
    files["a.keras"]["w"] = np.ones((2, 2), "float32")
    result = run("diff", "a.keras", "b.keras", code=2)
    assert "failed" in result.stdout and "OSError: cut off" in result.stdout
    assert result.stderr == "1 weight could not be compared; its reason says why.\n"


def test_many_are_all_there_in_a_pipe(run, files):
    files["a.keras"] = {f"layer_{i}": W + i for i in range(99)}
    files["b.keras"] = {f"layer_{i}": W - i - 1 for i in range(99)}
    lines = run("diff", "a.keras", "b.keras", code=1).stdout.splitlines()
    assert len(lines) == 1 + 99 + 1


def test_a_name_cannot_rearrange_the_terminal(run, files, monkeypatch):
    files["a.keras"] = {"a\x1b[31m/[red]": W}
    files["b.keras"] = {"a\x1b[31m/[red]": W + 1}
    for terminal in (False, True):
        monkeypatch.setattr(_output, "is_terminal", lambda terminal=terminal: terminal)
        out = run("diff", "a.keras", "b.keras", code=1).stdout
        assert "a\\x1b[31m/[red]" in out
        assert "\x1b[31m" not in out


def test_ctrl_c(run, files):
    files["b.keras"] = dict(files["a.keras"], w=KeyboardInterrupt())
    files["a.keras"]["w"] = np.ones((2, 2), "float32")
    assert run("diff", "a.keras", "b.keras", code=130).stderr == "Interrupted.\n"
