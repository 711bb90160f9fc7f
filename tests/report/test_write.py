"""A page as a file: whole or not at all, one file, and not a large one."""

import json
import re

import pytest
from tests.report.conftest import HOSTILE, made_up, resnet50

import steelyard as sy
from steelyard.errors import SteelyardError
from steelyard.readings import Readings
from steelyard.records import Reading
from steelyard.report import page_html, write_page

pytestmark = pytest.mark.no_keras

SOME = Readings([Reading("a/kernel", "l2_norm", 1.5, "w")], {"source": "folder/model.keras"})


def data(text):
    return json.loads(re.search(r'id="data">(.*?)</script>', text, re.DOTALL)[1])


def test_to_html(tmp_path):
    SOME.to_html(tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "<title>Weights of model.keras</title>" in text
    (column,) = data(text)["weights"]["columns"]
    assert (column["name"], column["values"]) == ("l2_norm", [1.5])
    (row,) = (row for row in sy.catalog() if row.name == "l2_norm")
    assert column["says"] == row.description
    assert sorted(tmp_path.iterdir()) == [tmp_path / "page.html"]


def test_it_names_nothing_outside_of_itself():
    text = page_html(SOME)
    outside = re.findall(r"""(?:src|href|action)\s*=|@import|url\(|https?://[^\s"']+""", text)
    assert outside == ["http://www.w3.org/2000/svg"]  # a name, which nothing loads


@pytest.mark.parametrize("evil", HOSTILE)
def test_a_hostile_name_ends_no_script(evil):
    reading = Reading(evil, evil, evil, evil, "failed", evil)
    text = page_html(Readings([reading], {"source": evil, evil: evil}))
    text.encode()
    found = re.search(r'id="data">(.*?)</script>', text, re.DOTALL)[1]
    assert not set(found) & set("<>&\u2028\u2029\x00")
    assert text.count("<script") == 2 and text.count("</script>") == 2
    assert "<img" not in text


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("model.keras", "A page is a file that ends in .html"),
        ("nowhere/page.html", "there is no folder"),
        ("folder.html", "is a folder"),
    ],
)
def test_a_place_that_cannot_be_written(tmp_path, name, says):
    (tmp_path / "folder.html").mkdir()
    with pytest.raises(SteelyardError, match=re.escape(says)):
        SOME.to_html(tmp_path / name)


def test_what_was_there_stays_if_it_cannot_be_written(tmp_path, monkeypatch):
    page = tmp_path / "page.html"
    page.write_text("before")

    def full(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(SteelyardError, match="No space left"):
        SOME.to_html(page)
    assert page.read_text() == "before"
    assert list(tmp_path.iterdir()) == [page]


def test_a_resnet50_stays_small():
    shapes = resnet50()
    assert len(shapes) == 320
    text = page_html(Readings(made_up(shapes)), catalog=sy.catalog())
    assert len(text) < 400_000
    spectra = data(text)["weights"]["spectra"]
    assert len(spectra) == 54


def test_no_readings():
    told = data(page_html(Readings()))
    assert told["verdict"] == "Nothing was measured."


def test_differences(tmp_path):
    changes = sy.diff(*both(tmp_path))
    told = data(page_html(SOME, changes=changes, names=("a.npz", "b.npz")))["changes"]
    assert (told["first"], told["second"], told["identical"]) == ("a.npz", "b.npz", False)
    kinds = {row[1]: row[0] for row in told["rows"]}
    assert kinds == {"new": "added", "moved": "changed"}
    assert told["amounts"][[row[1] for row in told["rows"]].index("moved")] == 1


def both(folder):
    import numpy as np

    np.savez(folder / "a.npz", same=np.ones(3), moved=np.ones(3))
    np.savez(folder / "b.npz", same=np.ones(3), moved=np.full(3, 2.0), new=np.arange(4.0))
    return folder / "a.npz", folder / "b.npz"


def test_write_page_is_to_html(tmp_path):
    SOME.to_html(tmp_path / "a.html")
    write_page(tmp_path / "b.html", SOME, catalog=sy.catalog())
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()
