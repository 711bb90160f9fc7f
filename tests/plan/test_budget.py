"""Amounts of memory, and waiting for some."""

import threading

import pytest

import steelyard as sy
from steelyard.plan._budget import Budget, bytes_of

pytestmark = pytest.mark.no_keras


@pytest.mark.parametrize(
    ("amount", "wanted"),
    [(1000, 1e3), ("2 GB", 2e9), ("512MiB", 2**29), ("1.5kb", 1500), ("7", 7), (1e9, 1e9)],
)
def test_amounts(amount, wanted):
    assert bytes_of(amount) == wanted


def test_by_itself_half_of_what_is_free():
    assert 1e6 < bytes_of(None) < 1e13


@pytest.mark.parametrize("amount", [0, -1, "much", "2 XB", "", float("nan")])
def test_no_amount(amount):
    with pytest.raises(sy.SteelyardError, match="max_memory"):
        bytes_of(amount)


def test_who_asks_for_too_much_waits():
    budget, order = Budget(100), []
    entered = threading.Event()

    def second():
        entered.set()
        with budget.of(60):
            order.append("second")

    with budget.of(50):
        thread = threading.Thread(target=second)
        thread.start()
        entered.wait()
        with budget.of(50):
            order.append("first")
    thread.join(5)
    assert order == ["first", "second"]


def test_more_than_there_is_means_all():
    with Budget(100).of(1000) as given:
        assert given == 100
