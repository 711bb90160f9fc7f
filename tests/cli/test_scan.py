"""`steelyard scan`: what a file could do, and the exit status that says whether anything."""

import json

import pytest
from tests.scanning.made import CONFIGS, FILES, keras_file, layer

from steelyard.cli import _output

pytestmark = pytest.mark.no_keras


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_nothing_is_0(run, tmp_path):
    keras_file(tmp_path / "x.keras", layer())
    said = "Nothing found; 1 file, of which all but the numbers was read.\n"
    assert run("scan", "x.keras").stdout == said
    told = json.loads(run("scan", "x.keras", "--json").stdout)
    assert told == {
        "steelyard": "scan",
        "schema": 1,
        "path": "x.keras",
        "status": "clean",
        "counts": {"danger": 0, "caution": 0, "unread": 0, "note": 0},
        "files": {"x.keras": "Keras"},
        "risks": [],
    }


def test_a_danger_is_1(run, tmp_path):
    keras_file(tmp_path / "x.keras", CONFIGS["custom-class"], CONFIGS["lambda-bytecode"])
    lines = run("scan", "x.keras", code=1).stdout.splitlines()
    assert lines[0].split() == ["severity", "code", "where", "what"]
    place = "x.keras: config.json: $.config.layers[1].config.function"
    assert lines[1].startswith("danger ") and place in lines[1]
    assert lines[2].startswith("note ")
    assert "(CVE-2024-3660, CVE-2025-9905)" in lines[4]
    assert lines[-1] == "1 danger, 1 note; 1 file, of which all but the numbers was read."


def test_a_note_is_0(run, tmp_path):
    keras_file(tmp_path / "x.keras", CONFIGS["custom-class"])
    assert "mine>MyLayer" in run("scan", "x.keras").stdout


def test_what_was_not_read_is_2(run, tmp_path):
    FILES["unknown-kind"](tmp_path / "x")
    result = run("scan", "x", code=2)
    assert result.stdout.endswith("Nothing found; 1 file, of which 1 part was not read.\n")


def test_json(run, tmp_path):
    FILES["tfsm-layer"](tmp_path / "x.keras")
    told = json.loads(run("scan", "x.keras", "--json", code=1).stdout)
    assert told["status"] == "found"
    assert told["risks"] == [
        {
            "code": "tfsm-layer",
            "severity": "danger",
            "file": "x.keras",
            "place": "config.json: $.config.layers[0].config",
            "message": "The SavedModel 'evil' would be loaded.",
            "fix": "Scan that SavedModel as well, and load the model only if you trust both.",
            "references": ["CVE-2026-1462"],
            "count": 1,
        }
    ]


def test_errors_are_2(run):
    result = run("scan", "none.keras", code=2)
    assert result.stdout == "" and "none.keras" in result.stderr
    assert "Traceback" not in result.stderr
    run("scan", "none.keras", "--seconds", "0", code=2)


def test_a_name_cannot_rearrange_the_terminal(run, tmp_path, monkeypatch):
    name = "a\x1b[31m\u202e.keras"
    keras_file(tmp_path / name, CONFIGS["terminal-escape"], **{"b\x1b[2J": "x"})
    for terminal in (False, True):
        monkeypatch.setattr(_output, "is_terminal", lambda terminal=terminal: terminal)
        out = run("scan", name, code=1).stdout
        assert "a\\x1b[31m" in out
        assert "\x1b[31m" not in out and "\x1b[2J" not in out and "\u202e" not in out
