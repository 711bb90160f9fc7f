import builtins
import os
import pickle
import struct
import time
import tracemalloc
import zipfile
from collections import OrderedDict

import numpy as np
import pytest

from steelyard.checkpoints._torch import is_torch, open_torch
from steelyard.errors import CheckpointError, LimitError

torch = pytest.importorskip("torch", reason="PyTorch writes the files")

pytestmark = pytest.mark.no_keras

NARROW = (torch.bfloat16, torch.float16, torch.float8_e4m3fn, torch.float8_e5m2)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "x.pt"


def saved(path, value, **options):
    torch.save(value, path, **options)
    return open_torch(path)


def plain(tensor):
    tensor = tensor.detach().resolve_conj().resolve_neg()
    return tensor.float().numpy() if tensor.dtype in NARROW else tensor.numpy()


def views():
    torch.manual_seed(0)
    base = torch.randn(4, 6)
    turned = torch.randn(3, dtype=torch.complex64).conj()
    return {
        "base": base,
        "transposed": base.T,
        "part": base[1:, ::2],
        "row": base[2],
        "column": base[:, 3],
        "permuted": torch.randn(2, 3, 4).permute(2, 0, 1),
        "shown often": torch.ones(1).expand(5),
        "windows": torch.arange(6.0).as_strided((5, 2), (1, 1)),
        "one": torch.tensor(4.0),
        "none": torch.zeros(0, 3),
        "odd": torch.randn(1, 5)[:, ::2],
        "turned": turned,
        "negative": torch.randn(3, dtype=torch.complex64).conj().imag,
        "parameter": torch.nn.Parameter(torch.ones(2)),
        **{
            str(dtype)[6:]: torch.arange(5).to(dtype)
            for dtype in (
                *NARROW,
                *(torch.float64, torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8),
                *(torch.bool, torch.uint16, torch.uint32, torch.complex128),
            )
        },
    }


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_what_pytorch_writes(path, protocol):
    wanted = views()
    source = saved(path, wanted, pickle_protocol=protocol)
    assert is_torch(path.read_bytes()[:128], path)
    assert [spec.address for spec in source.specs()] == list(wanted)
    for spec in source.specs():
        tensor = wanted[spec.address]
        assert spec.shape == tuple(tensor.shape)
        assert spec.dtype == str(tensor.dtype)[6:]
        np.testing.assert_array_equal(source.read(spec.address), plain(tensor))
        (stored,) = source.stored(spec.address).values()
        assert (stored.shape, stored.dtype.name) == (spec.shape, spec.dtype)


def test_a_state_dict(path):
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    source = saved(path, model.state_dict())
    assert source.stored_path["1/running_mean"] == "1.running_mean"
    assert source.note == ""
    for name, tensor in model.state_dict().items():
        np.testing.assert_array_equal(source.read(name.replace(".", "/")), tensor.numpy())


def test_dicts_in_dicts_and_what_is_no_tensor(path):
    one = torch.ones(1)
    value = {
        "model": OrderedDict({"a.w": one}),
        "optimizer": {"state": {0: {"m": one * 2}}, "groups": [{"lr": 0.1, "params": [0]}]},
        "list": [one * 3, one * 4],
        ("a", 1): one,
        None: one,
        "epoch": 3,
        "dtype": torch.float32,
        "device": torch.device("cpu"),
        "shape": torch.Size([2]),
        "bytes": b"abc",
        "set": {1, 2},
        "large": 2**70,
    }
    source = saved(path, value)
    assert [spec.address for spec in source.specs()] == [
        *("model/a/w", "optimizer/state/0/m", "list/0", "list/1", "~", "None"),
    ]
    assert "'optimizer.groups.0.lr'" in source.note
    assert "no tensors" in source.note


def test_a_single_tensor(path):
    source = saved(path, torch.ones(2, 2))
    assert source.read("tensor").tolist() == [[1, 1], [1, 1]]


def test_a_file_without_checksums(path):
    set_crc32 = getattr(torch.serialization, "set_crc32_options", None)
    if set_crc32 is None:
        pytest.skip("this PyTorch always writes them")
    try:
        set_crc32(False)
        assert saved(path, {"a": torch.ones(3)}).read("a").tolist() == [1, 1, 1]
    finally:
        set_crc32(True)


@pytest.mark.parametrize("how", ["whole", "turned", "part"])
def test_damage_is_told_where_a_tensor_is_all_of_its_storage(path, how):
    tensor = torch.arange(12.0).reshape(3, 4)
    tensor = {"whole": tensor, "turned": tensor.T, "part": tensor[1:]}[how]
    torch.save({"a": tensor}, path)
    data = bytearray(path.read_bytes())
    at = data.index(np.arange(12, dtype="float32").tobytes()) + 5 * 4
    data[at] ^= 1
    path.write_bytes(data)
    source = open_torch(path)
    if how == "part":  # to sum it, more would have to be read than was asked for
        assert source.read("a")[0, 1] != 5
        return
    with pytest.raises(CheckpointError, match="checksum"):
        source.read("a")


class Call:
    """What pickles as a call of a function."""

    def __init__(self, function, *arguments):
        self.what = function, arguments

    def __reduce__(self):
        return self.what


@pytest.mark.parametrize(
    ("function", "arguments", "name"),
    [
        (os.system, ("touch ran",), "posix.system|nt.system"),
        (eval, ("open('ran', 'w')",), "builtin.*eval"),
        (exec, ("open('ran', 'w')",), "builtin.*exec"),
        (getattr, ("", "x"), "builtin.*getattr"),
        (builtins.__import__, ("os",), "builtin.*__import__"),
        (torch.load, ("ran",), "torch.serialization.load"),
        (torch.nn.Linear, (2, 2), "torch.nn.modules.linear.Linear"),
        (np.zeros, (2,), "numpy"),
    ],
)
@pytest.mark.parametrize("protocol", [2, 4])
def test_nothing_is_run(path, function, arguments, name, protocol, monkeypatch):
    monkeypatch.chdir(path.parent)
    for value in (
        Call(function, *arguments),
        {"a": torch.ones(1), "b": Call(function, *arguments)},
    ):
        with pytest.raises(CheckpointError, match=name) as caught:
            saved(path, value, pickle_protocol=protocol)
        assert "nothing of it was run" in str(caught.value)
    assert os.listdir(path.parent) == ["x.pt"]


def test_a_whole_model_is_refused(path):
    with pytest.raises(CheckpointError, match=r"torch\.nn\.modules\.linear\.Linear"):
        saved(path, torch.nn.Linear(2, 2))


@pytest.mark.parametrize("value", [{"a": torch.ones(1)}, Call(os.system, "touch ran")])
def test_the_old_format_is_refused(path, value):
    torch.save(value, path, _use_new_zipfile_serialization=False)
    assert is_torch(path.read_bytes()[:64], path)
    with pytest.raises(CheckpointError, match=r"before 1\.6; it was not run"):
        open_torch(path)
    path.write_bytes(pickle.dumps({"a": 1}))
    assert is_torch(path.read_bytes()[:64], path)
    with pytest.raises(CheckpointError, match="it was not run"):
        open_torch(path)


def archive(path, data, storages=None, how=zipfile.ZIP_STORED, more=()):
    """A file of PyTorch's with a pickle of ours."""
    with zipfile.ZipFile(path, "w", how) as made:
        made.writestr("x/data.pkl", data)
        for key, content in {"0": bytes(16), **(storages or {})}.items():
            made.writestr(f"x/data/{key}", content)
        for name, content in more:
            made.writestr(name, content)
    return open_torch(path)


def text(value):
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def number(value):
    return b"\x8a\x09" + value.to_bytes(9, "little", signed=True)


def numbers(values):
    return b"(" + b"".join(map(number, values)) + b"t"


def tensor(shape=(4,), strides=(1,), offset=0, count=4, key="0", kind=b"FloatStorage"):
    """The pickle of a tensor, and a dict around it."""
    storage = b"(" + text("storage") + b"ctorch\n" + kind + b"\n" + text(key) + text("cpu")
    storage += number(count) + b"tQ"
    view = storage + number(offset) + numbers(shape) + numbers(strides) + b"\x89}"
    view = b"ctorch._utils\n_rebuild_tensor_v2\n(" + view + b"tR"
    return b"\x80\2}" + text("a") + view + b"s."


def test_a_pickle_of_ours_is_like_theirs(path):
    assert archive(path, tensor(), {"0": np.arange(4.0, dtype="<f4").tobytes()}).read(
        "a"
    ).tolist() == [0, 1, 2, 3]
    turned = {"0": np.arange(4.0, dtype=">f4").tobytes()}
    big = archive(path, tensor(), turned, more=[("x/byteorder", "big")])
    assert big.read("a").tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    "told",
    [
        dict(shape=(5,)),
        dict(offset=1),
        dict(offset=-1),
        dict(strides=(2,)),
        dict(strides=(-1,)),
        dict(strides=(2**61,)),
        dict(shape=(2**61,), strides=(0,)),
        dict(shape=(10**15,), strides=(0,)),
        dict(shape=(10**6, 10**9), strides=(0, 0)),
        dict(shape=(2**40, 2**40), strides=(0, 0)),
        dict(shape=(2,), strides=(1, 1)),
        dict(shape=(2, 2), strides=(1,)),
        dict(shape=(-1,)),
        dict(shape=(1,) * 40, strides=(1,) * 40),
        dict(offset=2**62),
        dict(count=5),
        dict(count=-1),
        dict(key="9"),
        dict(key="../data.pkl"),
        dict(key="/etc/passwd"),
        dict(kind=b"device"),
        dict(kind=b"QInt8Storage"),
    ],
)
def test_a_tensor_keeps_to_its_storage(path, told):
    tracemalloc.start()
    with pytest.raises(CheckpointError):
        archive(path, tensor(**told))
    assert tracemalloc.get_traced_memory()[1] < 10 << 20
    tracemalloc.stop()


DICT = b"\x80\2}" + text("a")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x80",
        b".",
        b"\x80\2}",
        b"}}.",
        b"}.}.",
        b"(}.",
        b"t.",
        b"s.",
        b"u.",
        b"R.",
        b"Q.",
        b"b.",
        b"e.",
        b"\x85.",
        b"h\0.",
        b"q\0.",
        b"\x94.",
        b"\x93.",
        b"(K\1u.",
        b"](K\1K\2u.",
        b"K\1K\2a.",
        b"](K\1e}b.",
        b"K\1}b.",
        b"K\1)R.",
        DICT + b"Q.",
        DICT + b"K\1Q.",
        b"ccollections\nOrderedDict\nK\1R.",
        b"ccollections\nOrderedDict\n(K\1tR.",
        b"ccollections\nOrderedDict\n((K\1ttR.",
        b"ccollections\nOrderedDict\n(K\1K\2tR.",
        b"ccollections\nOrderedDict\n)\x81.",
        b"ctorch\nFloatStorage\n)R.",
        b"ctorch._utils\n_rebuild_tensor_v2\n)R.",
        b"ctorch._utils\n_rebuild_tensor_v2\n(K\1K\1K\1K\1tR.",
        b"ctorch._utils\n_rebuild_tensor_v3\n)R.",
        b"ctorch._utils\n_rebuild_parameter\n)R.",
        b"ctorch._utils\n_rebuild_parameter\n(}tR.",
        b"cos\nsystem\n(S'id'\ntR.",
        b"(S'id'\nios\nsystem\n.",
        b"(cos\nsystem\nS'id'\no.",
        b"\x82\1.",
        b"\x83\1\0.",
        b"\x84\1\0\0\0.",
        b"Pid\n.",
        b"V" + b"\\u0041" * 10 + b"\n.",
        b"L" + b"9" * 10_000 + b"L\n.",
        b"I" + b"9" * 10_000 + b"\n.",
        b"\x8b\xff\xff\xff\x7f.",
        b"\x8b\xff\xff\xff\xff.",
        b"\x8d" + b"\xff" * 8 + b".",
        b"\x8e" + b"\xff" * 8 + b".",
        b"X\xff\xff\xff\x7fa.",
        b"X\1\0\0\0\xff.",
        b"2.",
        b"0.",
        b"\x97.",
        b"\xff.",
    ],
)
def test_a_wrong_pickle_is_refused(path, data):
    with pytest.raises(CheckpointError) as caught:
        archive(path, data)
    assert len(str(caught.value)) < len(str(path)) + 400


@pytest.mark.parametrize(
    "data",
    [
        b"]" * 4_100_000 + b".",
        b"]" + b"]" * 200 + b"a" * 200 + b".",
        b"]q\0h\0a.",
        b"]q\0(" + b"h\0" * 1000 + b"e.",
        b"}q\0X\1\0\0\0ah\0s.",
    ],
    ids=["long", "deep", "in itself", "in itself often", "a dict in itself"],
)
def test_too_much_is_refused_soon(path, data):
    began = time.perf_counter()
    with pytest.raises(LimitError):
        archive(path, data)
    assert time.perf_counter() - began < 20


def test_tuples_that_double(path):
    """Each of two times the one before: a few bytes that tell of 2^50 values."""
    began = time.perf_counter()
    for inner in (b"K\1", b"K\1\x85"):
        with pytest.raises(LimitError):
            archive(path, inner + b"".join(b"q%ch%c\x86" % (i, i) for i in range(50)) + b".")
        # As a key: to work out its hash would never end.
        archive(path, b"}" + inner + b"q\0h\0\x86" * 2 + b"q\0h\0\x86" * 50 + b"K\1s.").close()
    assert time.perf_counter() - began < 20


def test_a_zip_of_something_else(path):
    with zipfile.ZipFile(path, "w") as made:
        made.writestr("config.json", "{}")
    assert not is_torch(path.read_bytes()[:64], path)
    with pytest.raises(CheckpointError, match=r"torch\.save did not write"):
        open_torch(path)


def test_a_packed_storage_is_refused(path):
    with pytest.raises(CheckpointError, match="packed"):
        archive(path, tensor(), how=zipfile.ZIP_DEFLATED)


def test_a_pickle_that_unpacks_to_a_lot(path):
    with pytest.raises(LimitError, match=r"data\.pkl"):
        archive(path, b"]" * (40 << 20), how=zipfile.ZIP_DEFLATED)


def test_two_pickles(path):
    with pytest.raises(CheckpointError, match="did not write"):
        archive(path, tensor(), more=[("y/data.pkl", b"}.")])


def test_the_start_may_be_short():
    for head in (b"", b"P", b"PK\3\4", b"PK\3\4" + bytes(26), b"\x80"):
        assert not is_torch(head, "x.pt")
