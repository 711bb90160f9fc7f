import csv
import io
import math
import random

import pytest

from steelyard.errors import SteelyardError
from steelyard.readings import Readings
from steelyard.records import Reading

pytestmark = pytest.mark.no_keras

FORMULAS = ("=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1")
HASHES = ("#", "a # b", 'a"#', "a\n# b,c\n#", "x, # y")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "x.csv"


def lines(path):
    return path.read_bytes().decode().split("\n")


def cells(text, delimiter=","):
    """The cells as a spreadsheet reads them."""
    return [
        c for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter) for c in row
    ]


def test_what_it_looks_like(path):
    readings = [
        Reading("a/kernel", "l2_norm", 0.1, "w", bound=1e-9),
        Reading("a/kernel", "tail_model", "=x"),
        Reading("a/kernel", "singular_values", (1.0, math.inf)),
        Reading("a/bias", "alpha", None, "1", "not applicable", 'no "matrix"'),
    ]
    Readings(readings, {"source": "a,b;c"}).save(path)
    assert lines(path) == [
        '# {"steelyard": "readings", "schema": 1, "count": 4, "info": {"source": '
        '"a\\u002cb\\u003bc"}}',
        "address,metric,value,values,text,unit,status,reason,bound",
        '"a/kernel","l2_norm",0.1,,,"w","ok","",1e-09',
        '"a/kernel","tail_model",,,"\'=x","1","ok","",',
        '"a/kernel","singular_values",,"[1.0, ""inf""]",,"1","ok","",',
        '"a/bias","alpha",,,,"1","not applicable","no ""matrix""",',
        "",
    ]


def test_no_cell_is_a_formula(path):
    readings = [Reading(f, f"{f}{i}", f, f, "weak", f) for i, f in enumerate(FORMULAS)]
    readings += [Reading("a", "---", (-1.0, -2.0)), Reading("", "-1", "")]
    Readings(readings, {"source": "x,=1;=1\t=1\n=1", "=1": "=2", "n": [-1, ",-1"]}).save(path)
    whole, heading = path.read_bytes().decode(), lines(path)[0]
    for there in (cells(whole), cells(heading, ";"), cells(heading, "\t")):
        assert not [cell for cell in there if cell.startswith(tuple("=+-@\t\r\n"))]
    assert list(Readings.load(path)) == readings


def test_pandas_reads_it_past_the_comment(path):
    pandas = pytest.importorskip("pandas")
    readings = [Reading(text, "m", i / 7, reason=text, bound=-0.0) for i, text in enumerate(HASHES)]
    readings += [Reading("nan", "m", math.inf), Reading("b", "m", "#"), Reading("c", "m", (1.0,))]
    Readings(readings, {"source": "a\n#"}).save(path)
    frame = pandas.read_csv(
        path, comment="#", float_precision="round_trip", keep_default_na=False, na_values=[""]
    )
    assert list(frame.columns)[:3] == ["address", "metric", "value"]
    assert list(frame["address"]) == [reading.address for reading in readings]
    assert list(frame["value"])[:6] == [*(i / 7 for i in range(len(HASHES))), math.inf]
    assert frame["value"].dtype == frame["bound"].dtype == "float64"
    assert frame["value"].isna().sum() == 2
    assert list(pandas.read_csv(path, comment="#").columns) == list(frame.columns)


def test_the_ends_of_lines_may_be_those_of_windows(path):
    readings = Readings([Reading("a", "m", 1.5), Reading("b", "m", "x", bound=2.0)])
    readings.save(path)
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert Readings.load(path) == readings


def test_no_limit_on_the_length_of_a_cell(path):
    limit = csv.field_size_limit()
    readings = Readings(
        [Reading("a", "m", tuple(random.Random(0).random() for _ in range(50_000)))]
    )
    readings.save(path)
    assert Readings.load(path) == readings
    assert csv.field_size_limit() == limit


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("1.5", "many", "line 3: the column 'value' has 'many'"),
        ("1.5", '1.5"', "line 3 has no end or a stray quote"),
        ("1.5", "1.5,2.5", "line 3: there are 10 cells, not 9"),
        ("1.5", "1.5,[1.0]", "line 3: there are 10 cells"),
        ("1.5,", '1.5,"[1.0]"', "line 3: more than one of"),
        ("[2.0]", "2.0", "line 5: the column 'values' has 2.0"),
        ("[2.0]", "[2.0, NaN]", "line 5: no JSON: NaN is not JSON"),
        ("[2.0]", "[2.0", "line 5: no JSON"),
        ('"ok"', '"fine"', "line 3: A reading's status is one of"),
        ("address,metric", "metric,address", "line 2 is not 'address,metric,"),
        ("a\nb", "\udcff", "is not UTF-8"),
    ],
)
def test_damage_is_said_with_its_line(path, old, new, says):
    Readings([Reading("a\nb", "m", 1.5), Reading("b", "m", (2.0,))]).save(path)
    text = path.read_bytes().decode()
    assert old in text
    path.write_bytes(text.replace(old, new, 1).encode(errors="surrogateescape"))
    with pytest.raises(
        SteelyardError, match=f"x.csv' cannot be read as readings: .*{re_safe(says)}"
    ):
        Readings.load(path)


def re_safe(text):
    return text.replace("[", r"\[")
