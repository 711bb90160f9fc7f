"""What is wrong, in words, and what was not looked for."""

import pytest

from steelyard.readings import Run
from steelyard.records import Finding, Reading
from steelyard.report import LEVELS, look_over, look_over_run

pytestmark = pytest.mark.no_keras


def one(metric, value, address="a", status="ok", reason=""):
    return Reading(address, metric, value, "1", status, reason)


WELL = {
    "nan_count": 0,
    "inf_count": 0,
    "dead_units": 0,
    "effective_rank": 50.0,
    "singular_values": (1.0,) * 100,
    "alpha": 3.0,
}


def weight(address="a", **others):
    return [one(metric, value, address) for metric, value in {**WELL, **others}.items()]


def titles(readings):
    return [alarm.title for alarm in look_over(readings).alarms]


def test_nothing_found():
    audit = look_over(weight())
    assert audit == ((), ())
    assert audit.verdict == "Nothing found."


@pytest.mark.parametrize("left_out", WELL)
def test_nothing_found_is_not_said_of_what_was_not_measured(left_out):
    audit = look_over([reading for reading in weight() if reading.metric != left_out])
    assert audit.alarms == ()
    assert left_out in audit.unchecked[0]
    assert audit.verdict == "Nothing found in what was measured; not all was."


def test_measured_at_some_of_the_weights():
    audit = look_over([*weight(), *(one(m, v, "b") for m, v in WELL.items() if m != "dead_units")])
    assert audit.unchecked == ("dead units (needs dead_units, missing at 1 weight)",)


def test_what_does_not_apply_was_measured():
    bias = [
        one(metric, 0, "bias")
        if "count" in metric
        else one(metric, None, "bias", "not applicable", "no matrix")
        for metric in WELL
    ]
    assert look_over([*weight(), *bias]).verdict == "Nothing found."


@pytest.mark.parametrize(
    ("others", "level", "title", "says"),
    [
        (dict(nan_count=2), "wrong", "Entries that are NaN or infinite", "1 weight (2 NaN)"),
        (dict(inf_count=3), "wrong", "Entries that are NaN or infinite", "1 weight (3 infinite)"),
        (dict(dead_units=1), "look", "Dead units", "1 output unit in 1 weight"),
        (dict(effective_rank=4.9), "look", "Rank collapse", "below 5% of the shorter side"),
        (dict(alpha=1.5), "look", "Tail exponent below 2", "alpha is below 2 in 1 weight, 1.5"),
        (dict(alpha=6.5), "look", "Tail exponent above 6", "alpha is above 6 in 1 weight, 6.5"),
    ],
)
def test_each_has_a_sentence(others, level, title, says):
    (alarm,) = look_over([*weight("well"), *weight("ill", **others)]).alarms
    assert (alarm.level, alarm.title, alarm.addresses) == (level, title, ("ill",))
    assert says in alarm.sentence


@pytest.mark.parametrize("alpha", [2.0, 6.0])
def test_the_ends_of_the_usual_are_usual(alpha):
    assert titles(weight(alpha=alpha)) == []


def test_the_worst_weight_comes_first():
    ill = [*weight("a", alpha=7.0), *weight("b", alpha=9.0), *weight("c", alpha=8.0)]
    (alarm,) = look_over(ill).alarms
    assert alarm.addresses == ("b", "c", "a")


def test_an_exponent_that_says_little_is_not_judged():
    weak = [*weight()[:-1], one("alpha", 12.0, status="weak", reason="only 7 eigenvalues")]
    (alarm,) = look_over(weak).alarms
    assert (alarm.level, alarm.title) == ("note", "Numbers that say little")
    assert alarm.sentence == "alpha of 1 weight: only 7 eigenvalues."


def test_reasons_that_differ_in_numbers_are_one():
    weak = [
        one("alpha", 12.0, f"w{n}", "weak", f"only {n} eigenvalues in the tail") for n in range(9)
    ]
    (alarm,) = look_over(weak).alarms
    assert alarm.sentence == "alpha of 9 weights: only 0 eigenvalues in the tail, or the like."
    assert len(alarm.addresses) == 9


def test_what_could_not_be_measured_is_wrong():
    audit = look_over([*weight(), one("l2_norm", None, "b", "failed", "OSError: cut off")])
    alarm = audit.alarms[0]
    assert (alarm.level, alarm.title) == ("wrong", "Weights that could not be measured")
    assert alarm.sentence == "1 weight: OSError: cut off."
    big = [one("l2_norm", None, "b", "too large", "the weight alone takes 9 bytes")]
    assert titles(big) == ["Weights that were too large to measure"]


def test_not_finite_without_a_count():
    audit = look_over([one("l2_norm", None, "b", "not finite", "2 NaN")])
    assert audit.alarms[0].addresses == ("b",)
    assert audit.alarms[0].sentence.startswith("In 1 weight. What")


def test_findings_are_told_by_their_code():
    finding = Finding(
        "non-finite-loss", "a/kernel", "The loss is NaN at step 7.", "Lower the rate."
    )
    audit = look_over_run((), Run((), [finding] * 3))
    (alarm,) = audit.alarms
    assert (alarm.level, alarm.title, alarm.addresses) == (
        "wrong",
        "non-finite-loss",
        ("a/kernel",),
    )
    assert alarm.sentence == "The loss is NaN at step 7. Lower the rate. So are 2 more findings."


def test_the_worst_level_comes_first():
    ill = [*weight(alpha=9.0, nan_count=1), one("hill_alpha", 1.0, "a", "weak", "few")]
    levels = [alarm.level for alarm in look_over(ill).alarms]
    assert levels == list(LEVELS)
    assert look_over(ill).verdict == "1 thing cannot be right, 1 thing to look at."


def test_a_value_of_another_kind_is_passed_over():
    odd = weight(dead_units="many", alpha=(1.0, 2.0), effective_rank=float("nan"), nan_count=None)
    assert titles(odd) == []


def test_no_readings():
    assert look_over(()).verdict == "Nothing found."


def test_a_finding_about_a_limit_is_to_be_looked_at():
    found = Finding("vanishing-update", "a", "It does not move.", "Raise the rate.", 3)
    (alarm,) = look_over_run((), Run((), [found])).alarms
    assert (alarm.level, alarm.sentence) == ("look", "It does not move. Raise the rate.")


def test_a_training_was_watched_for_what_is_not_finite():
    readings = [one("l2_norm", 1.0)]
    assert any("NaN" in what for what in look_over(readings).unchecked)
    assert not any("NaN" in what for what in look_over_run(readings, Run()).unchecked)
    broken = [one("l2_norm", None, "a", "not finite", "2 NaN")]
    assert look_over_run(broken, Run()).alarms[0].addresses == ("a",)
