"""A run as a screen of text."""

import math

import pytest

from steelyard.errors import SteelyardError, UnknownAddressError
from steelyard.readings import Run, RunStep
from steelyard.records import Finding, Reading
from steelyard.report import screen

pytestmark = pytest.mark.no_keras

FOUND = Finding("non-finite-weight", "w7/kernel", "It has 1 NaN.", "Lower the rate.", 20)


def run(weights=3, steps=4, findings=(), metrics=("l2_norm", "alpha")):
    def taken(i):
        return tuple(
            Reading(f"w{w}/kernel", name, float(w + i)) for w in range(weights) for name in metrics
        )

    several = [RunStep(10 * i, i // 2, i % 2, taken(i), {"loss": 4.0 - i}) for i in range(steps)]
    return Run(several, findings, {"source": "Functional 'net'"})


def test_where_it_is_and_what_keras_logged():
    above = screen(run()).above
    assert above == [
        "Functional 'net': step 30, batch 1 of epoch 2; 4 steps measured",
        "loss 1 █▆▃▁",
    ]


def test_a_row_for_each_weight():
    head, first, *_ = screen(run()).rows
    assert head == ("address", "l2_norm", "alpha")
    assert first == ("w0/kernel", "3 ▁▃▆█", "3 ▁▃▆█")


def test_statuses_are_said():
    last = (
        Reading("a", "l2_norm", None, "w", "not finite", "1 NaN"),
        Reading("a", "alpha", 2.0, "1", "weak", "few"),
    )
    first = (Reading("a", "l2_norm", 1.0, "w"), Reading("a", "max_abs", 1.0))
    row = screen(Run([RunStep(1, 0, 1, first), RunStep(2, 0, 2, last)])).rows[1]
    assert row == ("a", "! ▄", "– ▄", "2~  ▄")


def test_findings_and_where_they_are_come_first():
    shown = screen(run(9, findings=[FOUND]))
    assert shown.above[-1] == f"! {FOUND}"
    assert shown.rows[1][0] == "w7/kernel"
    many = screen(run(findings=[FOUND] * 9)).above
    assert many[2] == "! 4 earlier findings" and len(many) == 8


def test_it_fits_a_terminal():
    shown = screen(run(50, metrics=("a", "b", "c", "d")), lines=20, width=90)
    assert len(shown.above) + len(shown.rows) + len(shown.below) <= 21
    assert shown.rows[0] == ("address", "a", "b")
    assert shown.below == [
        "… 35 more weights; --select shows others",
        "… not shown: c, d; --metrics shows others",
    ]


def test_what_is_asked_for():
    shown = screen(run(), metrics=["alpha"], select=["w1/*", "w2/*"])
    assert [row[0] for row in shown.rows] == ["address", "w1/kernel", "w2/kernel"]
    assert shown.rows[0] == ("address", "alpha")
    with pytest.raises(SteelyardError, match=r"'nope' is not measured in this run: l2_norm, alpha"):
        screen(run(), metrics=["nope"])
    with pytest.raises(UnknownAddressError, match=r"matches 'x/\*\*'"):
        screen(run(), select=["x/**"])


def test_nothing_yet():
    assert screen(Run()) == (["a training: no step was measured yet"], [], [])


def test_a_name_moves_no_line():
    evil = "a\n\x1b[31m\u202e"
    one = RunStep(1, 0, 1, (Reading(evil, evil, math.nan),), {evil: 1.0})
    shown = screen(Run([one], [Finding(evil, evil, evil, evil)], {"source": evil}))
    texts = [*shown.above, *shown.below, *(cell for row in shown.rows for cell in row)]
    assert all(text.isprintable() for text in texts)
