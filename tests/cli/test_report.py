"""`steelyard report`: a page of a checkpoint, of readings, and of two checkpoints."""

import json
import re

import numpy as np
import pytest

import steelyard as sy

pytestmark = pytest.mark.no_keras


@pytest.fixture(autouse=True)
def _a_file(files):
    rng = np.random.default_rng(0)
    kernel = rng.normal(size=(40, 30)).astype("float32")
    files["m.keras"] = {"body/kernel": kernel, "body/bias": np.zeros(30, "float32")}
    broken = kernel.copy()
    broken[0, 0] = np.nan
    files["broken.keras"] = {"body/kernel": broken, "body/bias": np.ones(30, "float32")}


def data(path):
    return json.loads(re.search(r'id="data">(.*?)</script>', path.read_text(), re.DOTALL)[1])


def test_a_checkpoint_is_measured(run, tmp_path):
    page = tmp_path / "page.html"
    out = run("report", "m.keras", "--out", str(page)).stdout
    assert out == f"Nothing found.\nThe page is {page}\n"
    weights = data(page)["weights"]
    assert weights["addresses"] == ["body/kernel", "body/bias"]
    assert list(weights["spectra"]) == ["0"]
    names = [column["name"] for column in weights["columns"]]
    assert {*sy.measure("m.keras").metrics, "alpha", "dead_units"} < set(names)


def test_what_is_wrong_is_said_at_once(run, tmp_path):
    out = run("report", "broken.keras", "--out", str(tmp_path / "page.html")).stdout
    assert out.startswith("1 thing cannot be right.\n  Entries that are NaN or infinite: In 1")


def test_more_metrics_and_fewer_weights(run, tmp_path):
    page = tmp_path / "page.html"
    told = ("--metrics", "skewness,kurtosis", "--select", "**/bias")
    run("report", "m.keras", "--out", str(page), *told)
    weights = data(page)["weights"]
    assert weights["addresses"] == ["body/bias"]
    assert [column["name"] for column in weights["columns"]][-2:] == ["skewness", "kurtosis"]


@pytest.mark.parametrize("ending", [".jsonl", ".csv", ".parquet"])
def test_readings(run, tmp_path, ending):
    page, file = tmp_path / "page.html", tmp_path / f"readings{ending}"
    sy.measure("m.keras").save(file)
    out = run("report", str(file), "--out", str(page), "--select", "**/kernel").stdout
    assert out.startswith("Nothing found in what was measured; not all was.\n")
    assert data(page)["weights"]["addresses"] == ["body/kernel"]
    assert data(page)["title"] == "Weights of m.keras"
    assert any("dead units" in one for one in data(page)["unchecked"])


def test_against_another(run, tmp_path):
    page = tmp_path / "page.html"
    run("report", "broken.keras", "--against", "m.keras", "--out", str(page))
    told = data(page)["changes"]
    assert (told["first"], told["second"]) == ("m.keras", "broken.keras")
    assert sorted(row[1] for row in told["rows"]) == ["body/bias", "body/kernel"]


@pytest.mark.parametrize("option", ["--against", "--metrics"])
def test_what_readings_cannot_do_is_refused(run, tmp_path, option):
    file = tmp_path / "readings.csv"
    sy.measure("m.keras").save(file)
    told = ("--out", str(tmp_path / "page.html"), option, "m.keras")
    assert "SOURCE holds readings" in run("report", str(file), *told, code=2).stderr
    assert not (tmp_path / "page.html").exists()


def test_a_place_that_cannot_be_written_is_refused_before(run, files):
    files["m.keras"] = {"w": AssertionError("was read")}
    assert ".html" in run("report", "m.keras", "--out", "page.txt", code=2).stderr


def test_a_weight_that_cannot_be_read(run, tmp_path, files):
    files["m.keras"]["cut/kernel"] = OSError("cut off")
    page = tmp_path / "page.html"
    result = run("report", "m.keras", "--out", str(page), code=2)
    assert "Some weights could not be read" in result.stderr
    assert "OSError: cut off" in result.stdout
    assert data(page)["alarms"][0]["title"] == "Weights that could not be measured"


def test_a_name_moves_no_line(run, tmp_path, files):
    files["m.keras"]["evil\n\x1b[31m/kernel"] = OSError("evil\n\x1b[31m")
    out = run("report", "m.keras", "--out", str(tmp_path / "page.html"), code=2).stdout
    assert "\x1b" not in out and len(out.splitlines()) == 3
