import io
import tracemalloc
import zipfile

import numpy as np
import pytest

from steelyard.checkpoints._npy import npy_header
from steelyard.checkpoints._npz import is_npz, open_npz
from steelyard.checkpoints._npz_out import write_npz
from steelyard.errors import CheckpointError, LimitError

pytestmark = pytest.mark.no_keras

RNG = np.random.default_rng(0)
ARRAYS = {
    "layer.kernel": RNG.normal(size=(3, 4)),
    "fortran": np.asfortranarray(RNG.normal(size=(3, 4, 2)).astype("float32")),
    "big": RNG.normal(size=(2, 3)).astype(">f8"),
    "big_and_fortran": np.asfortranarray(np.arange(6).reshape(2, 3).astype(">i4")),
    "complex": (RNG.normal(size=3) + 1j).astype(">c16"),
    "half": RNG.normal(size=5).astype("float16"),
    "none": np.zeros((0, 3)),
    "single": np.array(3),
    "truth": np.array([True, False]),
    "large": RNG.normal(size=(600, 500)),
    "odd": np.array([np.nan, np.inf, -0.0], "float32"),
}


class Loud:
    """What runs if it is unpickled."""

    ran: list[int] = []  # noqa: RUF012

    def __reduce__(self):
        return Loud.ran.append, (1,)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_what_numpy_writes(tmp_path, save):
    path = tmp_path / "x.npz"
    save(path, **ARRAYS)
    assert is_npz(path.read_bytes()[:64], path)
    source = open_npz(path)
    assert list(source.stored_path.values()) == list(ARRAYS)
    for address, name in source.stored_path.items():
        (stored,) = source.stored(address).values()
        spec = next(spec for spec in source.specs() if spec.address == address)
        assert (stored.shape, stored.dtype.name) == (spec.shape, spec.dtype)
        assert stored.dtype == ARRAYS[name].dtype.newbyteorder("=")
        np.testing.assert_array_equal(stored, ARRAYS[name])
    assert source.read("half").dtype == "float32"


def test_what_we_write_comes_back(tmp_path):
    arrays = {"a/b.1/kernel": ARRAYS["layer.kernel"], "c": ARRAYS["half"]}
    write_npz(tmp_path / "x.npz", arrays, arrays.values())
    source = open_npz(tmp_path / "x.npz")
    assert [spec.address for spec in source.specs()] == list(arrays)


@pytest.mark.parametrize("name", ["layer.kernel", "big_and_fortran", "single", "none"])
def test_a_single_array(tmp_path, name):
    path = tmp_path / "x.npy"
    np.save(path, ARRAYS[name])
    assert is_npz(path.read_bytes()[:64], path)
    source = open_npz(path)
    np.testing.assert_array_equal(source.read("arr_0"), ARRAYS[name])


def test_texts_and_strangers_are_said_and_not_listed(tmp_path):
    np.savez(tmp_path / "x.npz", w=np.ones(2), words=np.array(["a"]), when=np.array(["2020"], "M8"))
    with zipfile.ZipFile(tmp_path / "x.npz", "a") as archive:
        archive.writestr("read.me", "x")
    source = open_npz(tmp_path / "x.npz")
    assert [spec.address for spec in source.specs()] == ["w"]
    assert all(word in source.note for word in ("words.npy (<U1)", "when.npy", "read.me"))


def test_names_that_lead_out_are_said(tmp_path):
    np.savez(tmp_path / "x.npz", **{"../../w": np.ones(2), "b": np.ones(2)})
    source = open_npz(tmp_path / "x.npz")
    assert source.read("../../w").tolist() == [1, 1]
    assert "were not followed: '../../w.npy'." in source.note


def test_objects_are_refused_and_not_run(tmp_path):
    Loud.ran.clear()
    objects = np.array([Loud()], dtype=object)
    np.savez(tmp_path / "x.npz", a=np.ones(2), b=objects)
    np.save(tmp_path / "x.npy", objects)
    np.save(tmp_path / "y.npy", np.zeros(1, [("a", "O"), ("b", "f4")]))
    for name in ("x.npz", "x.npy", "y.npy"):
        with pytest.raises(CheckpointError, match="Python objects"):
            open_npz(tmp_path / name)
    assert Loud.ran == []


def test_arrays_with_fields_are_refused(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros(1, [("a", "i4"), ("b", "f4")]))
    with pytest.raises(CheckpointError, match="no dtype, order and shape"):
        open_npz(tmp_path / "x.npy")


def npy(text, version=b"\1\0", length=None):
    header = text.encode("latin-1")
    wide = 2 if version[0] == 1 else 4
    told = len(header) if length is None else length
    return b"\x93NUMPY" + version + told.to_bytes(wide, "little") + header


FINE = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }"


@pytest.mark.parametrize(
    ("text", "shape"),
    [
        (FINE, (2, 3)),
        ('{"shape": (2, 3), "descr": "<f4", "fortran_order": False}\n', (2, 3)),
        (FINE.replace("(2, 3)", "()"), ()),
        (FINE.replace("(2, 3)", "(2L,)"), (2,)),
    ],
)
def test_headers_of_others(text, shape):
    for version in (b"\1\0", b"\2\0", b"\3\0"):
        found = npy_header("a", npy(text, version), "x").tensor
        assert (found.shape, found.dtype) == (shape, "float32")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "{}",
        "()",
        "x" * 9_000,
        "(" * 9_000,
        "-" * 9_000,
        FINE + FINE,
        FINE.replace("}", ""),
        FINE.replace("(2, 3)", "(-2, 3)"),
        FINE.replace("(2, 3)", "(2.0, 3)"),
        FINE.replace("(2, 3)", "(2, , 3)"),
        FINE.replace("(2, 3)", "(" + "9" * 5000 + ",)"),
        FINE.replace("(2, 3)", "(4611686018427387904, 4)"),
        FINE.replace("(2, 3)", "(" + "1, " * 40 + ")"),
        FINE.replace("(2, 3)", "[2, 3]"),
        FINE.replace("(2, 3)", "__import__('os').abort()"),
        FINE.replace("False", "0"),
        FINE.replace("'<f4'", "'<f3'"),
        FINE.replace("'<f4'", "'<q4'"),
        FINE.replace("'<f4'", "'<f99999999999999999999'"),
        FINE.replace("'<f4'", "('<f4', (2,))"),
        FINE.replace("'<f4'", "False"),
        FINE.replace(", }", ", 'descr': '<f8'}"),
        FINE.replace(", }", ", 'more': 1}"),
    ],
)
def test_a_wrong_header_is_refused(text):
    with pytest.raises(CheckpointError):
        npy_header("a", npy(text), "x")


def test_a_header_of_another_length_or_version():
    for data in (npy(FINE, length=20_000), npy(FINE, b"\4\0"), npy(FINE, b"\1\1"), b"\x93NUMPY"):
        with pytest.raises(CheckpointError):
            npy_header("a", data, "x")


def test_another_length_than_the_shape(tmp_path):
    path = tmp_path / "x.npy"
    np.save(path, np.ones(5))
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(CheckpointError, match="by its shape"):
        open_npz(path)
    path.write_bytes(npy(FINE.replace("(2, 3)", "(1000000000000,)")))
    with pytest.raises(CheckpointError, match="by its shape"):
        open_npz(path)


def test_a_bomb_is_not_unpacked(tmp_path):
    path = tmp_path / "x.npz"
    size = 300 << 20
    head = npy(FINE.replace("(2, 3)", f"({size // 4},)"))
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("a.npy", "w") as member,
    ):
        member.write(head)
        for _ in range(size >> 20):
            member.write(bytes(1 << 20))
    tracemalloc.start()
    with pytest.raises(LimitError, match="that unpack to"):
        open_npz(path)
    assert tracemalloc.get_traced_memory()[1] < 10 << 20
    tracemalloc.stop()


def test_listing_unpacks_only_the_beginning(tmp_path):
    path = tmp_path / "x.npz"
    np.savez_compressed(path, a=np.zeros((4 << 20) // 8))
    tracemalloc.start()
    source = open_npz(path)
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()
    assert not source.read("a").any()


def test_a_damaged_array_is_told(tmp_path):
    for save in (np.savez, np.savez_compressed):
        save(tmp_path / "x.npz", a=ARRAYS["fortran"])
        data = bytearray((tmp_path / "x.npz").read_bytes())
        data[200] ^= 1
        (tmp_path / "x.npz").write_bytes(data)
        with pytest.raises(CheckpointError, match=r"damaged|unpack"):
            open_npz(tmp_path / "x.npz").read("a")


def test_a_large_array_is_summed_too(tmp_path):
    np.savez(tmp_path / "x.npz", a=np.ones(2 << 20))
    data = bytearray((tmp_path / "x.npz").read_bytes())
    data[12 << 20] ^= 1
    (tmp_path / "x.npz").write_bytes(data)
    with pytest.raises(CheckpointError, match="checksum"):
        open_npz(tmp_path / "x.npz").read("a")


def test_a_zip_of_something_else(tmp_path):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("config.json", "{}")
    assert not is_npz(buffer.getvalue()[:64], "x")
