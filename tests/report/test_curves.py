"""A run as the curves of a page."""

import math

import pytest

from steelyard.readings import Run, RunStep
from steelyard.records import Reading
from steelyard.report._curves import curves_of, facts, kept_steps

pytestmark = pytest.mark.no_keras


def run(count, keys=1):
    readings = [
        tuple(Reading(f"w{k}\u202e", "m", float(i), "w") for k in range(keys)) for i in range(count)
    ]
    return Run(
        RunStep(10 * i, i // 4, i % 4, readings[i], {"loss": 1 / (i + 1)}) for i in range(count)
    )


def test_all_of_a_short_run():
    told = curves_of(run(3))
    assert (told["steps"], told["epochs"], told["all"]) == ([0, 10, 20], [0, 0, 0], 3)
    assert told["logs"] == [{"name": "loss", "values": [1, 0.5, 0.333333]}]
    assert told["series"] == [
        {"address": "w0\\u202e", "metric": "m", "unit": "w", "values": [0, 1, 2]}
    ]


def test_what_is_not_there_is_none():
    first = RunStep(
        1, 0, 1, (Reading("a", "m", math.inf), Reading("b", "m", 2.0)), {"acc": math.nan}
    )
    second = RunStep(2, 0, 2, (Reading("a", "m", None, "1", "not finite", "1 NaN"),), {"loss": 2.0})
    told = curves_of(Run([first, second]))
    assert [one["values"] for one in told["logs"]] == [[None, None], [None, 2]]
    assert [one["values"] for one in told["series"]] == [["inf", None], [2, None]]


def test_a_long_run_is_thinned_evenly():
    told = curves_of(run(5000))
    assert told["all"] == 5000 and len(told["steps"]) == 400
    assert (told["steps"][0], told["steps"][-1]) == (0, 49_990)


def test_many_series_have_fewer_steps(monkeypatch):
    monkeypatch.setattr("steelyard.report._curves._NUMBERS", 150)
    assert len(curves_of(run(60, keys=5))["steps"]) == 30
    assert len(curves_of(run(60, keys=50))["steps"]) == 20


def test_kept_steps():
    assert kept_steps(3, 5) == [0, 1, 2]
    assert kept_steps(101, 5) == [0, 25, 50, 75, 100]


def test_facts():
    assert facts(Run()) == ["no step was measured"]
    assert facts(run(9)) == ["9 steps measured, from 0 to 80, in epoch 3"]
