import os
import struct
import subprocess
import sys
import time

import numpy as np
import pytest
from tests.hostile.tables import HEADER, block, entry, field, table, varint

from steelyard.checkpoints import _crc32c
from steelyard.checkpoints._bytes import Bytes
from steelyard.checkpoints._crc32c import masked_crc32c
from steelyard.checkpoints._object_graph import addresses, in_order, is_bookkeeping
from steelyard.checkpoints._sorted_table import MAGIC, sorted_entries
from steelyard.checkpoints._tensorflow import is_tensorflow, open_tensorflow
from steelyard.errors import CheckpointError, LimitError

pytestmark = pytest.mark.no_keras

VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"


NUMBERS = np.array([1, 2], "float32").tobytes()
FINE = entry(crc=masked_crc32c(NUMBERS))


@pytest.fixture
def put(tmp_path):
    def put(items, data=NUMBERS, **options):
        whole = items if isinstance(items, bytes) else table(items, **options)
        (tmp_path / "x.index").write_bytes(whole)
        (tmp_path / "x.data-00000-of-00001").write_bytes(data)
        return open_tensorflow(tmp_path / "x")

    return put


def test_a_table_of_ours_is_like_theirs(put, tmp_path):
    source = put([HEADER, (b"a/b.1", FINE)])
    assert source.read("a/b.1").tolist() == [1, 2]
    assert source.note == ""
    for name in ("x", "x.index", "x.data-00000-of-00001"):
        assert is_tensorflow(b"", tmp_path / name)
    source.close()


@pytest.mark.parametrize(
    ("items", "says"),
    [
        ([(b"a", FINE)], "what it is the index of"),
        ([(b"", field(1, 1) + field(2, 1)), (b"a", FINE)], "big-endian"),
        ([(b"", field(1, 10**6)), (b"a", FINE)], "at most 512"),
        ([(b"", field(1, -1)), (b"a", FINE)], "at most 512"),
        ([(b"", b"\xff"), (b"a", FINE)], "cut off"),
        ([HEADER, (b"a", FINE), (b"a", FINE)], "not in order"),
        ([HEADER, (b"b", FINE), (b"a", FINE)], "not in order"),
        ([HEADER, (b"\xff", FINE)], "codec"),
        ([HEADER, (b"a", entry(shape=(3,)))], "12 bytes by its shape"),
        ([HEADER, (b"a", entry(shape=(2**40,)))], "by its shape"),
        ([HEADER, (b"a", entry(shape=(2**40, 2**40)))], "is no shape"),
        ([HEADER, (b"a", entry(shape=(-1,)))], "is no shape"),
        ([HEADER, (b"a", entry(shape=(1,) * 40))], "is no shape"),
        ([HEADER, (b"a", entry(offset=1))], "cut off"),
        ([HEADER, (b"a", entry(offset=2**62))], "cut off"),
        ([HEADER, (b"a", entry(offset=-8))], "its place"),
        ([HEADER, (b"a", entry(shape=(2**59,), size=2**61))], "cut off"),
        ([HEADER, (b"a", entry(file=1))], "no file 1"),
        ([HEADER, (b"a", entry(file=-1))], "no file -1"),
        ([HEADER, (b"a", FINE[:-3])], "cut off"),
        ([HEADER, (b"a", field(1, b"x"))], "bytes where a number"),
        ([HEADER, (b"a", field(2, 7))], "number where bytes"),
        ([HEADER, (b"a", field(2, field(3, 1)))], "shape is unknown"),
        ([HEADER, (b"a", b"\x0b")], "kind 3"),
        ([HEADER, (b"a", b"\x80" * 11)], "too long"),
        ([HEADER, (b"_CHECKPOINTABLE_OBJECT_GRAPH", FINE)], "no single string"),
    ],
)
def test_a_wrong_table_is_refused(put, items, says):
    with pytest.raises(CheckpointError, match=says):
        put(items)


def test_a_packed_table_and_wrong_checksums(put):
    with pytest.raises(CheckpointError, match="packed"):
        put([HEADER, (b"a", FINE)], packed=1)
    with pytest.raises(CheckpointError, match="checksum"):
        put([HEADER, (b"a", FINE)], crc=1)
    with pytest.raises(CheckpointError, match="damaged: its checksum"):
        put([HEADER, (b"a", entry(crc=1))]).read("a")


@pytest.mark.parametrize("quick", [True, False])
def test_a_large_array_is_summed_where_that_is_quick(put, monkeypatch, quick):
    """Without the package it would take many times as long as to read it."""
    if quick:
        pytest.importorskip("google_crc32c", reason="it is what makes it quick")
    else:
        monkeypatch.setattr(_crc32c, "_library", lambda: None)
    data = bytes(2 << 20)
    source = put([HEADER, (b"a", entry((1 << 19,), size=2 << 20, crc=1))], data)
    if not quick:
        assert source.read("a").size == 1 << 19
        return
    with pytest.raises(CheckpointError, match="damaged: its checksum"):
        source.read("a")


def test_tables_that_are_none(put):
    for data in (b"", MAGIC, bytes(48), bytes(40) + MAGIC, b"\xff" * 40 + MAGIC):
        with pytest.raises(CheckpointError):
            put(data)


def test_a_table_whose_index_is_its_block(put):
    """Few bytes that lead to the same block again and again."""
    data = block([HEADER, (b"a", FINE)])
    index = block([(bytes([i]), varint(0) + varint(len(data) - 5)) for i in range(250)])
    footer = varint(0) * 2 + varint(len(data)) + varint(len(index) - 5)
    with pytest.raises(CheckpointError, match="over each other"):
        put(data + index + footer.ljust(40, b"\0") + MAGIC)


def test_keys_that_grow(tmp_path):
    """A key is told by what it adds to the one before: a few bytes tell of a megabyte."""
    long = b"k" * 1_000_000
    body = varint(0) + varint(len(long)) + varint(0) + long
    body += (varint(len(long)) + varint(1) + varint(0) + b"k") * 1
    for i in range(1, 2000):
        body += varint(len(long) + i) + varint(1) + varint(0) + b"k"
    body += struct.pack("<II", 0, 1) + b"\0"
    body += struct.pack("<I", masked_crc32c(body))
    index = block([(b"\xff", varint(0) + varint(len(body) - 5))])
    footer = (varint(0) * 2 + varint(len(body)) + varint(len(index) - 5)).ljust(40, b"\0")
    (tmp_path / "x.index").write_bytes(body + index + footer + MAGIC)
    began = time.perf_counter()
    with pytest.raises(LimitError, match="too long"), Bytes(tmp_path / "x.index") as file:
        for _ in sorted_entries(file):
            pass
    assert time.perf_counter() - began < 5


def test_folders(tmp_path, put):
    put([HEADER, (b"a", FINE)])
    state = tmp_path / "checkpoint"
    with pytest.raises(CheckpointError, match="neither variables nor a checkpoint"):
        open_tensorflow(tmp_path)
    assert not is_tensorflow(b"", tmp_path)
    state.write_text('model_checkpoint_path: "x"\nall_model_checkpoint_paths: "x"\n')
    assert is_tensorflow(b"", tmp_path)
    assert open_tensorflow(tmp_path).read("a").tolist() == [1, 2]
    for name in ("../x", "/x", "", "a\\\\b"):
        state.write_text(f'model_checkpoint_path: "{name}"\n')
        with pytest.raises(CheckpointError, match="names no checkpoint in its own folder"):
            open_tensorflow(tmp_path)
    with pytest.raises(CheckpointError, match="No such file"):
        open_tensorflow(tmp_path / "missing")
    os.mkfifo(tmp_path / "pipe.index")
    with pytest.raises(CheckpointError, match="this is none"):
        open_tensorflow(tmp_path / "pipe")


def test_names_of_keys():
    assert is_bookkeeping("save_counter" + VALUE)
    assert is_bookkeeping("model/optimizer/_variables/3" + VALUE)
    assert is_bookkeeping("model/w/.OPTIMIZER_SLOT/optimizer/m" + VALUE)
    assert not is_bookkeeping("optimizer/_trainable_variables/0" + VALUE)
    assert not is_bookkeeping("my_optimizer_like_layer/kernel" + VALUE)
    keys = [f"variables/{i}{VALUE}" for i in (10, 9, 1)]
    assert in_order(keys) == keys[::-1]
    names = {keys[0]: "model/a/kernel", keys[1]: "model/b/kernel", keys[2]: "model/c/kernel"}
    assert addresses(keys, names) == [(f"{n}/kernel", "inferred") for n in "abc"]
    names[keys[2]] = "c/kernel"
    assert addresses(keys, names)[1:] == [("model/b/kernel", "inferred"), ("c/kernel", "inferred")]
    assert addresses(["layer-0/kernel" + VALUE], {}) == [("layer-0/kernel", "exact")]
    assert addresses(["variables/3" + VALUE], {}) == [("variables/3", "unknown")]


def made(tmp_path, code):
    """What TensorFlow writes, from a process of its own: this one has no Keras."""
    pytest.importorskip("tensorflow", reason="TensorFlow writes the files")
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "KERAS_BACKEND": "tensorflow"}
    subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env={**os.environ, **quiet}, check=True
    )
    return np.load(tmp_path / "values.npz")


MODULE = """
import numpy as np, tensorflow as tf
class Module(tf.Module):
    def __init__(self):
        kinds = ("float32 float64 float16 bfloat16 int8 uint8 int16 int32 int64 bool complex64 "
                 "uint16 uint32 uint64 complex128").split()
        self.w = {k: tf.Variable(tf.cast(tf.range(3), k)) for k in kinds}
        self.blocks = [tf.Variable(tf.reshape(tf.range(i, dtype=tf.float32), (1, i)))
                       for i in range(12)]
        self.single = tf.Variable(3.5)
        self.large = tf.Variable(tf.random.stateless_normal((600, 500), (1, 2)))
        self.words = tf.Variable("text")
module = Module()
tf.train.Checkpoint(m=module).write("plain")
tf.train.Checkpoint(m=module).save("counted")
tf.saved_model.save(module, "saved")
values = {f"w/{k}": v for k, v in module.w.items()}
values |= {f"blocks/{i}": v for i, v in enumerate(module.blocks)}
values |= {"single": module.single, "large": module.large}
as_numpy = lambda v: (tf.cast(v, "float32") if v.dtype in (tf.bfloat16, tf.float16) else v).numpy()
np.savez("values.npz", **{k: as_numpy(v) for k, v in values.items()})
"""


def test_what_tensorflow_writes(tmp_path):
    wanted = made(tmp_path, MODULE)
    for path, root in (("plain", "m/"), (".", "m/"), ("counted-1.index", "m/"), ("saved", "")):
        assert is_tensorflow(b"", tmp_path / path)
        source = open_tensorflow(tmp_path / path)
        assert {spec.address for spec in source.specs()} == {root + name for name in wanted.files}
        assert "words" in source.note
        for spec in source.specs():
            array = wanted[spec.address.removeprefix(root)]
            assert spec.shape == array.shape
            np.testing.assert_array_equal(source.read(spec.address), array)
            if "/w/" in spec.address:
                assert spec.dtype == spec.address.split("/")[-1]
        blocks = [spec.address for spec in source.specs() if "blocks" in spec.address]
        assert blocks == [f"{root}blocks/{i}" for i in range(12)]
    assert "save_counter" in open_tensorflow(tmp_path / "counted-1").note


MODEL = """
import keras, numpy as np, tensorflow as tf
dense = keras.layers.Dense
model = keras.Sequential([keras.Input((4,)), dense(3, name="first"),
    keras.layers.BatchNormalization(name="norm"), dense(2, name="last", dtype="bfloat16")])
model.compile("adam", "mse")
model.fit(np.ones((4, 4)), np.ones((4, 2)), verbose=0)
model.export("exported", verbose=False)
tf.train.Checkpoint(model=model, optimizer=model.optimizer).write("checkpoint-of-it")
np.savez("values.npz", **{f"{layer.name}/{w.name}": np.array(w.numpy(), "float32")
                          for layer in model.layers for w in layer.weights})
"""


def test_what_keras_exports(tmp_path):
    wanted = made(tmp_path, MODEL)
    for path in ("exported", "checkpoint-of-it"):
        source = open_tensorflow(tmp_path / path)
        assert {spec.address for spec in source.specs()} == set(wanted.files)
        for name in wanted.files:
            np.testing.assert_array_equal(source.read(name), wanted[name])
        assert set(source.naming.values()) == {"inferred"}
        assert f"Of {len(wanted.files)} names {len(wanted.files)} inferred; " in source.note
    assert "optimizer/_variables/" in source.note
