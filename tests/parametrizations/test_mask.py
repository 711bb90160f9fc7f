"""Entries that are exactly 0: given, by size, in groups, more and more."""

import json

import numpy as np
import pytest
from keras import ops
from tests.parametrizations.driver import Parametrized, normal, reread

import steelyard as sy
from steelyard.errors import ParametrizationError, ShapeMismatchError

p = sy.parametrizations
Mask = p.Mask


def zeros(used):
    return int((used == 0).sum())


def mask_of(weight):
    return ops.convert_to_numpy(weight.state["mask"])


def test_a_given_mask():
    mask = np.random.default_rng(0).integers(0, 2, size=(6, 4))
    weight = Parametrized(Mask(mask), normal(6, 4))
    np.testing.assert_array_equal(weight.used(), normal(6, 4) * mask)
    np.testing.assert_array_equal(weight.used(training=True), normal(6, 4) * mask)
    assert mask_of(weight).dtype == "bool"


@pytest.mark.parametrize("mask", [[[1], [0], [1]], [True, False, True, True]], ids=str)
def test_a_given_mask_spreads(mask):
    used = Parametrized(Mask(mask), np.ones((3, 4))).used()
    np.testing.assert_array_equal(used, np.broadcast_to(mask, (3, 4)))


@pytest.mark.parametrize("sparsity", [0, 0.3, 0.5, 0.8, 1])
@pytest.mark.parametrize("shape", [(6, 4), (3, 2, 4), (10,)], ids=str)
def test_by_size(shape, sparsity):
    value = normal(*shape)
    used = Parametrized(Mask(sparsity=sparsity), value).used()
    count = round(sparsity * value.size)
    smallest = np.sort(np.abs(value), axis=None)[:count]
    np.testing.assert_array_equal(np.sort(np.abs(value[used == 0])), smallest)
    np.testing.assert_array_equal(used[used != 0], value[used != 0])


def test_the_share_is_exact_where_all_are_equal():
    assert zeros(Parametrized(Mask(sparsity=0.25), np.ones((6, 4))).used()) == 6
    schedule = p.ConstantSparsity(0.25)
    weight = Parametrized(Mask(schedule=schedule), np.ones((6, 4)))
    assert zeros(weight.used(training=True)) == 6


@pytest.mark.parametrize(
    ("shape", "axis"), [((8, 3), -2), ((8, 3), 0), ((3, 8), 1), ((2, 2, 4, 3), -2)], ids=str
)
def test_n_of_m(shape, axis):
    value = normal(*shape)
    used = np.moveaxis(Parametrized(Mask(n_m=(2, 4), axis=axis), value).used(), axis, -1)
    groups = used.reshape(-1, 4)
    full = np.moveaxis(value, axis, -1).reshape(-1, 4)
    assert ((groups != 0).sum(1) == 2).all()
    np.testing.assert_array_equal(np.sort(np.abs(groups))[:, 2:], np.sort(np.abs(full))[:, 2:])


def test_n_of_m_is_exact_where_all_are_equal():
    assert zeros(Parametrized(Mask(n_m=(1, 4)), np.ones((8, 3))).used()) == 18


def test_pruned_entries_have_no_gradient():
    weight = Parametrized(Mask([1, 0, 1, 0]), normal(6, 4))
    direction = normal(6, 4, seed=1)
    (grad,) = weight.gradients(direction)
    np.testing.assert_array_equal(grad, direction * [1, 0, 1, 0])


def test_straight_through():
    weight = Parametrized(Mask([1, 0, 1, 0], straight_through=True), normal(6, 4))
    np.testing.assert_array_equal(weight.used(), normal(6, 4) * [1, 0, 1, 0])
    direction = normal(6, 4, seed=1)
    np.testing.assert_allclose(weight.gradients(direction)[0], direction)


def test_what_is_not_finite_is_pruned_too():
    value = np.array([[np.nan, 1], [np.inf, 2]], "float32")
    np.testing.assert_array_equal(Parametrized(Mask([0, 1]), value).used(), [[0, 1], [0, 2]])


@pytest.mark.parametrize("jit", [False, True], ids=["eager", "compiled"])
def test_a_schedule_goes_one_step_in_each_call_in_training(jit):
    schedule = p.PolynomialDecay(0.25, 0.75, begin_step=1, end_step=5, frequency=2)
    value = normal(6, 4)
    weight = Parametrized(Mask(schedule=schedule), value)
    found = []
    for step in range(8):
        assert int(ops.convert_to_numpy(weight.state["step"])) == step
        before = weight.used(jit=jit)
        found.append(zeros(weight.used(training=True, jit=jit)))
        if step in (0, 2, 4, 6, 7):
            np.testing.assert_array_equal(weight.used(), before)
    half = round(24 * (0.75 - 0.5 * 0.5**3))
    assert found == [0, 6, 6, half, half, 18, 18, 18]
    smallest = np.sort(np.abs(value), axis=None)[:18]
    np.testing.assert_array_equal(np.sort(np.abs(value[weight.used() == 0])), smallest)


def test_a_schedule_follows_what_is_stored():
    weight = Parametrized(Mask(schedule=p.ConstantSparsity(0.5, frequency=1)), [[1.0, 2.0]])
    np.testing.assert_array_equal(weight.used(training=True), [[0, 2]])
    weight.assign([[3.0, 2.0]])
    np.testing.assert_array_equal(weight.used(), [[0, 2]])
    np.testing.assert_array_equal(weight.used(training=True), [[3, 0]])


@pytest.mark.parametrize("jit", [False, True], ids=["eager", "compiled"])
def test_gradient_while_the_mask_changes(jit):
    weight = Parametrized(Mask(schedule=p.ConstantSparsity(0.5)), [[1.0, 2.0], [4.0, 3.0]])
    (grad,) = weight.gradients(np.ones((2, 2)), training=True, jit=jit)
    np.testing.assert_array_equal(grad, [[0, 0], [1, 1]])


@pytest.mark.parametrize(
    ("arguments", "shape"),
    [
        ({"mask": np.ones((6, 4))}, (4, 6)),
        ({"mask": np.ones((6, 4))}, (4,)),
        ({"mask": np.ones((6, 4, 4))}, (6, 4)),
        ({"n_m": (2, 4)}, (6, 4)),
        ({"n_m": (2, 4)}, (4,)),
        ({"n_m": (2, 4), "axis": 2}, (4, 4)),
    ],
    ids=str,
)
def test_a_shape_that_does_not_fit_is_refused(arguments, shape):
    with pytest.raises(ShapeMismatchError) as caught:
        Mask(**arguments).check(shape)
    assert str(shape) in str(caught.value)


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"mask": [1, 0], "sparsity": 0.5},
        {"sparsity": 0.5, "n_m": (2, 4)},
        {"sparsity": 1.5},
        {"n_m": (5, 4)},
        {"n_m": (0, 4)},
        {"n_m": (2,)},
        {"n_m": (0.5, 4)},
        {"mask": [0.5, 1]},
    ],
    ids=str,
)
def test_arguments_that_make_no_sense_are_refused(arguments):
    with pytest.raises(ParametrizationError, match="Received"):
        Mask(**arguments)


@pytest.mark.parametrize(
    "mask",
    [
        Mask(np.random.default_rng(0).integers(0, 2, (6, 4))),
        Mask(sparsity=0.5, straight_through=True),
        Mask(n_m=(1, 2), axis=0),
        Mask(schedule=p.PolynomialDecay(0.0, 0.5, 0, 3, frequency=1)),
    ],
    ids=["given", "sparsity", "n_m", "schedule"],
)
def test_config(mask):
    read = reread(mask)
    weights = [Parametrized(made, normal(6, 4)) for made in (mask, read)]
    for _ in range(4):
        one, other = (weight.used(training=True) for weight in weights)
        np.testing.assert_array_equal(one, other)
    direction = np.ones((6, 4))
    np.testing.assert_array_equal(*(weight.gradients(direction)[0] for weight in weights))


def test_a_large_mask_is_written_down_in_few_letters():
    assert len(json.dumps(Mask(np.ones((100, 100))).get_config())) < 2000
