import json
import os

import numpy as np
import pytest

from steelyard.checkpoints._safetensors_index import is_safetensors_index, open_safetensors_index
from steelyard.checkpoints._safetensors_out import write_safetensors
from steelyard.errors import CheckpointError, LimitError, UnknownAddressError
from steelyard.opening import opener

pytestmark = pytest.mark.no_keras

ONE, TWO = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "in").mkdir()
    write_safetensors(tmp_path / "in" / ONE, ["a.w"], [np.arange(3.0)])
    write_safetensors(tmp_path / "in" / TWO, ["b.w", "c.w"], [np.ones(2), np.zeros((2, 2))])
    write_safetensors(tmp_path / "out.safetensors", ["a.w"], [np.arange(3.0)])
    return tmp_path / "in"


def index(folder, weight_map):
    path = folder / "model.safetensors.index.json"
    path.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": weight_map}))
    return path


def test_all_files_are_one_source(folder):
    path = index(folder, {"c.w": TWO, "b.w": TWO, "a.w": ONE})
    assert is_safetensors_index(path.read_bytes()[:64], path)
    source = open_safetensors_index(path)
    assert [spec.address for spec in source.specs()] == ["a/w", "b/w", "c/w"]
    assert source.read("a/w").tolist() == [0, 1, 2]
    assert source.read("c/w").shape == (2, 2)
    assert source.note == ""
    source.close()


def test_what_the_index_does_not_name_is_said(folder):
    source = open_safetensors_index(index(folder, {"b.w": TWO}))
    assert [spec.address for spec in source.specs()] == ["b/w"]
    assert f"'c.w in {TWO}'" in source.note


@pytest.mark.parametrize(
    "name",
    [
        "../out.safetensors",
        "/etc/out.safetensors",
        "sub/x.safetensors",
        "..\\out.safetensors",
        "C:out.safetensors",
        ".safetensors",
        "..",
        "",
        "passwd",
        "a\0.safetensors",
        "a\x1b.safetensors",
        "x" * 300 + ".safetensors",
        None,
        ["a.safetensors"],
        3,
    ],
)
def test_only_plain_names_are_opened(folder, name, monkeypatch):
    opened = []
    real = os.open
    monkeypatch.setattr(os, "open", lambda path, *rest: opened.append(path) or real(path, *rest))
    path = index(folder, {"a.w": name})
    with pytest.raises(CheckpointError, match="no plain name"):
        open_safetensors_index(path)
    assert opened == [str(path)]


@pytest.mark.parametrize(
    ("weight_map", "says"),
    [
        ({"a.w": TWO}, "'a.w' is not in"),
        ({"x": ONE}, "'x' is not in"),
        ({"a.w": "missing.safetensors"}, "No such file"),
        ([], "no weight_map"),
        (None, "no weight_map"),
    ],
)
def test_a_wrong_index_is_refused(folder, weight_map, says):
    with pytest.raises(CheckpointError, match=says):
        open_safetensors_index(index(folder, weight_map))


def test_too_many_files(folder):
    with pytest.raises(LimitError, match="16,385 files"):
        open_safetensors_index(index(folder, {str(i): f"{i}.safetensors" for i in range(16_385)}))


@pytest.fixture
def thousand(folder):
    for number in range(1000):
        write_safetensors(folder / f"{number}.safetensors", [f"w{number}"], [np.full(3, number)])
    return index(folder, {f"w{i}": f"{i}.safetensors" for i in range(1000)})


def test_of_many_files_few_are_open(thousand):
    before = len(os.listdir("/proc/self/fd"))
    source = open_safetensors_index(thousand)
    assert len(source.specs()) == 1000
    for number in (0, 999, *range(0, 1000, 7)):
        assert source.read(f"w{number}").tolist() == [number] * 3
    assert len(os.listdir("/proc/self/fd")) - before <= 64
    source.close()
    assert len(os.listdir("/proc/self/fd")) == before
    with pytest.raises(CheckpointError, match="is closed"):
        source.read("w3")


def test_who_knows_which_there_are_opens_few(thousand, monkeypatch):
    opened = []
    real = os.open
    monkeypatch.setattr(os, "open", lambda path, *rest: opened.append(path) or real(path, *rest))
    source = opener(thousand)()
    assert source.read("w7").tolist() == source.stored("w7")["w7"].tolist() == [7] * 3
    assert [*map(len, source.blocks("w8", 2))] == [2, 1]
    assert {os.path.basename(path) for path in opened} == {
        thousand.name,
        "7.safetensors",
        "8.safetensors",
    }
    assert len(source.specs()) == 1000
    with pytest.raises(UnknownAddressError):
        source.read("w1000")
    source.close()


def test_the_same_weights_whoever_opens(folder):
    write_safetensors(folder / "x.safetensors", ["a.w", "b"], [np.ones(2), np.zeros(1)])
    path = index(folder, {"b.w": TWO, "c.w": TWO, "a.w": "x.safetensors"})
    few, all_ = opener(path)(), open_safetensors_index(path)
    assert type(few) is not type(all_)
    assert [*few.specs()] == [*all_.specs()]
    # two names for one address: which is which takes all files
    write_safetensors(folder / "y.safetensors", ["a/w"], [np.ones(2)])
    path = index(folder, {"a.w": ONE, "a/w": "y.safetensors"})
    few, all_ = opener(path)(), open_safetensors_index(path)
    assert [*few.specs()] == [*all_.specs()]
    assert few.read("a/w~2").tolist() == all_.read("a/w~2").tolist()


def test_one_that_changes_while_it_is_not_open(thousand):
    source = open_safetensors_index(thousand)
    (thousand.parent / "5.safetensors").unlink()
    with pytest.raises(CheckpointError, match="No such file"):
        source.read("w5")
    write_safetensors(thousand.parent / "5.safetensors", ["w5"], [np.full(3, 6)])
    with pytest.raises(CheckpointError, match="was changed while it was read"):
        source.read("w5")
    with (thousand.parent / "6.safetensors").open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"x")
    with pytest.raises(CheckpointError, match="was changed while it was read"):
        source.read("w6")


def test_an_index_that_is_a_list(folder):
    path = folder / "x.safetensors.index.json"
    path.write_text("[1]")
    with pytest.raises(CheckpointError, match="no weight_map"):
        open_safetensors_index(path)
