"""Tables for notebooks."""

import re

import pytest

from steelyard.readings import Readings
from steelyard.records import Change, Reading, WeightSpec
from steelyard.selection import Changes, Cut, Weight, Weights, html_rows

pytestmark = pytest.mark.no_keras

EVIL = "<script>alert(1)</script>&\u202e"
SPEC = WeightSpec(EVIL, (2, 3), "float32", True, EVIL, aliases=(EVIL + "2",))


class Source:
    def specs(self):
        return [SPEC]

    def read(self, address):
        raise AssertionError("was read")

    stored = read


def test_a_table():
    table = html_rows(("a", "b"), [("1", "2"), ("3", "4")], right=[1], below=["<below>", ""])
    assert table.count("<tr>") == 4
    assert 'text-align: right">2</td>' in table and 'text-align: left">1</td>' in table
    assert '<th scope="col"' in table and "&lt;below&gt;" in table


def test_names_and_values():
    assert '<th scope="row" style="padding: 0.1em 0.6em; text-align: left">a</th>' in html_rows(
        (), [("a", "1")]
    )
    assert "<thead>" not in html_rows((), [("a", "1")])


def test_rows_are_left_out_where_it_is_said():
    cuts = [Cut(1, "… 5 more …"), Cut(2, "… 7 more …")]
    table = html_rows(("a",), [("first",), ("second",)], cuts=cuts)
    places = [table.index(text) for text in ("first", "5 more", "second", "7 more")]
    assert places == sorted(places)


@pytest.mark.parametrize(
    "shown",
    [
        Weight(SPEC, Source()),
        Weights(Source(), note=EVIL),
        Readings([Reading(EVIL, EVIL, EVIL, EVIL, "weak", EVIL)], {"source": EVIL}),
        Changes([Change(EVIL, "copied", EVIL + "2", EVIL)], note=EVIL),
    ],
    ids=lambda shown: type(shown).__name__,
)
def test_all_tables_are_one_piece_and_escape_every_name(shown):
    table = shown._repr_html_()
    assert table.startswith('<table style="border-collapse: collapse')
    assert "<script" not in table and "\u202e" not in table and "&lt;script" in table
    # A color of its own would be unreadable on the other of light and dark.
    assert not re.search(r"(?<!-)color:|background", table)


def test_a_weight_says_what_is_known_without_reading_it():
    table = Weight(SPEC, Source())._repr_html_()
    for text in ("(2, 3)", "float32", "yes", "24", ">also</th>"):
        assert text in table
