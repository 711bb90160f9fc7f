import math
import re
import subprocess
import sys

import pytest

from steelyard.readings import Readings, grid
from steelyard.readings._notes import SIGNS
from steelyard.records import STATUSES, Reading

pytestmark = pytest.mark.no_keras


def table(*readings, **info):
    return repr(Readings(readings, info))


def test_addresses_by_metrics():
    shown = table(
        Reading("enc/kernel", "l2_norm", 12.34567),
        Reading("enc/kernel", "alpha", 2.5, status="weak", reason="12 values in the tail"),
        Reading("enc/bias", "l2_norm", 0.1),
        Reading("enc/bias", "alpha", None, status="not applicable", reason="no matrix"),
        Reading("head/kernel", "l2_norm", math.nan, status="not finite", reason="3 are NaN"),
        Reading("head/kernel", "alpha", 1234.5),
        source="model.keras",
    )
    assert shown.split("\n") == [
        "address       l2_norm    alpha",
        "──────────────────────────────",
        "enc/kernel    12.35    2.500 ~",
        "enc/bias     0.1000          –",
        "head/kernel     nan !   1234",
        "6 readings: 3 addresses, 2 metrics; 1 not finite; 1 weak; 1 not applicable; "
        "source: model.keras",
        "! not finite: 3 are NaN (head/kernel l2_norm)",
        "~ weak: 12 values in the tail (enc/kernel alpha)",
        "– not applicable: no matrix (enc/bias alpha)",
    ]


def test_one_address_is_a_row_for_each_metric():
    shown = table(
        Reading("enc/kernel", "l2_norm", 12.34567, "w"),
        Reading("enc/kernel", "tail_model", "lognormal", status="weak", reason="a short tail"),
        Reading("enc/kernel", "singular_values", (2.0, 1.0)),
        Reading("enc/kernel", "alpha", None),
    )
    assert shown.split("\n") == [
        "address     metric                   value  unit",
        "────────────────────────────────────────────────",
        "enc/kernel  l2_norm                12.35    w",
        "enc/kernel  tail_model         lognormal ~  1",
        "enc/kernel  singular_values  [2 numbers]    1",
        "enc/kernel  alpha                   none    1",
        "4 readings: 1 address, 4 metrics; 1 weak",
        "~ weak: a short tail (enc/kernel tail_model)",
    ]


def test_addresses_with_metrics_of_their_own_are_a_row_for_each_reading():
    shown = table(*(Reading(f"a{i}", f"m{i}", float(i)) for i in range(4)))
    assert shown.split("\n")[0].split() == ["address", "metric", "value", "unit"]
    assert shown.split("\n")[2].split() == ["a0", "m0", "0", "1"]


def test_nothing():
    assert repr(Readings()) == "no readings"
    assert repr(Readings((), {"source": "a"})) == "no readings"
    assert "no readings" in Readings()._repr_html_()


@pytest.mark.parametrize(
    ("value", "says"),
    [
        *((1234.4, "1234"), (0.1, "0.1000"), (123456.7, "1.235e+05"), (1e-9, "1.000e-09")),
        *((0.0, "0"), (-0.0, "-0"), (999_999.0, "999999"), (1e6, "1.000e+06"), (12, "12")),
        *(
            (math.nan, "nan"),
            (-math.inf, "-inf"),
            ((1.0,), "[1 number]"),
            ("x" * 99, "x" * 19 + "…"),
        ),
        *(((0.0,) * 1000, "[1,000 numbers]"), ((), "[0 numbers]")),
    ],
)
def test_a_value_as_it_is_shown(value, says):
    assert table(Reading("a", "m", value)).split("\n")[2].split(maxsplit=2)[2] == f"{says}  1"


def test_the_middle_of_many_rows_is_cut():
    for metrics in (("m",), ("m", "n")):
        readings = [Reading(f"w{i}", m, float(i)) for i in range(100) for m in metrics]
        lines = table(*readings).split("\n")
        assert len(lines) == 2 + 20 + 1 + 20 + 1
        assert lines[2 + 20] == "… 60 more …"
        assert lines[2 + 19].split()[0] == "w19" and lines[2 + 21].split()[0] == "w80"
    lines = repr(Readings(readings)["w1"] + Readings(Reading("w", f"m{i}", 1.0) for i in range(99)))
    assert "… 61 more …" in lines


def test_what_is_cut_is_still_in_the_notes():
    readings = [Reading(f"w{i}", "m", float(i)) for i in range(100)]
    readings[50] = Reading("w50", "m", None, status="failed", reason="the file ends here")
    assert table(*readings).endswith("1 failed\n× failed: the file ends here (w50 m)")


def test_more_metrics_than_fit_are_named():
    metrics = [f"a_long_name_of_a_metric_{i:02}" for i in range(10)]
    lines = table(*(Reading(a, m, 1.0) for a in "ab" for m in metrics)).split("\n")
    assert max(map(len, lines[:4])) <= 120
    assert lines[0].split()[1:] == metrics[:4]
    assert lines[4] == (
        "… 6 more metrics: a_long_name_of_a_metric_04, a_long_name_of_a_metric_05, "
        "a_long_name_of_a_metric_06, …; .metrics names all, .filter(metric=…) shows some"
    )


def test_one_metric_is_shown_however_long_the_addresses():
    lines = table(Reading("a" * 200, "m", 1.5), Reading("b", "m", 2.5), Reading("b", "n", 1.0))
    assert lines.split("\n")[0].split() == ["address", "m"]
    assert "… 1 more metric: n; " in lines


def test_the_notes_say_the_worst_first_and_group_by_reason():
    readings = [
        Reading(f"w{i}", status, None, status=status, reason="why")
        for status in STATUSES
        if status != "ok"
        for i in range(5)
    ]
    notes = table(*readings).split("\n")[-6:]
    assert [note.split(":")[0] for note in notes] == [
        *("× failed", "! not finite", "^ too large", "? undefined", "~ weak", "– not applicable")
    ]
    assert notes[0] == "× failed: why (w0 failed, w1 failed, w2 failed and 2 more)"
    assert set(SIGNS) == set(STATUSES)


def test_many_reasons_are_cut():
    readings = [Reading(f"w{i}", "m", 1.0, status="weak", reason=f"r{i}") for i in range(20)]
    lines = table(*readings, Reading("x", "m", None, status="failed")).split("\n")
    assert lines[-9].startswith("× failed: the weight could not be read")
    assert lines[-1] == "… 13 more reasons at 13 readings; .filter(status=…) gives them"
    long = table(Reading("w", "m", 1.0, status="weak", reason="x" * 1000))
    assert max(map(len, long.split("\n"))) < 200


NAMES = ("a\x1b[31m", "\u202eb", "c\nd", "<b>&", "e\r\t")


def test_no_name_rearranges_the_terminal():
    for one in (
        [Reading(name, "m", 1.0) for name in NAMES],
        [Reading("a", name, name, name, "weak", name) for name in NAMES],
        [Reading(a, m, 1.0, status="weak", reason=m) for a in NAMES for m in NAMES],
        [Reading(a, m * 15, 1.0) for a in NAMES for m in NAMES],
    ):
        readings = Readings(one, {"source": "".join(NAMES)})
        assert repr(readings).replace("\n", "").isprintable()
        assert readings._repr_html_().isprintable()
        assert "\\x1b[31m" in repr(readings)


def test_html_is_the_same_and_escaped():
    names = ("<b>", "a&b")
    readings = [Reading(a, m, "<i>", status="weak", reason="<u>") for a in names for m in names]
    shown = Readings(readings, {"source": "<s>"})._repr_html_()
    for tag in ("<b>", "<i>", "<u>", "<s>", "a&b"):
        assert tag not in shown
    assert shown.count("&lt;i&gt; ~</td>") == 4
    assert re.search(r'<th scope="col" style="[^"]*text-align: right[^"]*">&lt;b&gt;</th>', shown)
    assert "~ weak: &lt;u&gt; (&lt;b&gt; &lt;b&gt;" in shown
    many = Readings(Reading(f"w{i}", "m", 1.0) for i in range(100))._repr_html_()
    assert '<tr><td colspan="2">… 60 more …</td></tr>' in many
    assert many.count("<tr>") == 1 + 41 + 1


def test_a_table_loads_no_other_library():
    code = (
        "import sys, steelyard as sy; repr(sy.Readings([sy.Reading('a', 'm', 1.0)])); "
        "print(*({'numpy', 'pandas', 'polars', 'pyarrow', 'keras'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.stdout.strip(), done.stderr) == ("", "")


# --- As many rows and columns as are asked for ----------------------------------------------------


def many():
    return [Reading(f"layer_{i}", f"metric_{j}", 1.0) for i in range(60) for j in range(30)]


def test_a_grid_of_everything():
    shown = grid(many(), {}, most=None, widest=None)
    assert [column.head for column in shown.columns[1:]] == [f"metric_{j}" for j in range(30)]
    assert all(len(column.cells) == 60 for column in shown.columns)
    assert shown.cut == 0


def test_a_grid_that_fits():
    shown = grid(many(), {}, most=10, widest=50)
    assert (shown.cut, len(shown.columns[0].cells)) == (50, 10)
    assert sum(column.width + 2 for column in shown.columns) - 2 <= 50
    assert shown.below[0].startswith("… 26 more metrics")
