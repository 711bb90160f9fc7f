"""What is read, what is not, and that it is said."""

import json
import os
import time

import numpy as np
import pytest
from tests.scanning.made import CONFIGS, keras_file, layer, message, model

from steelyard.errors import CheckpointError
from steelyard.scanning import scan

pytestmark = pytest.mark.no_keras


def test_a_damaged_part_ends_that_part_alone(tmp_path):
    path = keras_file(
        tmp_path / "x.keras",
        CONFIGS["lambda-bytecode"],
        **{"a.json": "{", "b.h5": b"\x89HDF\r\n\x1a\n" + b"\xff" * 99, "z.json": json.dumps({})},
    )
    found = scan(path)
    assert [risk.code for risk in found.found] == ["lambda-bytecode"]
    assert [risk.place for risk in found.unread] == ["a.json", "b.h5"]
    assert found.counts == {"danger": 1, "caution": 0, "unread": 2, "note": 0}


def test_a_folder(tmp_path):
    keras_file(tmp_path / "a.keras", layer())
    (tmp_path / "sub").mkdir()
    keras_file(tmp_path / "sub" / "b.keras", CONFIGS["tfsm-layer"])
    np.save(tmp_path / "c.npy", np.ones(3))
    (tmp_path / "README.md").write_text("read me")
    found = scan(tmp_path)
    assert found.files == {
        "README.md": "text",
        "a.keras": "Keras",
        "c.npy": "an array of NumPy",
        "sub/b.keras": "Keras",
    }
    (risk,) = found.risks
    assert (risk.code, risk.file) == ("tfsm-layer", "sub/b.keras")
    assert found.summary == "1 danger; 4 files, of which all but the numbers was read."


def test_an_unzipped_keras_folder(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(model(CONFIGS["lambda-bytecode"])))
    (tmp_path / "metadata.json").write_text("{}")
    (risk,) = scan(tmp_path).risks
    assert (risk.file, risk.code) == ("config.json", "lambda-bytecode")


def test_orbax(tmp_path):
    (tmp_path / "_METADATA").write_text(json.dumps({"tree_metadata": {"('a',)": {}}}))
    (tmp_path / "manifest.ocdbt").write_bytes(b"\x0c\xdb\x3a\x2a" + b"\xff" * 9)
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / ("0" * 32)).write_bytes(b"\xff" * 99)
    found = scan(tmp_path)
    assert found.status == "clean"
    assert found.files["_METADATA"] == "JSON"
    told = {"driver": "zarr3", "kvstore": {"driver": "http", "base_url": "http://a.b/c"}}
    (tmp_path / "zarr.json").write_text(json.dumps(told))
    assert [risk.code for risk in scan(tmp_path).found] == ["url-in-config"]


def test_a_tensorflow_checkpoint(tmp_path):
    (tmp_path / "x.data-00000-of-00001").write_bytes(os.urandom(99))
    (tmp_path / "x.index").write_bytes(b"\0" * 40 + b"\x57\xfb\x80\x8b\x24\x75\x47\xdb")
    (tmp_path / "checkpoint").write_text('model_checkpoint_path: "x"\n')
    assert scan(tmp_path).risks == ()
    (tmp_path / "checkpoint").write_text('model_checkpoint_path: "/etc/x"\n')
    assert [risk.code for risk in scan(tmp_path).found] == ["path-in-config"]


def test_links_pipes_and_what_is_closed_are_said(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("/etc")
    (tmp_path / ".git").mkdir()
    (tmp_path / "empty.keras").write_bytes(b"")
    found = scan(tmp_path)
    assert {risk.code: risk.file for risk in found.unread} == {
        "unknown-kind": ".git",
        "link": "link",
        "unreadable": "pipe",
    }
    assert found.files["empty.keras"] == "empty"
    assert found.status == "unread"


def test_what_cannot_be_read_at_all(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "none", tmp_path / "pipe", "/dev/null"):
        with pytest.raises(CheckpointError):
            scan(path)


def test_the_time_is_over(tmp_path):
    keras_file(tmp_path / "a.keras", CONFIGS["lambda-bytecode"])
    started = time.monotonic()
    found = scan(tmp_path, seconds=1e-6)
    assert time.monotonic() - started < 5
    assert [risk.code for risk in found.risks] == ["limit"]
    assert "--seconds" in found.risks[0].fix


def test_messages_of_no_content_take_no_time_for_ever(tmp_path):
    (tmp_path / "saved_model.pb").write_bytes(message((2, b"")) * 1_000_000)
    found = scan(tmp_path / "saved_model.pb", seconds=0.2)
    assert [risk.code for risk in found.risks] == ["limit"]


def test_what_is_shown_is_escaped(tmp_path):
    keras_file(tmp_path / "x\x1b[2J.keras", layer(), **{"a\x1b]0;b": "x"})
    found = scan(tmp_path)
    assert {risk.code for risk in found.risks} == {"terminal-escape"}
    assert not any("\x1b" in risk.message + risk.place for risk in found.risks)
