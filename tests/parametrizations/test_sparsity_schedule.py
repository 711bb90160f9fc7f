"""How sparse at which step."""

import numpy as np
import pytest
from keras import ops
from tests.parametrizations.driver import reread

import steelyard as sy
from steelyard.errors import ParametrizationError

p = sy.parametrizations


def at(schedule, steps):
    return [float(ops.convert_to_numpy(schedule(ops.convert_to_tensor(s, "int32")))) for s in steps]


def due(schedule, steps):
    return [s for s in steps if bool(schedule.prunes_at(ops.convert_to_tensor(s, "int32")))]


def test_polynomial_decay_is_that_of_the_paper():
    schedule = p.PolynomialDecay(0.1, 0.9, begin_step=10, end_step=30, frequency=5)
    paper = [0.9 + (0.1 - 0.9) * (1 - t / 20) ** 3 for t in (0, 5, 10, 20)]
    np.testing.assert_allclose(at(schedule, [10, 15, 20, 30]), paper, atol=1e-6)
    np.testing.assert_allclose(at(schedule, [0, 99]), [0.1, 0.9], atol=1e-6)
    assert due(schedule, range(60)) == [10, 15, 20, 25, 30]


def test_power():
    schedule = p.PolynomialDecay(0.0, 0.8, begin_step=0, end_step=10, power=1)
    np.testing.assert_allclose(at(schedule, [0, 5, 10]), [0, 0.4, 0.8], atol=1e-6)


def test_the_last_step_is_due_whatever_the_frequency():
    assert due(p.PolynomialDecay(0.0, 0.8, 1, 10, frequency=4), range(20)) == [1, 5, 9, 10]
    assert due(p.ConstantSparsity(0.5, 3, 3), range(20)) == [3]
    assert at(p.PolynomialDecay(0.0, 0.8, 3, 3), [3]) == pytest.approx([0.8])


def test_constant_has_no_end_of_itself():
    schedule = p.ConstantSparsity(0.5, begin_step=2, frequency=3)
    assert due(schedule, range(12)) == [2, 5, 8, 11]
    assert at(schedule, [0, 100]) == [0.5, 0.5]


@pytest.mark.parametrize(
    "make",
    [
        lambda: p.ConstantSparsity(1.5),
        lambda: p.ConstantSparsity(-0.1),
        lambda: p.ConstantSparsity(0.5, begin_step=-1),
        lambda: p.ConstantSparsity(0.5, begin_step=5, end_step=4),
        lambda: p.ConstantSparsity(0.5, frequency=0),
        lambda: p.PolynomialDecay(0.1, 2, 0, 1),
        lambda: p.PolynomialDecay(-1, 0.5, 0, 1),
        lambda: p.PolynomialDecay(0.1, 0.5, 0, 1, power=0),
    ],
)
def test_what_makes_no_sense_is_refused(make):
    with pytest.raises(ParametrizationError, match="Received"):
        make()


@pytest.mark.parametrize(
    "schedule",
    [p.ConstantSparsity(0.5, 1, 9, frequency=2), p.PolynomialDecay(0.1, 0.9, 0, 9, power=2)],
    ids=repr,
)
def test_config(schedule):
    assert vars(reread(schedule)) == vars(schedule)


def test_a_users_own_needs_only_the_sparsity():
    class Halves(p.SparsitySchedule):
        def __init__(self, frequency=1):
            super().__init__(0, None, frequency)

        def __call__(self, step):
            return 1 - 0.5 ** ops.cast(step, "float32")

    assert at(Halves(), [0, 1, 2]) == [0, 0.5, 0.75]
    with pytest.raises(NotImplementedError, match="needs a `__call__`"):
        p.SparsitySchedule(0, None, 1)(0)
