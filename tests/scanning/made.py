"""Files with one thing in them that a rule is for, made of bytes: a function for each code."""

import base64
import io
import json
import marshal
import os
import pickle
import struct
import zipfile

import h5py
import numpy as np

# --- Keras's configs ------------------------------------------------------------------------------


def layer(name="Dense", module="keras.layers", config=None, **more):
    told = {"module": module, "class_name": name, "config": {"name": "x", **(config or {})}}
    return {**told, "registered_name": None, **more}


def function(name, module="builtins", registered="function"):
    keys = ("class_name", "config", "module", "registered_name")
    return dict(zip(keys, ("function", name, module, registered), strict=True))


def model(*layers):
    return layer("Sequential", "keras", {"layers": list(layers)})


def keras_file(path, *layers, text=None, **members):
    """An archive as Keras writes it, with a config of these layers, or of this text."""
    weights = io.BytesIO()
    with h5py.File(weights, "w") as file:
        file.create_group("layers")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.json", json.dumps({"keras_version": "3.13.0"}))
        archive.writestr("config.json", text or json.dumps(model(*layers)))
        archive.writestr("model.weights.h5", weights.getvalue())
        for name, data in members.items():
            archive.writestr(name, data)
    return path


CODE = base64.encodebytes(
    marshal.dumps((lambda x: __import__("os").system("id")).__code__)
).decode()
BYTECODE = {"class_name": "__lambda__", "config": {"code": CODE, "defaults": None, "closure": None}}
CONFIGS = {
    "lambda-bytecode": layer("Lambda", config={"function": BYTECODE}),
    "function-reference": layer(
        "Lambda", config={"function": function("get_file", "keras.utils", "get_file")}
    ),
    "foreign-module": layer("Popen", "subprocess", {"args": ["id"]}),
    "unsafe-deserialization": layer(
        "Lambda", config={"function": function("enable_unsafe_deserialization", "keras.config")}
    ),
    "tfsm-layer": layer("TFSMLayer", config={"filepath": "evil"}),
    "torch-module-wrapper": layer("TorchModuleWrapper", config={"module": "gAJ9cQAu"}),
    "vocabulary-file": layer("StringLookup", config={"vocabulary": "words.txt"}),
    "tensorflow-op": layer("TFOpLambda", config={"function": "io.write_file"}),
    "path-in-config": layer("Dense", config={"notes": "/etc/passwd"}),
    "url-in-config": layer("Dense", config={"notes": "http://example.com/x"}),
    "unregistered-class": layer("MyLayer", "mine.layers", registered_name="MyLayer"),
    "custom-class": layer("MyLayer", "mine.layers", registered_name="mine>MyLayer"),
    "custom-function": layer("Activation", config={"activation": function("mine>twice")}),
    "terminal-escape": layer("Dense", config={"name": "a\x1b[2Jb"}),
    "json-huge-number": layer("Dense", config={"units": 10**400}),
}


def _doubled(path):
    text = json.dumps(model(layer())).replace('"units"', '"u"')
    return keras_file(path, text=text.replace('"name": "x"', '"name": "x", "name": "y"', 1))


def _auto_map(path):
    path.write_text(json.dumps({"model_type": "x", "auto_map": {"AutoModel": "evil.Model"}}))
    return path


# --- Pickles and arrays ---------------------------------------------------------------------------


class Runs:
    """Pickled as a call of a function."""

    def __init__(self, called, *arguments):
        self.called, self.arguments = called, arguments

    def __reduce__(self):
        return self.called, self.arguments


def _bytes(data):
    def make(path):
        path.write_bytes(data)
        return path

    return make


def _objects(path):
    with open(path, "wb") as file:
        np.save(file, np.array([{}, 1], dtype=object))
    return path


def _script(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x/data.pkl", pickle.dumps({}, protocol=2))
        archive.writestr("x/code/__torch__/a.py", "def forward(self): pass")
    return path


# --- HDF5 -----------------------------------------------------------------------------------------


def _hdf5(change):
    def make(path):
        with h5py.File(path, "w") as file:
            file["layers/dense/vars/0"] = np.ones((2, 3), "float32")
            change(file, path.parent)
        return path

    return make


def _external_storage(file, folder):
    (folder / "secret").write_bytes(b"x" * 64)
    external = [(str(folder / "secret"), 0, 64)]
    file.create_dataset("layers/x", (16,), "float32", external=external)


def _virtual(file, folder):
    layout = h5py.VirtualLayout((2, 3), "float32")
    layout[:] = h5py.VirtualSource("other.h5", "a", (2, 3))
    file.create_virtual_dataset("layers/x", layout)


def _external_link(file, folder):
    file["layers/x"] = h5py.ExternalLink("/etc/passwd", "/")


def _soft_link(file, folder):
    file["layers/x"] = h5py.SoftLink("/layers/dense")


def _alias(file, folder):
    file["layers/x"] = file["layers/dense"]


def _bomb(file, folder):
    file.create_dataset("layers/x", (1 << 40,), "float32", chunks=(1 << 20,))


# --- Archives -------------------------------------------------------------------------------------


def _named(name):
    return lambda path: keras_file(path, layer(), **{name: "x"})


def _duplicate(path):
    keras_file(path, layer())
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("config.json", json.dumps(model(CONFIGS["lambda-bytecode"])))
    return path


def central(data, name):
    """Where the entry of a member begins in the directory."""
    return data.rindex(name.encode(), struct.unpack("<L", data[-6:-2])[0]) - 46


def _patched(at, value):
    def make(path):
        data = bytearray(keras_file(path, layer(), extra="0123456789").read_bytes())
        place = central(data, "extra") + at
        data[place : place + len(value)] = value
        path.write_bytes(data)
        return path

    return make


def _overlap(path):
    data = bytearray(keras_file(path, layer(), **{"a.txt": "1", "b.txt": "1"}).read_bytes())
    first = data[central(data, "a.txt") + 42 :][:4]
    place = central(data, "b.txt") + 42
    data[place : place + 4] = first
    path.write_bytes(data)
    return path


def _hidden(path):
    keras_file(path, CONFIGS["lambda-bytecode"])
    path.write_bytes(pickle.dumps([1]) + path.read_bytes())
    return path


def _zip_bomb(path):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros", b"\0" * 10_000)
    data = bytearray(path.read_bytes())
    size = struct.pack("<L", 0xFFFFFFF0)
    place = central(data, "zeros") + 24
    data[place : place + 4] = size
    data[22:26] = size
    path.write_bytes(data)
    return path


# --- Graphs of TensorFlow -------------------------------------------------------------------------


def message(*fields):
    """A protocol buffer of fields that are texts, bytes or messages."""
    found = b""
    for number, value in fields:
        data = value.encode() if isinstance(value, str) else value
        found += bytes([number << 3 | 2]) + _varint(len(data)) + data
    return found


def _varint(value):
    found = b""
    while value > 0x7F:
        found += bytes([value & 0x7F | 0x80])
        value >>= 7
    return found + bytes([value])


def saved_model(op, *more, inside=False):
    """A SavedModel with one operation, in its graph or in a function of it."""
    node = message((1, "a"), (2, op), *more)
    graph = message((1, node))
    if inside:
        graph = message((2, message((1, message((1, message((1, "f"))), (3, node))))))
    return message((2, message((2, graph))))


def _graph(op, *more, inside=False):
    def make(path):
        path = path.parent / "saved_model.pb"
        path.write_bytes(saved_model(op, *more, inside=inside))
        return path

    return make


# --- Not read -------------------------------------------------------------------------------------


def _cut(path):
    keras_file(path, layer())
    path.write_bytes(path.read_bytes()[:-30])
    return path


def _link(path):
    path.mkdir()
    os.symlink("/etc/passwd", path / "x.keras")
    return path


def _deep(path):
    return keras_file(path, text='{"class_name": ' + "[" * 5000)


def _config(code):
    return lambda path: keras_file(path, CONFIGS[code])


FILES = {
    **{code: _config(code) for code in CONFIGS},
    "auto-map": _auto_map,
    "json-duplicate-key": _doubled,
    "pickle-dangerous-global": _bytes(pickle.dumps(Runs(os.system, "id"))),
    "pickle-global": _bytes(b"\x80\x02cmine\nThing\n."),
    "pickle-opcode": _bytes(b"\x80\x04NN\x93."),
    "pickle-trailing": _bytes(pickle.dumps([1]) + b"more"),
    "object-array": _objects,
    "torchscript": _script,
    "hdf5-external-link": _hdf5(_external_link),
    "hdf5-external-storage": _hdf5(_external_storage),
    "hdf5-virtual-dataset": _hdf5(_virtual),
    "hdf5-soft-link": _hdf5(_soft_link),
    "hdf5-alias": _hdf5(_alias),
    "hdf5-bomb": _hdf5(_bomb),
    "zip-path": _named("../../evil"),
    "zip-duplicate": _duplicate,
    "zip-overlap": _overlap,
    "zip-mismatch": _patched(10, b"\x08\0"),
    "zip-encrypted": _patched(8, b"\x01\0"),
    "zip-bomb": _zip_bomb,
    "zip-hidden": _hidden,
    "graph-python": _graph("PyFunc"),
    "graph-file": _graph("WriteFile", inside=True),
    "graph-network": _graph("RemoteCall"),
    "program": _named("setup.py"),
    "unreadable": _cut,
    "limit": _deep,
    "unknown-kind": _bytes(b"\x00\x01\x02\xff\xfe" * 10),
    "link": _link,
}
