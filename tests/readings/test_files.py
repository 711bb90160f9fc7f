import json
import math
import os
import random
import struct
import sys
from importlib.util import find_spec

import pytest

from steelyard.errors import MissingDependencyError, SteelyardError
from steelyard.readings import Readings, _files, check_path
from steelyard.readings._heading import SCHEMA
from steelyard.records import STATUSES, Reading

pytestmark = pytest.mark.no_keras

needs_arrow = pytest.mark.skipif(find_spec("pyarrow") is None, reason="needs PyArrow")
FORMATS = [pytest.param(".parquet", marks=needs_arrow), ".csv", ".jsonl"]
TEXT_FORMATS = (".csv", ".jsonl")

NUMBERS = [
    *(0.0, -0.0, 1.0, -1.0, 3, 0.1, 1 / 3, math.pi, 1e22, 1e16, 123456789.0, 2.0**53 - 1),
    *(5e-324, 2.2250738585072014e-308, sys.float_info.max, -sys.float_info.max, 1e-7),
    *(math.inf, -math.inf, math.nan),
]
TEXTS = [
    *(
        "",
        "lognormal",
        "nan",
        "inf",
        "None",
        "null",
        "1.5",
        "[1.0]",
        "true",
        " ",
        "  a  ",
        "'",
        "''",
    ),
    *("=1+1", "+1", "-1", "@x", "'=1", "\t=1", "\r=1", "\n=1", '=cmd|"/c calc"!A1', "a=1"),
    *('"', '""', 'a"b', ",", "a,b", ";", "\\", "\\n", "a\nb", "a\r\nb", "a\rb", "\n", "\r", "\r\n"),
    *("#", "# x", "a # b", "a\n# b", "\x00", "a\x00b", "\x1b[31m", "\x85", "\u2028", "\u2029"),
    *("\ufeff", "\ufeffa", "\u202eabc", "Größe", "重み", "🏋", "e\u0301", "\x7f", "{}", "\ud7ff"),
]
NASTY = [
    *(Reading(f"n{i}", "m", number, bound=number) for i, number in enumerate(NUMBERS)),
    *(Reading(f"t{i}", "m", text, text, "weak", text) for i, text in enumerate(TEXTS)),
    *(Reading(f"a{text}", f"m{i}{text}", 1.0) for i, text in enumerate(TEXTS)),
    *(Reading(text, f"of {i}", 1.0) for i, text in enumerate(TEXTS)),
    *(Reading("s", status, None, status=status, reason="why") for status in STATUSES),
    Reading("none", "m", None),
    Reading("empty", "m", ()),
    Reading("one", "m", (math.nan,)),
    Reading("all", "m", tuple(map(float, NUMBERS))),
    Reading("many", "m", tuple(i / 7 for i in range(20_000))),
]
INFO = {
    "source": "a,=b;\n# c\"'\u2028重",
    "steelyard": "0.1.0",
    "view": None,
    "n": [1, -2.5, 1e300, True, {"x": "=1,-1;@"}],
    "": "",
}


def bits(value):
    """A value so that two are equal only if they are the same to the last bit; one NaN for all."""
    if isinstance(value, tuple):
        return tuple(map(bits, value))
    if isinstance(value, int | float):
        return "nan" if math.isnan(value) else struct.pack("<d", value)
    return value


def fields(reading):
    return [
        *(reading.address, reading.metric, type(reading.value) is tuple, bits(reading.value)),
        *(reading.unit, reading.status, reading.reason, bits(reading.bound)),
    ]


@pytest.fixture(params=FORMATS)
def path(request, tmp_path):
    return tmp_path / f"x{request.param}"


@pytest.fixture(params=TEXT_FORMATS)
def text_path(request, tmp_path):
    return tmp_path / f"x{request.param}"


TWO = (Reading("a", "m", 1.5), Reading("b", "m", 2.5))


def save(path, readings=TWO, info=None):
    Readings(readings, info).save(path)
    return path.read_bytes()


def test_round_trip_is_exact(path):
    save(path, NASTY, INFO)
    loaded = Readings.load(path)
    assert len(loaded) == len(NASTY)
    for before, after in zip(NASTY, loaded, strict=True):
        assert fields(before) == fields(after)
        assert isinstance(after.value, float | str | tuple | None)
        assert type(after.value) is not int
    assert loaded == Readings(NASTY)
    assert loaded.info == INFO


def test_round_trip_of_any_bits_and_any_characters(path):
    chance = random.Random(0)
    readings = []
    for i in range(2000):
        number = struct.unpack("<d", chance.randbytes(8))[0]
        points = [
            chance.choice((chance.randrange(0xD800), chance.randrange(256), 10, 13, 34, 39, 44))
        ]
        points += [chance.randrange(0xE000, 0x110000) for _ in range(chance.randrange(4))]
        text = "".join(map(chr, points))
        value = chance.choice((number, text, (number, -number), None))
        readings.append(Reading(text, str(i), value, text, reason=text, bound=number))
    save(path, readings)
    assert list(map(fields, Readings.load(path))) == list(map(fields, readings))


def test_nothing_comes_back_as_nothing(path):
    save(path, (), {"created": "today"})
    assert Readings.load(path) == Readings()
    assert Readings.load(path).info == {"created": "today"}


def test_a_file_of_a_file_is_the_same(path):
    first = save(path, NASTY, INFO)
    Readings.load(path).save(path)
    assert path.read_bytes() == first


def test_numbers_of_numpy_are_numbers(path):
    numpy = pytest.importorskip("numpy")
    save(path, [Reading("a", "m", numpy.float32(0.1), bound=numpy.float64(2))])
    loaded = Readings.load(path)["a", "m"]
    assert (loaded.value, loaded.bound) == (float(numpy.float32(0.1)), 2.0)


def test_a_text_for_a_path_and_capitals_will_do(path):
    Readings().save(str(path.with_suffix(path.suffix.upper())))
    assert Readings.load(str(path.with_suffix(path.suffix.upper()))) == Readings()


@pytest.mark.parametrize("name", ["x.txt", "x", "x.csv.gz", ".csv"])
def test_an_unknown_ending_is_refused_before_anything_is_written(tmp_path, name):
    for do in (Readings().save, Readings.load):
        with pytest.raises(SteelyardError, match=r"'\.parquet', '\.csv', '\.jsonl'\. Received: "):
            do(tmp_path / name)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["readings.txt", "no folder/readings.csv"])
def test_a_path_can_be_asked_before(tmp_path, name):
    check_path(tmp_path / "readings.csv")
    assert not list(tmp_path.iterdir())
    with pytest.raises(SteelyardError) as asked:
        check_path(tmp_path / name)
    with pytest.raises(SteelyardError) as saved:
        Readings().save(tmp_path / name)
    assert str(asked.value) == str(saved.value)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(SteelyardError, match=r"there is no folder '.*runs'\. Make it first"):
        Readings().save(tmp_path / "runs" / "x.csv")
    assert not list(tmp_path.iterdir())


def test_a_folder_is_no_file(path):
    path.mkdir()
    with pytest.raises(SteelyardError, match="is a folder"):
        Readings().save(path)
    with pytest.raises(SteelyardError, match="There is no file"):
        Readings.load(path)


def test_a_missing_file_is_named(path):
    with pytest.raises(SteelyardError, match=f"There is no file '.*x{path.suffix}'"):
        Readings.load(path)


@pytest.mark.parametrize("step", ["replace", "fsync"])
def test_a_failure_leaves_the_old_file_and_nothing_else(path, monkeypatch, step):
    old = save(path)

    def fail(*args):
        raise OSError("the disk is full")

    monkeypatch.setattr(_files.os, step, fail)
    with pytest.raises(OSError, match="the disk is full"):
        save(path, [Reading("c", "m", 3.0)])
    assert path.read_bytes() == old
    assert list(path.parent.iterdir()) == [path]


def test_the_new_file_is_complete_before_it_takes_the_place(path, monkeypatch):
    steps = []
    fsync, replace = os.fsync, os.replace

    def sync(number):
        steps.append("fsync")
        fsync(number)

    def take(new, old):
        steps.append("replace")
        assert os.path.dirname(new) == os.path.dirname(old)
        assert os.path.getsize(new) > 0
        replace(new, old)

    monkeypatch.setattr(_files.os, "fsync", sync)
    monkeypatch.setattr(_files.os, "replace", take)
    save(path)
    assert steps == ["fsync", "replace"]


BAD = [
    (Reading("a", "m", [1.0]), "is no number that can be written"),
    (Reading("a", "m", (1.0, None)), "is no number that can be written"),
    (Reading("a", "m", 10**400), "is no number that can be written"),
    (Reading("a", "m", 1.0, bound=object()), "is no number that can be written"),
    (Reading("a\ud800", "m", 1.0), "address of m of 'a.ud800' is no text"),
    (Reading("a", "m", "\udfff"), "text of m of 'a' is no text"),
    (Reading("a", "m", 1.0, None), "unit of m of 'a' is no text"),
]


@pytest.mark.parametrize(("bad", "says"), BAD)
def test_what_no_file_can_hold_is_refused_and_the_old_file_stays(path, bad, says):
    old = save(path)
    with pytest.raises(SteelyardError, match=says):
        save(path, [Reading("b", "m", 1.0), bad])
    assert path.read_bytes() == old
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("info", [{"a": math.nan}, {"a": {1, 2}}, {"a": object()}, {1: "a"}])
def test_what_info_cannot_say_is_refused(path, info):
    with pytest.raises(SteelyardError, match="`info`"):
        save(path, info=info)
    assert not path.exists()


def test_a_link_is_followed(path, tmp_path):
    real = tmp_path / f"real{path.suffix}"
    path.symlink_to(real)
    save(path)
    assert path.is_symlink()
    assert len(Readings.load(real)) == 2


def test_other_users_may_read_it_as_they_may_any_new_file(path):
    save(path)
    plain = path.with_suffix(".txt")
    plain.touch()
    assert path.stat().st_mode == plain.stat().st_mode


# --- files that cannot be read -------------------------------------------------------------------


def test_a_newer_schema_is_said(path, monkeypatch):
    monkeypatch.setattr("steelyard.readings._heading.SCHEMA", SCHEMA + 1)
    save(path)
    monkeypatch.undo()
    says = (
        rf"x\{path.suffix}' cannot be read as readings: a newer Steelyard .* schema 2; .* up to 1"
    )
    with pytest.raises(SteelyardError, match=says):
        Readings.load(path)


def test_a_file_cut_anywhere_is_refused(path):
    few = [*NASTY[:3], Reading("a\nb", "m", "=1,\n"), Reading("z", "m", (1.0,), bound=0.125)]
    whole = save(path, few, {"source": "a,b"})
    for cut in range(0, len(whole), 37 if path.suffix == ".parquet" else 1):
        path.write_bytes(whole[:cut])
        with pytest.raises(
            SteelyardError, match=rf"x\{path.suffix}' cannot be read as readings: ."
        ):
            Readings.load(path)


def test_a_file_cut_between_two_lines_says_how_many_are_there(text_path):
    whole = save(text_path)
    text_path.write_bytes(whole[: whole.rstrip(b"\n").rindex(b"\n") + 1])
    with pytest.raises(SteelyardError, match="says that it holds 2 readings, and holds 1"):
        Readings.load(text_path)


@pytest.mark.parametrize(
    "foreign",
    [
        *(b"", b"\n", b"address,metric\na,b\n", b"\x89PNG\r\n\x1a\n\x00", b"[1, 2]\n", b"null\n"),
        *(
            b'{"steelyard": "plan", "schema": 1, "info": {}}\n',
            b"# 1\n",
            b"PAR1",
            b"[" * 100_000 + b"\n",
        ),
        *(
            b'{"steelyard": "readings", "schema": "1", "info": {}}\n',
            b'{"steelyard": "readings"}\n',
        ),
        b'{"steelyard": "readings", "schema": 0, "info": {}}\n',
    ],
)
def test_a_foreign_file_is_refused(path, foreign):
    for start in (b"", b"# "):
        path.write_bytes(start + foreign)
        with pytest.raises(SteelyardError, match=f"x{path.suffix}' cannot be read as readings: "):
            Readings.load(path)


def test_a_heading_need_not_say_how_many(text_path):
    whole = save(text_path)
    text_path.write_bytes(whole.replace(b'"count": 2, ', b""))
    assert len(Readings.load(text_path)) == 2


def test_a_last_line_without_an_end_is_said_even_if_nobody_counted(text_path):
    whole = save(text_path, [Reading("a", "m", 1.5), Reading("b", "m", bound=0.125, value=None)])
    whole = whole.replace(b'"count": 2, ', b"")
    for cut in range(whole.rindex(b"b", 0, whole.rindex(b"ok")), len(whole)):
        text_path.write_bytes(whole[:cut])
        with pytest.raises(SteelyardError, match=r"line \d has no end"):
            Readings.load(text_path)


def write_jsonl(path, *lines):
    head = json.dumps({"steelyard": "readings", "schema": 1, "info": {}})
    path.write_text("".join(f"{line}\n" for line in (head, *lines)), encoding="utf-8")


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("[]", "line 3: no object"),
        ("", "line 3: no JSON"),
        ('{"address": "a"}', "line 3: no object with an 'address' and a 'metric'"),
        ('{"address": "a", "metric": "m", "value": NaN}', "line 3: no JSON: NaN is not JSON"),
        (
            '{"address": "a", "metric": "m", "value": "many"}',
            "line 3: the column 'value' has 'many'",
        ),
        ('{"address": "a", "metric": "m", "value": true}', "line 3: the column 'value' has True"),
        ('{"address": "a", "metric": "m", "values": 1}', "line 3: the column 'values' has 1.0"),
        ('{"address": "a", "metric": "m", "values": [null]}', "the column 'values' has"),
        ('{"address": "a", "metric": 1}', "line 3: the column 'metric' has 1"),
        ('{"address": "a", "metric": "m", "unit": null}', "line 3: the column 'unit' has None"),
        ('{"address": "a", "metric": "m", "sign": 1}', "line 3: there is no column 'sign'"),
        ('{"address": "a", "metric": "m", "status": "fine"}', "line 3: .*status is one of"),
        ('{"address": "a", "metric": "m", "value": 1, "text": "b"}', "line 3: more than one of"),
        (f'{{"address": "a", "metric": "m", "value": 1{"0" * 400}}}', "line 3: .*too large"),
    ],
)
def test_a_damaged_line_is_said(tmp_path, line, says):
    path = tmp_path / "x.jsonl"
    write_jsonl(path, '{"address": "a", "metric": "n", "value": 1}', line)
    with pytest.raises(SteelyardError, match=says):
        Readings.load(path)


def test_json_lines_are_strict_json(tmp_path):
    path = tmp_path / "x.jsonl"
    whole = save(path, NASTY, INFO)

    def refuse(constant):
        raise AssertionError(constant)

    lines = whole.decode("ascii").splitlines()
    assert len(lines) == len(NASTY) + 1
    told, first, *_ = [json.loads(line, parse_constant=refuse) for line in lines]
    assert told == {"steelyard": "readings", "schema": 1, "count": len(NASTY), "info": INFO}
    assert first == {
        **{"address": "n0", "metric": "m", "value": 0.0, "unit": "1", "status": "ok"},
        **{"reason": "", "bound": 0.0},
    }


# --- Parquet -------------------------------------------------------------------------------------


@needs_arrow
def test_a_damaged_page_is_found(tmp_path):
    path = tmp_path / "x.parquet"
    whole = save(path, [Reading(f"a{i}", "m", i / 7) for i in range(500)])
    for at in (100, 300, 900):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :])
        with pytest.raises(SteelyardError, match="cannot be read as readings: "):
            Readings.load(path)


@needs_arrow
def test_a_flipped_bit_of_a_number_is_found(tmp_path):
    path = tmp_path / "x.parquet"
    whole = save(path, [Reading("a", "m", math.pi)])
    at = whole.index(struct.pack("<d", math.pi))
    path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
    with pytest.raises(SteelyardError, match="cannot be read as readings: it is damaged: "):
        Readings.load(path)


@needs_arrow
def test_a_parquet_file_of_others_is_refused(tmp_path):
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "x.parquet"
    table = arrow.table({"a": [1]})
    parquet.write_table(table, path)
    with pytest.raises(SteelyardError, match=r"does not begin as a file that Readings\.save wrote"):
        Readings.load(path)
    told = json.dumps({"steelyard": "readings", "schema": 1, "count": 1, "info": {}})
    parquet.write_table(table.replace_schema_metadata({"steelyard": told}), path)
    with pytest.raises(SteelyardError, match="its columns are not address, metric"):
        Readings.load(path)


@needs_arrow
def test_a_row_that_is_no_reading_is_said(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "x.parquet"
    table = Readings([Reading("a", "m", 1.0), Reading("b", "m", 2.0)]).to_arrow()
    status = table.schema.get_field_index("status")
    parquet.write_table(table.set_column(status, "status", [["ok", "fine"]]), path)
    with pytest.raises(SteelyardError, match="row 2: A reading's status is one of"):
        Readings.load(path)
    parquet.write_table(table.set_column(status, "status", [["ok", None]]), path)
    with pytest.raises(SteelyardError, match="row 2: the column 'status' has None"):
        Readings.load(path)


@needs_arrow
def test_a_folder_with_an_equals_sign_adds_no_column(tmp_path):
    folder = tmp_path / "run=3"
    folder.mkdir()
    save(folder / "x.parquet", NASTY)
    assert Readings.load(folder / "x.parquet") == Readings(NASTY)


def test_without_pyarrow_parquet_says_what_to_install(tmp_path, monkeypatch):
    for name in ("pyarrow", "pyarrow.parquet"):
        monkeypatch.setitem(sys.modules, name, None)
    path = tmp_path / "x.parquet"
    with pytest.raises(MissingDependencyError, match=r'pip install "steelyard\[frames\]"'):
        Readings().save(path)
    assert not list(tmp_path.iterdir())
    path.write_bytes(b"PAR1")
    with pytest.raises(MissingDependencyError, match=r'pip install "steelyard\[frames\]"'):
        Readings.load(path)
    Readings(NASTY).save(tmp_path / "x.csv")
    Readings(NASTY).save(tmp_path / "x.jsonl")
