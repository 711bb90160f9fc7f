"""What was hidden from other scanners is found here."""

import bz2
import gzip
import io
import json
import os
import pickle
import struct
import sys
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
from tests.scanning.made import CONFIGS, Runs, function, keras_file, layer, message, model

from steelyard.scanning import scan

pytestmark = [pytest.mark.no_keras, pytest.mark.filterwarnings("ignore:Duplicate name")]

EVIL = pickle.dumps(Runs(os.system, "id"), protocol=4)
LAMBDA = CONFIGS["lambda-bytecode"]


def _codes(path):
    return {risk.code for risk in scan(path).found}


def _written(path, data):
    path.write_bytes(data)
    return path


# --- Configs --------------------------------------------------------------------------------------


def test_what_a_second_key_hides(tmp_path):
    inner = json.dumps(LAMBDA["config"])
    text = json.dumps(model(layer("Lambda"))).replace(
        '"config": {"name": "x"}', f'"config": {inner}, "config": {{"name": "x"}}'
    )
    found = scan(keras_file(tmp_path / "x", text=text))
    assert {risk.code for risk in found.found} == {"lambda-bytecode", "json-duplicate-key"}


@pytest.mark.parametrize("times", [1, 3])
def test_a_config_in_a_text(tmp_path, times):
    """As Orbax's files of Keras have it (`model_config/_strings.json`)."""
    text = json.dumps(model(LAMBDA))
    for _ in range(times):
        text = json.dumps({"config": text}).replace("class_name", "\\u0063lass_name")
    (tmp_path / "_strings.json").write_text(text)
    assert _codes(tmp_path) == {"lambda-bytecode"}
    (tmp_path / "_strings.json").write_text(json.dumps({"a": "{no JSON", "b": "[1]", "c": "{}"}))
    assert _codes(tmp_path) == set()
    (tmp_path / "_strings.json").write_text(json.dumps({"a": "[" * 300}))
    assert scan(tmp_path).status != "clean"


def test_another_encoding(tmp_path):
    text = json.dumps(model(LAMBDA)).encode("utf-16")
    assert _codes(keras_file(tmp_path / "x", text=text)) == {"lambda-bytecode"}


@pytest.mark.parametrize(
    ("told", "code"),
    [
        (function("exec"), "function-reference"),
        (function("load_model", "keras.saving"), "function-reference"),
        (function("deserialize", "keras.losses"), "function-reference"),
        (function("relu", "os", "system"), "function-reference"),
        (layer("get_file", "keras.utils"), "function-reference"),
        (layer("Dense", "keras.layers.os"), ""),
        (layer("run", "keras.src.utils"), "function-reference"),
        (layer("Popen", "subprocess", registered_name="mine>Popen"), "foreign-module"),
        (layer("System", "numpy.testing"), "foreign-module"),
        ({"class_name": "Lambda", "config": {"function": ["4wEA", None, None]}}, "lambda-bytecode"),
        (
            {"class_name": "Lambda", "config": {"function": "x", "function_type": "lambda"}},
            "lambda-bytecode",
        ),
        (
            {"class_name": "Lambda", "config": {"function": "system", "module": "os"}},
            "function-reference",
        ),
        (
            {"class_name": "__typespec__", "spec_name": "X", "module": "os", "config": []},
            "foreign-module",
        ),
        (layer("TextVectorization", config={"vocabulary": "/etc/passwd"}), "vocabulary-file"),
        (layer("Dense", config={"a": "gs://bucket/x"}), "url-in-config"),
        (layer("Dense", config={"a": "..\\..\\x"}), "path-in-config"),
        (layer("Dense", config={"a": "C:\\x"}), "path-in-config"),
    ],
)
def test_configs(tmp_path, told, code):
    codes = _codes(keras_file(tmp_path / "x", told))
    assert code in codes if code else not codes


def test_ordinary_texts_are_no_paths(tmp_path):
    words = {"vocabulary": ["/etc/passwd", "http://a.b", "</s>", "\x1b[2J"]}
    told = [
        layer("StringLookup", config=words),
        layer("EinsumDense", config={"equation": "abc,cd->abd"}),
        layer("Dense", config={"data_format": "channels_last", "a": "1/2", "b": "/", "c": "a/b"}),
        layer("Activation", config={"activation": function("relu")}),
        layer("Add", "keras.src.ops.numpy", registered_name="Add"),
    ]
    assert scan(keras_file(tmp_path / "x", *told)).risks == ()


def test_a_flood_of_notes_hides_nothing(tmp_path):
    notes = [layer(f"L{n}", "mine", registered_name=f"mine>L{n}") for n in range(1200)]
    found = scan(keras_file(tmp_path / "x", *notes, LAMBDA))
    assert [risk.code for risk in found.found] == ["lambda-bytecode"]
    notes = [risk for risk in found.risks if risk.severity == "note"]
    assert len(notes) == 101 and sum(risk.count for risk in notes) == 1200


@pytest.mark.parametrize("name", ["model_config", "training_config"])
def test_old_h5(tmp_path, name):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_group("model_weights")
        file.attrs[name] = json.dumps(model(LAMBDA))
    (risk,) = scan(tmp_path / "x.h5").found
    assert risk.code == "lambda-bytecode"
    assert risk.place == f"attribute {name}: $.config.layers[0].config.function"


def test_metadata_beside_a_saved_model(tmp_path):
    node = message((3, "root"), (5, json.dumps(model(LAMBDA))))
    path = _written(tmp_path / "keras_metadata.pb", message((1, node)))
    assert _codes(path) == {"lambda-bytecode"}


def test_an_asset_that_lies_elsewhere(tmp_path):
    data = message((2, message((6, message((2, "../../etc/passwd"))))))
    assert _codes(_written(tmp_path / "saved_model.pb", data)) == {"path-in-config"}


def test_a_print_into_a_file(tmp_path):
    attribute = message((1, "output_stream"), (2, message((2, Path("/data/x").as_uri()))))
    node = message((1, "a"), (2, "PrintV2"), (5, attribute))
    graph = message((2, message((2, message((1, node))))))
    assert _codes(_written(tmp_path / "saved_model.pb", graph)) == {"graph-file"}


def test_the_metadata_of_keras_2(tmp_path):
    spec = {"class_name": "TypeSpec", "type_spec": "tf.TensorSpec", "serialized": []}
    dense = {"class_name": "Dense", "config": {"kernel_initializer": {"class_name": "Zeros"}}}
    told = {"class_name": "Sequential", "config": {"layers": [dense]}, "save_spec": spec}
    node = message((3, "root"), (4, "_tf_keras_sequential"), (5, json.dumps(told)))
    path = _written(tmp_path / "keras_metadata.pb", message((1, node)))
    assert scan(path).risks == ()


def test_shards_elsewhere(tmp_path):
    told = {"weight_map": {"/vars": ["a.weights.h5", "../../x.h5"]}}
    path = _written(tmp_path / "x.weights.json", json.dumps(told).encode())
    assert _codes(path) == {"path-in-config"}


# --- Pickles --------------------------------------------------------------------------------------

CALL = b"(S'id'\ntR."
PICKLES = {
    "no protocol": b"cos\nsystem\n" + CALL,
    "INST": b"(S'id'\nios\nsystem\n.",
    "from the memo": b"\x80\x04\x8c\x02os\x940\x8c\x06system\x940h\x00h\x01\x93.",
    "from the memo by number": b"\x80\x04Vos\np9\n0g9\nVsystem\n\x93.",
    "through a copy": b"\x80\x04\x8c\x02os20\x8c\x06system\x93.",
    "after a tuple": b"\x80\x04\x8c\x02os(K\x01K\x02t0\x8c\x06system\x93.",
    "after a mark that is dropped": b"\x80\x04\x8c\x02os(K\x011\x8c\x06system\x93.",
    "in Python 2's words": b"c__builtin__\neval\n" + CALL,
    "below a module": b"cos.path\njoin\n" + CALL,
    "a loader": b"ctorch.serialization\nload\n" + CALL,
    "a name of a name": b"\x80\x04\x8c\x05torch\x8c\x0dhub.load.eval\x93.",
    "broken after it": b"cos\nsystem\n(S'id'\ntR\xff\xff\xff",
    "cut off": b"\x80\x04cos\nsystem\n(S'id'\ntR",
    "the second of two": pickle.dumps([1]) + EVIL,
}


@pytest.mark.parametrize("data", PICKLES.values(), ids=PICKLES)
@pytest.mark.parametrize("name", ["x.pkl", "x.txt"])
def test_pickles(tmp_path, data, name):
    assert "pickle-dangerous-global" in _codes(_written(tmp_path / name, data))


@pytest.mark.parametrize(
    "text", ["cat\ndog\n", "in\nof\n", "the\n.", "(a)\n", "N\n", "1.\n2.\n", "ion\nN.\nx"]
)
def test_texts_are_no_pickles(tmp_path, text):
    path = _written(tmp_path / "vocabulary.txt", text.encode())
    assert scan(path).risks == () and scan(path).files == {str(path): "text"}


def test_a_name_that_comes_from_a_call(tmp_path):
    data = b"\x80\x04cbuiltins\nstr\n)R\x8c\x06system\x93."
    assert _codes(_written(tmp_path / "x.pkl", data)) == {"pickle-opcode"}
    data = b"\x80\x02\x82\x07."
    assert _codes(_written(tmp_path / "x.pkl", data)) == {"pickle-opcode"}


def test_what_is_broken_is_said_too(tmp_path):
    found = scan(_written(tmp_path / "x.pkl", PICKLES["broken after it"]))
    assert [risk.severity for risk in found.risks] == ["danger", "unread"]
    assert found.status == "found"
    assert found.summary == "1 danger; 1 file, of which 1 part was not read."


def test_old_torch(tmp_path):
    number = 0x1950A86A20F9469CFC6C
    parts = [number, 1001, {"little_endian": True}]
    data = b"".join(pickle.dumps(part, protocol=2) for part in parts)
    keys = pickle.dumps(["0"], protocol=2)
    honest = _written(tmp_path / "x.pt", data + pickle.dumps({}, protocol=2) + keys + b"\0" * 99)
    assert scan(honest).risks == ()
    evil = _written(tmp_path / "x.pt", data + EVIL + keys + b"\0" * 99)
    assert _codes(evil) == {"pickle-dangerous-global"}


def _zip(path, name, data, how=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", how) as archive:
        archive.writestr(name, data)
    return path


def _objects():
    file = io.BytesIO()
    np.save(file, np.array([Runs(os.system, "id")], dtype=object))
    return file.getvalue()


def test_inside_of_others(tmp_path):
    inner = _zip(tmp_path / "inner", "archive/data.pkl", EVIL).read_bytes()
    evil = {"pickle-dangerous-global"}
    assert _codes(_zip(tmp_path / "x.pt", "archive/data.pkl", EVIL)) == evil
    assert _codes(_zip(tmp_path / "x.keras", "assets/inner.bin", inner)) == evil
    assert _codes(_zip(tmp_path / "x.npz", "a.npy", _objects())) == evil | {"object-array"}
    assert _codes(_written(tmp_path / "x.pkl.gz", gzip.compress(EVIL))) == evil
    assert _codes(_written(tmp_path / "x.pkl", bz2.compress(EVIL))) == evil


def test_weights_that_are_packed(tmp_path):
    with h5py.File(tmp_path / "w.h5", "w") as file:
        file["layers"] = h5py.ExternalLink("/etc/passwd", "/")
    data = (tmp_path / "w.h5").read_bytes()
    (risk,) = scan(_zip(tmp_path / "x.keras", "model.weights.h5", data)).found
    assert (risk.code, risk.place) == ("hdf5-external-link", "model.weights.h5: layers")


def test_two_archives_in_one_file(tmp_path):
    first = keras_file(tmp_path / "a", LAMBDA).read_bytes()
    second = keras_file(tmp_path / "b", layer()).read_bytes()
    assert _codes(_written(tmp_path / "x", first + second)) == {"zip-hidden"}
    begin = struct.unpack("<L", second[-6:-2])[0]
    member = _zip(tmp_path / "c", "config.json", b"{}").read_bytes()
    member = member[: member.index(b"PK\1\2")]
    moved = struct.pack("<L", begin + len(member))
    data = second[:begin] + member + second[begin:-6] + moved + second[-2:]
    assert _codes(_written(tmp_path / "x", data)) == {"zip-hidden"}


def test_archives_without_end(tmp_path):
    data = b"x"
    for _ in range(8):
        data = _zip(tmp_path / "x.zip", "x.zip", data).read_bytes()
    assert {risk.code for risk in scan(tmp_path / "x.zip").risks} == {"limit"}


def test_numbers_that_look_like_a_pickle(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.pt", "w") as archive:
        archive.writestr("x/data.pkl", pickle.dumps({}, protocol=2))
        archive.writestr("x/data/0", EVIL)
    assert scan(tmp_path / "x.pt").risks == ()


def test_nothing_is_imported_and_nothing_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "evil_module.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    told = layer("Evil", "evil_module", registered_name="Evil")
    keras_file(tmp_path / "x.keras", told, layer("StringLookup", config={"vocabulary": "v.txt"}))
    (tmp_path / "x.pkl").write_bytes(b"cevil_module\nEvil\n(S'touch ran'\ntR.")
    before = sorted(os.listdir(tmp_path))
    assert _codes(tmp_path) == {"unregistered-class", "vocabulary-file", "pickle-global"}
    assert sorted(os.listdir(tmp_path)) == before
    assert "evil_module" not in sys.modules


def test_an_announced_length_is_not_believed(tmp_path):
    data = b"\x80\x04\x8e" + struct.pack("<Q", 1 << 60) + b"x"
    (risk,) = scan(_written(tmp_path / "x.pkl", data)).unread
    assert risk.code == "limit"
