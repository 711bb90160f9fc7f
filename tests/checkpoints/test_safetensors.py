import json

import ml_dtypes
import numpy as np
import pytest

from steelyard.checkpoints._safetensors import is_safetensors, open_safetensors
from steelyard.checkpoints._safetensors_out import write_safetensors
from steelyard.errors import CheckpointError, LimitError

pytestmark = pytest.mark.no_keras

ANY = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


def put(path, header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return path


@pytest.fixture
def path(tmp_path):
    return tmp_path / "x.safetensors"


def test_what_the_library_writes(path):
    library = pytest.importorskip("safetensors.numpy", reason="compares with safetensors")
    rng = np.random.default_rng(0)
    arrays = {
        f"layer.{i}.{dtype}": (rng.normal(size=(i, 3)) * 9).astype(dtype)
        for i, dtype in enumerate(
            ["float64", "float32", "float16", "int64", "int8", "uint8", "uint16", "bool"]
        )
    }
    library.save_file(arrays, path, metadata={"format": "np"})
    source = open_safetensors(path)
    assert sorted(source.stored_path.values()) == sorted(arrays)
    for address, name in source.stored_path.items():
        (stored,) = source.stored(address).values()
        assert stored.dtype == arrays[name].dtype
        np.testing.assert_array_equal(stored, arrays[name])


@pytest.mark.parametrize("dtype", ["bfloat16", "float8_e4m3fn", "float8_e5m2"])
def test_narrow_floats_as_pytorch_writes_them(path, dtype):
    torch = pytest.importorskip("torch", reason="NumPy has no such floats")
    library = pytest.importorskip("safetensors.torch", reason="compares with safetensors")
    tensor = torch.randn(3, 5).to(getattr(torch, dtype))
    library.save_file({"w": tensor}, path)
    source = open_safetensors(path)
    assert source.specs()[0].dtype == dtype
    np.testing.assert_array_equal(source.read("w"), tensor.float().numpy())
    assert source.stored("w")["w"].dtype == getattr(ml_dtypes, dtype)


def test_what_we_write_comes_back(path):
    arrays = {"a/b.1/kernel": np.arange(6.0).reshape(2, 3), "none": np.zeros((0, 4), "float32")}
    write_safetensors(path, arrays, arrays.values(), {"made": "here"})
    source = open_safetensors(path)
    assert [spec.address for spec in source.specs()] == list(arrays)
    for address, array in arrays.items():
        np.testing.assert_array_equal(source.read(address), array)
    source.close()
    with pytest.raises((CheckpointError, OSError)):
        source.read("a/b.1/kernel")


def test_the_start_tells(path):
    put(path, {"a": ANY}, bytes(8))
    assert is_safetensors(path.read_bytes()[:64], path)
    assert not is_safetensors(b"PK\3\4" + bytes(60), path)
    assert not is_safetensors(b"", path)


def test_floats_of_four_bits_are_said_and_not_listed(path):
    header = {"p": {"dtype": "F4", "shape": [4], "data_offsets": [8, 10]}, "a": ANY}
    source = open_safetensors(put(path, header, bytes(10)))
    assert [spec.address for spec in source.specs()] == ["a"]
    assert "'p'" in source.note


WRONG = {
    "not an object": ([1], b"", "brace"),
    "an array of nothing": ({"a": 1}, b"", "are told of an array"),
    "a field too many": ({"a": {**ANY, "x": 1}}, bytes(8), "are told of an array"),
    "a field too few": ({"a": {"dtype": "F32", "shape": [2]}}, bytes(8), "are told of an array"),
    "a dtype of its own": ({"a": {**ANY, "dtype": "X"}}, bytes(8), "no dtype 'X'"),
    "a dtype that is a list": ({"a": {**ANY, "dtype": []}}, bytes(8), "no dtype"),
    "a negative length": ({"a": {**ANY, "shape": [-2]}}, bytes(8), "is no shape"),
    "a length with a fraction": ({"a": {**ANY, "shape": [2.0]}}, bytes(8), "is no shape"),
    "a true length": ({"a": {**ANY, "shape": [True, 2]}}, bytes(8), "is no shape"),
    "a shape beyond all": ({"a": {**ANY, "shape": [2**40, 2**40]}}, bytes(8), "is no shape"),
    "another size": ({"a": {**ANY, "shape": [3]}}, bytes(8), "12.0 bytes by its shape"),
    "offsets backwards": ({"a": {**ANY, "data_offsets": [8, 0]}}, bytes(8), "no offsets"),
    "offsets below zero": ({"a": {**ANY, "data_offsets": [-8, 0]}}, bytes(8), "is no shape"),
    "three offsets": ({"a": {**ANY, "data_offsets": [0, 8, 8]}}, bytes(8), "no offsets"),
    "huge offsets": ({"a": {**ANY, "data_offsets": [0, 2**64]}}, bytes(8), "is no shape"),
    "an overlap": ({"a": ANY, "b": {**ANY, "data_offsets": [4, 12]}}, bytes(12), "overlap"),
    "the same bytes": ({"a": ANY, "b": ANY}, bytes(8), "overlap"),
    "a hole": ({"a": ANY, "b": {**ANY, "data_offsets": [12, 20]}}, bytes(20), "a hole"),
    "a hole at first": ({"a": {**ANY, "data_offsets": [4, 12]}}, bytes(12), "a hole"),
    "bytes at the end": ({"a": ANY}, bytes(9), "belong to no array"),
    "a byte too few": ({"a": ANY}, bytes(7), "cut off"),
    "metadata of numbers": ({"__metadata__": {"a": 1}}, b"", "metadata"),
    "metadata of nothing": ({"__metadata__": []}, b"", "metadata"),
    "half a byte": ({"a": {"dtype": "F4", "shape": [3], "data_offsets": [0, 2]}}, bytes(2), "1.5"),
    "a name twice": (b'{"a": 1, "a": 1}', b"", "twice"),
    "spaces first": (b' {"a": 1}', b"", "brace"),
    "NaN": (b'{"a": NaN}', b"", "NaN"),
    "no UTF-8": (b'{"\xff": 1}', b"", "no right JSON"),
    "a field twice": (
        b'{"a": {"dtype": "F32", "dtype": "F64", "shape": [1], "data_offsets": [0, 8]}}',
        bytes(8),
        "'dtype' is there twice",
    ),
}


@pytest.mark.parametrize(("header", "data", "says"), WRONG.values(), ids=WRONG)
def test_a_wrong_header_is_refused(path, header, data, says):
    with pytest.raises(CheckpointError, match=says) as caught:
        open_safetensors(put(path, header, data))
    assert str(path) in str(caught.value)


def test_a_long_header_is_announced(path):
    path.write_bytes((2**63).to_bytes(8, "little") + b"{}" + bytes(50))
    with pytest.raises(CheckpointError, match="is announced"):
        open_safetensors(path)
    with path.open("wb") as file:
        file.write((40 << 20).to_bytes(8, "little") + b"{}")
        file.truncate(50 << 20)
    with pytest.raises(LimitError, match="is announced"):
        open_safetensors(path)


def test_a_deep_header(path):
    with pytest.raises(LimitError, match="levels deep"):
        open_safetensors(put(path, b'{"a":' + b"[" * 50_000))


def test_nothing_is_read_before_it_is_asked_for(path):
    with path.open("wb") as file:
        text = json.dumps({"a": {"dtype": "F32", "shape": [2**30], "data_offsets": [0, 2**32]}})
        file.write(len(text).to_bytes(8, "little") + text.encode())
        file.truncate(8 + len(text) + 2**32)
    assert open_safetensors(path).specs()[0].nbytes == 2**32
