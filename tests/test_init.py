"""Every public name opens. On each backend: opening most of them imports Keras."""

import pytest

import steelyard


@pytest.mark.parametrize("name", steelyard.__all__)
def test_name_opens(name):
    value = getattr(steelyard, name)
    assert getattr(value, "__name__", name).removeprefix("steelyard.") == name


@pytest.mark.parametrize("name", sorted(steelyard._NAMES))
def test_name_is_documented(name):
    assert (getattr(steelyard, name).__doc__ or "").strip()


def test_a_name_is_opened_once():
    assert steelyard.SteelyardError is steelyard.errors.SteelyardError
    assert vars(steelyard)["SteelyardError"] is steelyard.SteelyardError
