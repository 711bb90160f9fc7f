"""The differences of two sources as rows of a page."""

import math

import pytest

from steelyard.records import Change
from steelyard.report._changes import changes_of
from steelyard.selection import Changes

pytestmark = pytest.mark.no_keras


def test_kind_by_kind_and_the_largest_first():
    told = changes_of(
        Changes(
            [
                Change("small", "changed", "small", amount=0.1),
                Change("new", "added"),
                Change("same", "unchanged", "same", amount=0.0),
                Change("was 0", "changed", "was 0", amount=math.inf),
                Change("large", "changed", "large", amount=2.0),
            ]
        ),
        ("a\n.keras", "b.keras"),
    )
    assert [row[1] for row in told["rows"]] == ["new", "was 0", "large", "small"]
    assert told["amounts"] == [None, "inf", 2, 0.1]
    assert (told["first"], told["second"]) == ("a\\n.keras", "b.keras")
    assert told["summary"] == "1 added, 3 changed, 1 unchanged"
    assert not told["identical"]


def test_another_dtype_alone_is_told():
    other = Change(
        "w", "unchanged", "w", "stored as float16", (2,), (2,), "float16", "float32", 0.0
    )
    told = changes_of(Changes([other]), ("a", "b"))
    assert [row[0] for row in told["rows"]] == ["unchanged"] and not told["identical"]


def test_no_difference():
    same = Change("w", "unchanged", "w", "", (2,), (2,), "float32", "float32", 0.0)
    told = changes_of(Changes([same]), ("a", "b"))
    assert told["identical"] and told["rows"] == []
