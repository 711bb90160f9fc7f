import json
import math
import sys

import pytest

from steelyard.errors import MissingDependencyError, SteelyardError
from steelyard.readings import Readings
from steelyard.records import Reading

pytestmark = pytest.mark.no_keras

COLUMNS = ["address", "metric", "value", "values", "text", "unit", "status", "reason", "bound"]
READINGS = Readings(
    [
        Reading("a", "l2_norm", 0.1, "w", bound=-0.0),
        Reading("a", "tail_model", "=x"),
        Reading("a", "singular_values", (1.0, math.nan)),
        Reading("b", "l2_norm", math.nan, "w", "not finite", "why"),
        Reading("b", "alpha", None, status="undefined", reason="why"),
        Reading("c", "singular_values", ()),
        Reading("c", "l2_norm", 3),
    ],
    {"source": "重"},
)
NAN = pytest.approx(math.nan, nan_ok=True)


def test_polars_has_a_row_for_each_reading():
    polars = pytest.importorskip("polars")
    frame = READINGS.to_polars()
    assert frame.columns == COLUMNS
    assert frame["value"].to_list() == [0.1, None, None, NAN, None, None, 3.0]
    assert frame["values"].to_list() == [None, None, [1.0, NAN], None, None, [], None]
    assert frame["text"].to_list()[:3] == [None, "=x", None]
    assert frame["status"].to_list()[3:5] == ["not finite", "undefined"]
    assert math.copysign(1, frame["bound"][0]) == -1
    assert frame.schema["values"] == polars.List(polars.Float64)
    assert Readings().to_polars().schema == frame.schema


def test_polars_wide():
    pytest.importorskip("polars")
    frame = READINGS.to_polars(wide=True)
    assert frame.columns == ["address", "l2_norm", "alpha"]
    assert frame.rows() == [("a", 0.1, None), ("b", NAN, None), ("c", 3.0, None)]


def test_pandas_has_a_row_for_each_reading():
    pytest.importorskip("pandas")
    frame = READINGS.to_pandas()
    assert list(frame.columns) == COLUMNS
    assert list(frame["address"]) == [reading.address for reading in READINGS]
    assert list(frame["value"]) == [0.1, NAN, NAN, NAN, NAN, NAN, 3.0]
    assert list(frame["values"]) == [None, None, [1.0, NAN], None, None, [], None]
    assert frame["text"].isna().tolist() == [True, False, *[True] * 5]
    assert frame["value"].dtype == frame["bound"].dtype == "float64"
    assert list(Readings().to_pandas().columns) == COLUMNS


def test_pandas_wide():
    pytest.importorskip("pandas")
    frame = READINGS.to_pandas(wide=True)
    assert list(frame.columns) == ["address", "l2_norm", "alpha"]
    assert frame["address"].tolist() == ["a", "b", "c"]
    assert frame["l2_norm"].tolist() == [0.1, NAN, 3.0]
    assert frame["alpha"].dtype == "float64"
    assert list(Readings().to_pandas(wide=True).columns) == ["address"]


def test_arrow_has_a_row_for_each_reading_and_the_heading():
    pytest.importorskip("pyarrow")
    table = READINGS.to_arrow()
    assert table.column_names == COLUMNS
    assert table["value"].to_pylist() == [0.1, None, None, NAN, None, None, 3.0]
    assert table["values"].to_pylist() == [None, None, [1.0, NAN], None, None, [], None]
    assert json.loads(table.schema.metadata[b"steelyard"]) == {
        **{"steelyard": "readings", "schema": 1, "count": 7, "info": {"source": "重"}}
    }
    assert Readings().to_arrow().schema.equals(table.schema)


def test_arrow_wide():
    pytest.importorskip("pyarrow")
    table = READINGS.to_arrow(wide=True)
    assert table.to_pydict() == {
        **{"address": ["a", "b", "c"], "l2_norm": [0.1, NAN, 3.0], "alpha": [None] * 3}
    }


def test_a_metric_may_not_take_the_place_of_the_addresses():
    pytest.importorskip("pyarrow")
    with pytest.raises(SteelyardError, match="one column 'address'"):
        Readings([Reading("a", "address", 1.0)]).to_arrow(wide=True)


@pytest.mark.parametrize("name", ["pandas", "polars", "pyarrow"])
def test_a_missing_library_says_what_to_install(monkeypatch, name):
    monkeypatch.setitem(sys.modules, name, None)
    convert = {"pyarrow": READINGS.to_arrow}.get(name) or getattr(READINGS, f"to_{name}")
    for wide in (False, True):
        with pytest.raises(
            MissingDependencyError, match=rf'{name} is needed .* pip install "steelyard\[frames\]"$'
        ):
            convert(wide=wide)
