"""`steelyard measure`: numbers about the weights of a file."""

import json
import math

import numpy as np
import pytest

import steelyard as sy
from steelyard.cli import _output
from steelyard.cli.measure import measure as verb
from steelyard.plan._run import ENGINES

pytestmark = pytest.mark.no_keras

W = np.arange(12, dtype="float32").reshape(4, 3)


@pytest.fixture(autouse=True)
def _a_file(files):
    files["m.keras"] = {"body/kernel": W, "body/bias": np.ones(3, "float32")}


def test_a_line_for_each_weight(run):
    out = run("measure", "m.keras", "--metrics", "l2_norm,max_abs").stdout
    lines = out.splitlines()
    assert lines[0].split() == ["address", "l2_norm", "max_abs"]
    assert lines[1].split() == ["body/kernel", "22.49", "11"]
    assert lines[2].split() == ["body/bias", "1.732", "1"]
    assert "4 readings: 2 addresses, 2 metrics; source: m.keras" in out


def test_without_metrics_the_cheap_ones(run):
    told = json.loads(run("measure", "m.keras", "--json").stdout)
    assert [row["metric"] for row in told["readings"][:7]] == list(sy.measure("m.keras").metrics)


def test_metrics_by_commas_and_again(run):
    both = run("measure", "m.keras", "--metrics", "l2_norm, max_abs").stdout
    again = run("measure", "m.keras", "--metrics", "l2_norm", "--metrics", "max_abs").stdout
    assert both == again


def test_json(run):
    told = json.loads(run("measure", "m.keras", "--metrics", "stable_rank", "--json").stdout)
    assert list(told) == ["steelyard", "schema", "info", "count", "readings"]
    assert (told["steelyard"], told["schema"], told["count"]) == ("measure", 1, 2)
    assert told["info"] == {"view": "flat", "compat": "", "source": "m.keras"}
    first, second = told["readings"]
    assert list(first) == ["address", "metric", "value", "unit", "status", "reason", "bound"]
    assert (
        first["value"] == sy.measure("m.keras", "stable_rank")["body/kernel", "stable_rank"].value
    )
    assert (second["value"], second["status"]) == (None, "not applicable")


def test_json_is_strict(run, files):
    files["m.keras"] = {"w": np.float64([[1, 1], [1, 1]])}
    names = "condition_number,singular_values"
    out = run("measure", "m.keras", "--metrics", names, "--json").stdout
    told = json.loads(out, parse_constant=lambda name: pytest.fail(name))
    values = {row["metric"]: row["value"] for row in told["readings"]}
    assert isinstance(values["singular_values"], list)
    assert _output.strict({"a": (math.nan, math.inf), "b": [-math.inf, 1.5, None]}) == {
        "a": ["nan", "inf"],
        "b": ["-inf", 1.5, None],
    }


@pytest.mark.parametrize("ending", [".jsonl", ".csv"])
def test_out(run, tmp_path, ending):
    path = tmp_path / f"readings{ending}"
    result = run("measure", "m.keras", "--out", str(path), "--select", "**/kernel")
    assert sy.Readings.load(path) == sy.measure("m.keras", select="**/kernel")
    assert result.stderr == f"7 readings are in {path}\n"


@pytest.mark.parametrize("option", ["--out", "--resume"])
@pytest.mark.parametrize("name", ["readings.txt", "no folder/readings.csv"])
def test_a_place_that_cannot_be_written_is_refused_before(run, tmp_path, files, option, name):
    files["m.keras"] = {"w": AssertionError("was read")}
    result = run("measure", "m.keras", option, str(tmp_path / name), code=2)
    assert "was read" not in result.output
    assert result.stdout == ""


def test_view_and_compat(run):
    told = json.loads(
        run(
            "measure", "m.keras", "--metrics", "alpha", "--compat", "weightwatcher", "--json"
        ).stdout
    )
    assert told["info"]["view"] == "pooled"
    run("measure", "m.keras", "--view", "pooled", "--engine", "serial", "--workers", "1")
    run("measure", "m.keras", "--max-memory", "1 GB")


@pytest.mark.parametrize(
    ("told", "says"),
    [
        (["--metrics", "l2norm"], "l2_norm"),
        (["--metrics", ","], "--metrics"),
        (["--select", "nowhere"], "nowhere"),
        (["--engine", "cloud"], "serial"),
        (["--view", "round"], "pooled"),
        (["--workers", "0"], "--workers"),
        (["--max-memory", "much"], "max_memory"),
    ],
)
def test_wrong_use(run, told, says):
    result = run("measure", "m.keras", *told, code=2)
    assert says in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == ""


def test_the_choices_are_those_of_the_function():
    (option,) = (option for option in verb.params if option.name == "view")
    choices = ", ".join(map(repr, option.type.choices))
    with pytest.raises(sy.SteelyardError, match=f"`view` is one of {choices}. Received"):
        sy.measure("m.keras", view="none")
    (option,) = (option for option in verb.params if option.name == "engine")
    for name in ENGINES:
        assert name in option.help


def test_what_could_not_be_read_is_said_and_the_others_go_on(run, files):
    files["m.keras"] = {"a": OSError("cut off"), "b": W}
    result = run("measure", "m.keras", "--metrics", "l2_norm", "--json", code=2)
    told = json.loads(result.stdout)["readings"]
    assert [row["status"] for row in told] == ["failed", "ok"]
    assert result.stderr == "1 reading failed; its reason says why.\n"
    assert "× failed: OSError: cut off" in run("measure", "m.keras", code=2).stdout


def test_not_finite_is_said(run, files):
    files["m.keras"] = {"a": np.float32([[1, math.nan]]), "b": W}
    out = run("measure", "m.keras", "--metrics", "l2_norm,nan_count").stdout
    assert "! not finite: 1 NaN and 0 infinite entries (a l2_norm)" in out


def test_many_are_all_there_in_a_pipe(run, files):
    files["m.keras"] = {f"layer_{i}/kernel": W for i in range(120)}
    lines = run("measure", "m.keras", "--metrics", "values").stdout.splitlines()
    assert [line.split()[0] for line in lines[1:121]] == list(files["m.keras"])
    assert "quantile_99" in lines[0]


def test_on_a_terminal_many_are_cut(run, files, monkeypatch):
    monkeypatch.setattr(_output, "is_terminal", lambda: True)
    monkeypatch.setenv("COLUMNS", "100")
    files["m.keras"] = {f"layer_{i}/kernel": W for i in range(120)}
    lines = run("measure", "m.keras", "--metrics", "values").stdout.splitlines()
    assert len(lines) < 60 and max(map(len, lines)) <= 100
    assert any("… 80 more …" in line for line in lines)


def test_a_name_cannot_rearrange_the_terminal(run, files, monkeypatch):
    files["m.keras"] = {"a\x1b[31m/[red]kernel": W, "b": W}
    for terminal in (False, True):
        monkeypatch.setattr(_output, "is_terminal", lambda terminal=terminal: terminal)
        out = run("measure", "m.keras", "--metrics", "mean").stdout
        assert "a\\x1b[31m/[red]kernel" in out
        assert "\x1b[31m" not in out


def test_ctrl_c_keeps_what_is_done(run, files, tmp_path):
    files["m.keras"] = {"a": W, "b": KeyboardInterrupt(), "c": W}
    path = tmp_path / "so far.jsonl"
    told = ["measure", "m.keras", "--metrics", "mean", "--engine", "serial", "--resume", str(path)]
    result = run(*told, code=130)
    assert "so far.jsonl" in result.stderr and "Interrupted." in result.stderr
    assert result.stdout == ""
    assert sy.Readings.load(path).addresses == ("a", "c")  # the smallest weight comes last
    again = AssertionError("was read again")
    files["m.keras"] = {"a": again, "b": W[:2], "c": again}
    told = json.loads(run(*told, "--json").stdout)
    assert [row["status"] for row in told["readings"]] == ["ok", "ok", "ok"]


def test_ctrl_c_without_a_place_to_keep_it(run, files):
    files["m.keras"] = {"a": KeyboardInterrupt()}
    result = run("measure", "m.keras", "--engine", "serial", code=130)
    assert result.stderr == "With --resume FILE, what is done would be kept.\nInterrupted.\n"


def test_the_help_names_the_keys(run):
    said = run("measure", "--help").stdout
    for key in ("steelyard", "schema", "info", "count", "readings", "bound"):
        assert key in said
