"""Orbax checkpoints: what Orbax and Keras wrote is what is read, and nothing else is opened."""

import json
import os
import subprocess
import sys

import ml_dtypes
import numpy as np
import pytest
from tests.checkpoints.zarrs import names, orbax

import steelyard as sy
from steelyard.checkpoints._orbax import is_orbax, open_orbax
from steelyard.errors import CheckpointError, LimitError, MissingDependencyError

pytestmark = pytest.mark.no_keras

ARRAYS = {
    "encoder.kernel": np.arange(12, dtype="float32").reshape(3, 4),
    "encoder.bias": np.arange(3).astype(ml_dtypes.bfloat16),
    "steps": np.array(7, "int64"),
    "empty": np.zeros((0, 3), "float32"),
}
KINDS = [(packed, version) for packed in (False, True) for version in (2, 3)]


@pytest.mark.parametrize(("packed", "version"), KINDS)
def test_values_and_addresses(packed, version, tmp_path):
    path = orbax(tmp_path / "c", ARRAYS, packed=packed, version=version)
    there = sy.weights(path)
    assert list(there.addresses) == ["encoder/kernel", "encoder/bias", "steps", "empty"]
    for weight, array in zip(there, ARRAYS.values(), strict=True):
        assert (weight.shape, weight.dtype) == (array.shape, array.dtype.name)
        (stored,) = weight.stored().values()
        assert stored.dtype == array.dtype
        np.testing.assert_array_equal(stored, array)
    assert there["encoder/bias"].numpy().dtype == "float32"


# --- What Orbax writes ----------------------------------------------------------------------------

WRITES = """
import os
os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=8"
import jax, numpy as np, orbax.checkpoint as ocp
from jax import numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from pathlib import Path
mesh = Mesh(np.array(jax.devices()).reshape(4, 2), ("a", "b"))
whole = jnp.arange(64.0).reshape(8, 8)
tree = {
    "enc": {"kernel": jnp.arange(12.0).reshape(3, 4), "narrow": jnp.arange(6, dtype="bfloat16")},
    "blocks": [jnp.ones(3, "int8"), (jnp.asarray(2.5), np.float32(3))],
    "sharded": jax.device_put(whole, NamedSharding(mesh, PartitionSpec("a", "b"))),
    "copied": jax.device_put(whole, NamedSharding(mesh, PartitionSpec())),
    "f8": jnp.ones(3, "float8_e4m3fn"), "i4": jnp.ones(3, "int4"), "flag": jnp.array([True]),
    "number": 7, "nothing": None, "words": "text", "a.b": {"c/d": np.arange(4.0)},
}
here = Path.cwd()
for name, how in {
    "packed 2": {}, "packed 3": {"use_zarr3": True},
    "plain 2": {"use_ocdbt": False}, "plain 3": {"use_ocdbt": False, "use_zarr3": True},
}.items():
    with ocp.Checkpointer(ocp.PyTreeCheckpointHandler(**how)) as checkpointer:
        checkpointer.save(here / name, args=ocp.args.PyTreeSave(tree))
tree = {"w": np.arange(3.0), "../../x": np.ones(2), "": np.ones(1)}
with ocp.StandardCheckpointer() as checkpointer:
    checkpointer.save(here / "standard", tree)
with ocp.CheckpointManager(here / "steps") as manager:
    for step in (3, 4, 12):
        parts = {"state": ocp.args.StandardSave({**tree, "step": np.array(step)})}
        manager.save(step, args=ocp.args.Composite(**parts, more=ocp.args.JsonSave({"a": 1})))
with ocp.CheckpointManager(here / "two") as manager:
    parts = {name: ocp.args.StandardSave({"w": np.ones(n)}) for name, n in (("a", 1), ("b", 2))}
    manager.save(0, args=ocp.args.Composite(**parts))
"""


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """What Orbax writes, from a process of its own: this one has no JAX."""
    pytest.importorskip("orbax.checkpoint", reason="Orbax writes the files")
    pytest.importorskip("jax", reason="Orbax needs it")
    folder = tmp_path_factory.mktemp("written")
    subprocess.run([sys.executable, "-c", WRITES], cwd=folder, check=True, capture_output=True)
    return folder


@pytest.mark.parametrize("kind", ["packed 2", "packed 3", "plain 2", "plain 3"])
def test_what_orbax_writes(kind, written):
    there = sy.weights(written / kind)
    wanted = {
        "enc/kernel": np.arange(12, dtype="float32").reshape(3, 4),
        "enc/narrow": np.arange(6).astype(ml_dtypes.bfloat16),
        "blocks/0": np.ones(3, "int8"),
        "blocks/1/0": np.float32(2.5),
        "blocks/1/1": np.float32(3),
        "sharded": np.arange(64, dtype="float32").reshape(8, 8),
        "copied": np.arange(64, dtype="float32").reshape(8, 8),
        "f8": np.ones(3).astype(ml_dtypes.float8_e4m3fn),
        "i4": np.ones(3).astype(ml_dtypes.int4),
        "flag": np.array([True]),
        "number": np.array(7),
        "a.b/c%2Fd": np.arange(4.0),
    }
    assert set(there.addresses) == set(wanted)
    for address, array in wanted.items():
        assert (there[address].shape, there[address].dtype) == (array.shape, array.dtype.name)
        (stored,) = there[address].stored().values()
        assert stored.dtype == array.dtype
        np.testing.assert_array_equal(stored, array)
    assert "'nothing'" in repr(there)
    assert "'words'" in repr(there)


def test_steps_and_parts(written):
    assert sy.weights(written / "standard")["..%2F..%2Fx"].numpy().tolist() == [1, 1]
    assert sy.weights(written / "standard")["~"].shape == (1,)
    latest = sy.weights(written / "steps")
    assert latest["step"].numpy() == 12
    assert "Step 12, the latest of 3." in repr(latest)
    assert sy.weights(written / "steps" / "4")["step"].numpy() == 4
    assert sy.weights(written / "steps" / "4" / "state")["step"].numpy() == 4
    assert list(sy.weights(written / "two").addresses) == ["a/w", "b/w"]
    (written / "steps" / "20.orbax-checkpoint-tmp").mkdir()
    assert sy.weights(written / "steps")["step"].numpy() == 12


def test_neither_orbax_nor_jax_is_imported(written):
    code = (
        "import sys, steelyard as sy\n"
        f"for weight in sy.weights({str(written / 'packed 2')!r}): weight.numpy()\n"
        "print(*{'jax', 'orbax', 'keras'} & {name.split('.')[0] for name in sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


# --- Without TensorStore --------------------------------------------------------------------------


def test_without_tensorstore_what_is_not_packed_is_listed(tmp_path, monkeypatch):
    orbax(tmp_path / "plain", ARRAYS)
    orbax(tmp_path / "packed", ARRAYS, packed=True)
    monkeypatch.setitem(sys.modules, "tensorstore", None)
    there = sy.weights(tmp_path / "plain")
    assert there["encoder/kernel"].shape == (3, 4)
    for ask in (there["encoder/kernel"].numpy, lambda: sy.weights(tmp_path / "packed")):
        with pytest.raises(MissingDependencyError, match=r'pip install "steelyard\[orbax\]"'):
            ask()


# --- Hostile files --------------------------------------------------------------------------------


@pytest.fixture
def plain(tmp_path):
    return orbax(tmp_path / "c", {"w": np.arange(6, dtype="float32").reshape(2, 3)})


def told(folder, **changes):
    """Changes what zarr says of the array."""
    path = folder / "w" / ".zarray"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    return folder


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"shape": [2, -3]}, "is no shape"),
        ({"shape": [2**40, 2**40]}, "is no shape"),
        ({"shape": [6]}, "pieces of"),
        ({"shape": 6}, "is no shape"),
        ({"chunks": [0, 3]}, "pieces of"),
        ({"chunks": None}, "is no shape"),
        ({"zarr_format": 3}, "zarr 3, and not 2"),
        ({"shape": [2**20, 2**20]}, "it is not read"),
        ({"chunks": [2**20, 2**20]}, "it is not read"),
        ({"shape": [2**13, 2**13], "chunks": [1, 1]}, "at most 200,000 are read"),
        ({"compressor": {"id": "blosc"}}, "not read"),
        ({"filters": [{"id": "delta"}]}, "with filters"),
        ({"dtype": "<i8"}, "c: 'w'"),
    ],
)
def test_an_array_that_is_told_wrong(changes, says, plain):
    with pytest.raises(CheckpointError, match=says):
        sy.weights(told(plain, **changes))["w"].numpy()


@pytest.mark.parametrize("kind", ["|O", [["a", "<f4"]], "|S8", "object", "ufunc", "finfo", "<f3"])
def test_what_is_no_number_is_said(kind, plain):
    there = sy.weights(told(plain, dtype=kind))
    assert not len(there)
    assert "'w'" in repr(there)


def test_a_piece_that_unpacks_to_more(plain):
    zlib = pytest.importorskip("zlib")
    told(plain, compressor={"id": "zlib", "level": 1})
    (plain / "w" / "0.0").write_bytes(zlib.compress(bytes(100 << 20)))
    with pytest.raises(CheckpointError, match="'w'"):
        sy.weights(plain)["w"].numpy()


def test_a_piece_that_is_missing(plain):
    (plain / "w" / "0.0").unlink()
    with pytest.raises(CheckpointError, match="'w'"):
        sy.weights(plain)["w"].numpy()


@pytest.mark.parametrize("name", ["w/../../secret", "../secret", "./w", "w/", "", "/etc"])
def test_a_name_that_leads_elsewhere(name, plain):
    np.save(plain.parent / "secret", np.ones(3))
    names(plain, {})
    row = {
        "key_metadata": [{"key": name, "key_type": 2}],
        "value_metadata": {"value_type": "np.ndarray"},
    }
    (plain / "_METADATA").write_text(json.dumps({"tree_metadata": {"x": row}}))
    with pytest.raises(CheckpointError, match="lead to another folder"):
        sy.weights(plain)


@pytest.mark.parametrize("put", [os.mkfifo, lambda path: os.symlink("/dev/zero", path)])
def test_links_and_pipes_are_not_followed(put, plain):
    (plain / "w" / "0.0").unlink()
    put(plain / "w" / "0.0")
    with pytest.raises(CheckpointError, match="a link or a device"):
        sy.weights(plain)


@pytest.mark.parametrize(
    "text",
    [
        '{"tree_metadata": []}',
        '{"tree_metadata": {"a": 1}}',
        '{"tree_metadata": {"a": {"key_metadata": [], "value_metadata": {"value_type": "x"}}}}',
        '{"tree_metadata": {"a": {"key_metadata": [{"key": 1}], "value_metadata": '
        '{"value_type": "x"}}}}',
        "{",
    ],
)
def test_names_that_are_none(text, plain):
    (plain / "_METADATA").write_text(text)
    with pytest.raises(CheckpointError, match="_METADATA"):
        sy.weights(plain)


def test_too_many_names(plain, monkeypatch):
    monkeypatch.setattr("steelyard.checkpoints._orbax_leaves.MOST_WEIGHTS", 2)
    names(plain, dict.fromkeys("abc"))
    with pytest.raises(LimitError, match="at most 2 are listed"):
        sy.weights(plain)


def test_folders_that_are_none(tmp_path):
    assert not is_orbax(b"", tmp_path)
    assert not is_orbax(b"", tmp_path / "missing")
    (tmp_path / "3").mkdir()
    assert not is_orbax(b"", tmp_path)
    with pytest.raises(CheckpointError, match="without a checkpoint of Orbax"):
        open_orbax(tmp_path)
