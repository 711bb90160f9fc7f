"""A new file is there whole, or not at all; nothing is ever replaced."""

import os

import pytest

from steelyard.checkpoints._new_file import new_file
from steelyard.errors import CheckpointError

pytestmark = pytest.mark.no_keras


def test_it_gets_its_name_when_all_is_written(tmp_path):
    path = tmp_path / "a.bin"
    with new_file(path) as file:
        file.write(b"one")
        assert not path.exists()
    assert path.read_bytes() == b"one"
    assert os.listdir(tmp_path) == ["a.bin"]


def test_an_error_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError), new_file(tmp_path / "a.bin") as file:
        file.write(b"one")
        raise RuntimeError
    assert os.listdir(tmp_path) == []


def test_what_is_there_stays(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"mine")
    with pytest.raises(CheckpointError, match="is there already"), new_file(path) as file:
        file.write(b"other")
    assert path.read_bytes() == b"mine"
    assert os.listdir(tmp_path) == ["a.bin"]


def test_what_came_meanwhile_stays(tmp_path):
    path = tmp_path / "a.bin"
    with pytest.raises(CheckpointError, match="is there already"), new_file(path) as file:
        file.write(b"other")
        path.write_bytes(b"mine")
    assert path.read_bytes() == b"mine"
    assert os.listdir(tmp_path) == ["a.bin"]


def test_a_link_that_leads_nowhere_is_not_followed(tmp_path):
    path = tmp_path / "a.bin"
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CheckpointError, match="is there already"), new_file(path):
        pass
    assert not (tmp_path / "elsewhere").exists()


def test_no_folder(tmp_path):
    with pytest.raises(CheckpointError, match="no folder"), new_file(tmp_path / "no" / "a.bin"):
        pass
