"""Readings as the columns of a page."""

import math

import pytest

from steelyard.records import Metric, Reading
from steelyard.report._columns import columns_of

pytestmark = pytest.mark.no_keras

ALPHA = Metric("alpha", "powerlaw", "1", "(1, inf)", "spectrum", "", "The exponent.")


def test_a_row_for_each_address_and_a_column_for_each_metric():
    told = columns_of(
        (
            Reading("a", "alpha", 2.5, bound=0.125),
            Reading("b", "alpha", 1 / 3, status="weak", reason="few"),
            Reading("b", "l2_norm", math.inf, "w"),
        ),
        [ALPHA],
    )
    assert told["addresses"] == ["a", "b"]
    alpha, norm = told["columns"]
    assert alpha == {
        "name": "alpha",
        "unit": "1",
        "says": "The exponent.",
        "kind": "number",
        "values": [2.5, 0.33333],
        "status": {1: ["weak", 0]},
        "bounds": {0: 0.12},
    }
    assert told["reasons"] == ["few"]
    assert (norm["unit"], norm["says"], norm["values"]) == ("w", "", [None, "inf"])


def test_texts_and_several_numbers():
    told = columns_of(
        (Reading("a", "tail_model", "exponential"), Reading("a", "singular_values", (2.0, 1.0))), ()
    )
    model, values = told["columns"]
    assert (model["kind"], model["values"]) == ("text", ["exponential"])
    assert (values["kind"], values["values"]) == ("many", [2])
    assert told["spectra"] == {0: {"positive": 2, "zeros": 0, "ranks": [1, 2], "values": [4, 1]}}


def test_every_text_is_plain():
    evil = "x\u202e\x00\ud800"
    told = columns_of((Reading(evil, evil, evil, evil, "failed", evil),), ())
    plain = "x\\u202e\\x00\\ud800"
    (column,) = told["columns"]
    assert told["addresses"] == told["reasons"] == column["values"] == [plain]
    assert (column["name"], column["unit"]) == (plain, plain)
