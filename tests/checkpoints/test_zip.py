import struct
import time
import zipfile

import pytest

from steelyard.checkpoints._bytes import Bytes
from steelyard.checkpoints._zip import Archive
from steelyard.errors import CheckpointError, LimitError

pytestmark = pytest.mark.no_keras


_WIDE = 0xFFFFFFFF


@pytest.fixture
def path(tmp_path):
    return tmp_path / "x.zip"


def written(path, members=(("a", b"first"), ("b", b"second" * 100)), how=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", how) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return path


def read(path, name, most=10_000):
    with Bytes(path) as file:
        return Archive(file).read(name, most)


def patched(path, at, data):
    whole = bytearray(path.read_bytes())
    whole[at : at + len(data)] = data
    path.write_bytes(whole)


@pytest.mark.parametrize("how", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_members_are_read(path, how):
    written(path, how=how)
    assert read(path, "a") == b"first"
    assert read(path, "b") == b"second" * 100
    with Bytes(path) as file:
        archive = Archive(file)
        assert archive.first(archive.members["b"], 9) == b"secondsec"
        assert archive.first(archive.members["a"], 900) == b"first"


def test_sizes_of_64_bits_and_sizes_that_follow(path):
    with zipfile.ZipFile(path, "w") as archive, archive.open("a", "w", force_zip64=True) as member:
        member.write(b"wide")
    assert read(path, "a") == b"wide"

    class Pipe:
        def __init__(self, file):
            self.write, self.flush = file.write, file.flush

    with path.open("wb") as file, zipfile.ZipFile(Pipe(file), "w") as archive:
        archive.writestr("a", "later")
        archive.writestr("b", "later still")
    assert read(path, "b") == b"later still"


def _huge(path, packed, local):
    """A file of more than 4 GiB that takes a page on the disk."""
    extra = struct.pack("<2H2Q", 1, 16, local, local)
    head = struct.pack("<4s5H3L2H", b"PK\3\4", 45, 0, 0, 0, 0, 0, _WIDE, _WIDE, 1, len(extra))
    begin = len(head) + 1 + len(extra) + packed
    more = struct.pack("<2H2Q", 1, 16, packed, packed)
    entry = struct.pack(
        *("<4s6H3L5H2L", b"PK\1\2", 45, 45, 0, 0, 0, 0, 0, _WIDE, _WIDE, 1, len(more)),
        *(0, 0, 0, 0, 0),
    )
    length = len(entry) + 1 + len(more)
    with path.open("wb") as file:
        file.write(head + b"a" + extra)
        file.seek(begin - 4)
        file.write(b"last" + entry + b"a" + more)
        file.write(struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, 1, 1, length, begin))
        file.write(struct.pack("<4sLQL", b"PK\6\7", 0, begin + length, 1))
        file.write(struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 1, 1, length, _WIDE, 0))
    return path


def test_more_than_four_gigabytes(path):
    size = 5 << 30
    with Bytes(_huge(path, size, size)) as file:
        part = Archive(file).part("a")
        assert (part.size, part.source.read(part.start + size - 4, 4)) == (size, b"last")
    with Bytes(_huge(path, size, size - 1)) as file, pytest.raises(CheckpointError, match="told"):
        Archive(file)


def test_a_packed_member_as_a_file_of_its_own(path):
    with Bytes(written(path, [("a", b"abc" * 5000)], zipfile.ZIP_DEFLATED)) as file:
        part = Archive(file).part("a")
    assert part.source.read(part.start, part.size) == b"abc" * 5000
    part.close()
    for at in (16 + path.read_bytes().index(b"PK\1\2"), 14):
        patched(path, at, b"\1\2\3\4")
    with Bytes(path) as file, pytest.raises(CheckpointError, match="checksum"):
        Archive(file).part("a")


def test_names_that_lead_out_are_known(path):
    names = ("../x", "/x", "C:\\x", "\\\\host\\x", "a/../../x", "a/b", "a..b", "...")
    with Bytes(written(path, [(name, b"") for name in names])) as file:
        assert Archive(file).outer_names == list(names[:5])


def test_a_bomb_is_refused_by_what_it_announces(path):
    whole = written(path, [("a", bytes(1000))], zipfile.ZIP_DEFLATED).read_bytes()
    patched(path, whole.index(b"PK\1\2") + 24, (1 << 30).to_bytes(4, "little"))
    patched(path, 22, (1 << 30).to_bytes(4, "little"))
    with pytest.raises(LimitError, match="that unpack to 1,073,741,824"):
        read(path, "a")


def test_a_member_that_is_too_large_or_not_there(path):
    with pytest.raises(LimitError, match="600 bytes; at most 5"):
        read(written(path), "b", 5)
    with pytest.raises(CheckpointError, match="it has no 'c'"):
        read(path, "c")


@pytest.mark.parametrize("how", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_wrong_checksum(path, how):
    written(path, how=how)
    data = path.read_bytes()
    for start in (b"PK\1\2", b"PK\3\4"):
        at = data.index(start) + (16 if start == b"PK\1\2" else 14)
        patched(path, at, b"\1\2\3\4")
    with pytest.raises(CheckpointError, match="checksum"):
        read(path, "a")


def test_a_member_twice(path):
    with pytest.warns(UserWarning, match="Duplicate"):
        written(path, [("a", b"x"), ("a", b"y")])
    with pytest.raises(CheckpointError, match="'a' is there twice"):
        read(path, "a")


@pytest.mark.parametrize(
    ("central", "local", "data", "says"),
    [
        (8, 6, b"\1\0", "encrypted"),
        (10, 8, b"\x0c\0", "method 12"),
        (None, 8, b"\x08\0", "told differently"),
        (None, 14, b"\1\2\3\4", "told differently"),
        (None, 18, b"\4\0\0\0", "told differently"),
        (None, 22, b"\4\0\0\0", "told differently"),
        (None, 30, b"z", "told differently"),
        (None, 0, b"QK", "not where the directory says"),
        (20, None, b"\4\0\0\0", "told differently"),
        (20, 18, b"\4\0\0\0", "two sizes"),
        (42, None, b"\1\0\0\0", "not where the directory says"),
        (42, None, b"\xf0\xff\xff\xff", "cut off"),
        (42, None, b"\xff\xff\xff\xff", "lacks its sizes"),
        (None, 22, b"\xff\xff\xff\xff", "lacks its sizes"),
        (46, 30, b"\0", "no right name"),
        (28, None, b"\xff\xff", "cut off or damaged"),
        (0, None, b"QK", "damaged"),
    ],
)
def test_what_the_headers_say_is_compared(path, central, local, data, says):
    whole = written(path).read_bytes()
    if central is not None:
        patched(path, whole.index(b"PK\1\2") + central, data)
    if local is not None:
        patched(path, whole.index(b"PK\3\4") + local, data)
    with pytest.raises(CheckpointError, match=says):
        read(path, "a")


def test_members_over_each_other(path):
    """Two entries of the directory that lead to one local header."""
    whole = written(path, [("a", b"x" * 9), ("b", b"y" * 9)]).read_bytes()
    second = whole.index(b"PK\1\2", whole.index(b"PK\1\2") + 1)
    patched(path, second + 42, b"\0\0\0\0")
    patched(path, second + 46, b"a")
    patched(path, second + 16, whole[14:18])
    with pytest.raises(CheckpointError, match="lies over another"):
        read(path, "a")


def test_a_member_inside_of_another(path):
    inner = struct.pack("<4s5H3L2H", b"PK\3\4", 20, 0, 0, 0, 0, 0, 0, 0, 1, 0) + b"b"
    whole = written(path, [("a", inner * 2), ("b", b"")]).read_bytes()
    second = whole.index(b"PK\1\2", whole.index(b"PK\1\2") + 1)
    patched(path, second + 42, (31).to_bytes(4, "little"))
    patched(path, second + 12, bytes(4))
    with pytest.raises(CheckpointError, match="lies over another"):
        read(path, "a")


@pytest.mark.parametrize(
    ("at", "data", "says"),
    [
        (-22, b"QK", "no zip"),
        (-2, b"\1\0", "no zip"),
        (-18, b"\1\0", "several parts"),
        (-14, b"\3\0", "several parts"),
        (-10, b"\xff\xff\xff\xff", "cannot be found"),
        (-6, b"\1\0\0\0", "does not end"),
        (-10, b"\1\0\0\0", "does not end"),
    ],
)
def test_the_end_of_the_directory(path, at, data, says):
    size = len(written(path).read_bytes())
    patched(path, size + at, data)
    with pytest.raises(CheckpointError, match=says):
        read(path, "a")


def test_bytes_before_and_after(path):
    whole = written(path).read_bytes()
    for other in (b"#!" + whole, whole + b"\0"):
        path.write_bytes(other)
        with pytest.raises(CheckpointError):
            read(path, "a")


def test_a_deflated_member_has_the_size_it_says(path):
    for told in (5_000, 15_000):
        whole = written(path, [("a", bytes(10_000))], zipfile.ZIP_DEFLATED).read_bytes()
        patched(path, whole.index(b"PK\1\2") + 24, told.to_bytes(4, "little"))
        patched(path, 22, told.to_bytes(4, "little"))
        with pytest.raises(CheckpointError, match="unpacks to"):
            read(path, "a", 20_000)


def test_many_members(path):
    with zipfile.ZipFile(path, "w") as archive:
        for i in range(20_000):
            archive.writestr(f"{i}", b"")
    began = time.perf_counter()
    with Bytes(path) as file:
        assert len(Archive(file).members) == 20_000
    assert time.perf_counter() - began < 5
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 65535, 65535, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    with Bytes(path) as file, pytest.raises(LimitError, match="20,000 members; at most 10,000"):
        Archive(file, most=10_000)
    many = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, 2**40, 2**40, 0, 0)
    path.write_bytes(many + struct.pack("<4sLQL", b"PK\6\7", 0, 0, 1) + end)
    with pytest.raises(LimitError, match="members"), Bytes(path) as file:
        Archive(file)


def test_names_are_only_names(path):
    """They are shown and looked up, and no path is made from one."""
    written(path, [("../../x", b"1"), ("/etc/x", b"2"), ("C:\\x", b"3")])
    assert read(path, "../../x") == b"1"
