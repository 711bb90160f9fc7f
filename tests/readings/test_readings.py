import copy
import math
import pickle
from dataclasses import replace

import pytest

import steelyard as sy
from steelyard.address import Pattern
from steelyard.errors import (
    AddressError,
    PatternError,
    SteelyardError,
    UnknownAddressError,
    UnknownMetricError,
)
from steelyard.readings import Readings
from steelyard.records import Reading

pytestmark = pytest.mark.no_keras

SOME = (
    Reading("encoder/proj/kernel", "l2_norm", 3.5, "w"),
    Reading("encoder/proj/kernel", "alpha", 2.25, status="weak", reason="a short tail"),
    Reading("encoder/proj/bias", "l2_norm", 0.5, "w"),
    Reading("encoder/proj/bias", "alpha", None, status="not applicable", reason="no matrix"),
    Reading("head/kernel", "l2_norm", math.nan, "w", "not finite", "one entry is NaN"),
)


@pytest.fixture
def readings():
    return Readings(SOME, {"source": "model.keras"})


def test_a_reading_by_its_address_and_metric(readings):
    assert readings["encoder/proj/kernel", "alpha"] is SOME[1]
    assert list(readings) == list(SOME)
    assert len(readings) == 5
    assert readings and not Readings()
    assert readings.addresses == ("encoder/proj/kernel", "encoder/proj/bias", "head/kernel")
    assert readings.metrics == ("l2_norm", "alpha")


def test_all_readings_of_an_address(readings):
    assert readings["encoder/proj/bias"] == Readings(SOME[2:4])
    assert readings["encoder/proj/bias"].info == {"source": "model.keras"}


def test_what_is_here(readings):
    assert "head/kernel" in readings
    assert ("head/kernel", "l2_norm") in readings
    assert SOME[4] in readings
    assert Reading("head/kernel", "l2_norm", 1.0, "w") not in readings
    assert "l2_norm" not in readings
    assert ("head/kernel", "alpha") not in readings
    assert 7 not in readings


def test_an_unknown_address_names_the_nearest(readings):
    for key in ("encoder/proj/kernle", ("encoder/proj/kernle", "alpha")):
        with pytest.raises(UnknownAddressError, match="Did you mean 'encoder/proj/kernel'"):
            readings[key]
    with pytest.raises(UnknownAddressError, match="no readings at all"):
        Readings()["a"]


def test_an_unknown_metric_names_the_nearest_of_that_address(readings):
    with pytest.raises(UnknownMetricError, match=r"'alfa'. Did you mean 'alpha'\?"):
        readings["encoder/proj/kernel", "alfa"]
    with pytest.raises(UnknownMetricError, match=r"There is 'l2_norm'\.$"):
        readings["head/kernel", "zzz"]


@pytest.mark.parametrize("key", [0, ("a",), ("a", "b", "c"), ("a", 1), None])
def test_another_key_is_refused(readings, key):
    with pytest.raises(AddressError, match=r"readings\[address, metric\].*Received"):
        readings[key]


def test_of_the_same_pair_the_later_counts():
    again = Reading("encoder/proj/kernel", "l2_norm", 7.0, "w")
    readings = Readings([*SOME, again])
    assert len(readings) == 5
    assert readings["encoder/proj/kernel", "l2_norm"] is again
    assert next(iter(readings)) is again


def test_filter_by_address(readings):
    assert readings.filter("**/kernel").addresses == ("encoder/proj/kernel", "head/kernel")
    assert readings.filter(Pattern("head/**")) == Readings(SOME[4:])
    assert readings.filter(["head/*", "**/bias"]) == Readings(SOME[2:])
    assert readings.filter("**") == readings
    with pytest.raises(UnknownAddressError, match=r"'\*\*/kernle'. Did you mean"):
        readings.filter(["**/bias", "**/kernle"])
    with pytest.raises(PatternError, match="no pattern"):
        readings.filter([])
    assert len(readings.filter("nothing", missing_ok=True)) == 0


def test_filter_by_metric(readings):
    assert readings.filter(metric="alpha") == Readings((SOME[1], SOME[3]))
    assert readings.filter(metric=("alpha", "l2_norm")) == readings
    with pytest.raises(UnknownMetricError, match=r"'l2norm'\. Did you mean 'l2_norm'"):
        readings.filter(metric="l2norm")
    assert readings.filter(metric=["alpha", "mean"], missing_ok=True).metrics == ("alpha",)


def test_filter_by_status(readings):
    assert readings.filter(status="ok") == Readings((SOME[0], SOME[2]))
    assert readings.filter(status=["weak", "not finite"]) == Readings((SOME[1], SOME[4]))
    assert readings.filter(status="failed") == Readings()
    with pytest.raises(SteelyardError, match=r"no status 'fine'.*'ok'"):
        readings.filter(status="fine")


def test_filter_by_a_function_and_all_at_once(readings):
    assert readings.filter(where=lambda r: r.value == 0.5) == Readings(SOME[2:3])
    left = readings.filter("**/kernel", metric="l2_norm", status="ok", where=lambda r: True)
    assert left == Readings(SOME[:1])
    assert left.info == {"source": "model.keras"}


def test_two_in_one():
    first = Readings(SOME[:3], {"source": "a", "view": "flat"})
    later = Reading("encoder/proj/bias", "l2_norm", 9.0, "w")
    both = first + Readings([*SOME[3:], later], {"source": "b", "view": "flat"})
    assert list(both)[:2] == list(SOME[:2])
    assert both["encoder/proj/bias", "l2_norm"] is later
    assert len(both) == 5
    assert both.info == {"view": "flat"}
    assert len(first) == 3


def test_nothing_added_changes_nothing(readings):
    assert (readings + Readings()).info == (Readings() + readings).info == readings.info
    assert readings + Readings() == Readings() + readings == readings
    assert sum([readings, readings], Readings()) == readings
    with pytest.raises(TypeError):
        readings + 1


def test_equal_by_content():
    def nan():
        return float("nan")

    def some(value, bound=None):
        return Readings([Reading("a", "m", value, bound=bound)])

    assert some(nan()) == some(nan())
    assert some((1.0, nan())) == some((1.0, nan()))
    assert some(1.0, nan()) == some(1.0, nan())
    assert some(nan()) != some(None)
    assert some(nan()) != some("nan")
    assert some((nan(),)) != some(nan())
    assert some(1) == some(1.0)
    assert some(1.0) != some(2.0)
    assert Readings(SOME) != Readings(SOME[::-1])
    one = Reading("a", "m", 1.0)
    for other in ({"address": "b"}, {"metric": "n"}, {"unit": "w"}, {"status": "weak"}):
        assert Readings([one]) != Readings([replace(one, **other)])
    assert Readings([one]) != Readings([replace(one, reason="why")])
    assert Readings(SOME, {"a": 1}) == Readings(SOME)
    assert Readings(SOME) != list(SOME)


def test_it_never_changes(readings):
    with pytest.raises(AttributeError):
        readings.more = 1
    with pytest.raises(TypeError):
        readings["a", "b"] = SOME[0]
    given = {"views": ["flat"]}
    held = Readings(SOME, given)
    given["views"].append("pooled")
    held.info["views"].append("pooled")
    assert held.info == {"views": ["flat"]}


def test_copies_are_equal(readings):
    for other in (
        copy.copy(readings),
        copy.deepcopy(readings),
        pickle.loads(pickle.dumps(readings)),
    ):
        assert other == readings
        assert other.info == readings.info


def test_the_public_name():
    assert sy.Readings is Readings
    assert sy.Reading is Reading
