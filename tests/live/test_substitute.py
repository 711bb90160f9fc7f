"""`Substitute`: a variable without a store."""

import keras
import numpy as np
import pytest
from keras import ops

from steelyard.errors import ShapeMismatchError, SubstituteError
from steelyard.live import Substitute, fixed, read, ultimate
from steelyard.live._substitute import same_as


class Twice:
    """A recipe: two times a variable; counts how often it is worked out."""

    def __init__(self, variable):
        self.variable = variable
        self.count = 0
        self.steps = 0

    def value(self, fresh):
        self.count += 1
        return read(self.variable) * fresh.get("factor", 2.0)

    def update(self):
        self.steps += 1
        return {"factor": 3.0}

    def variables(self):
        return [self.variable]

    def same_as(self):
        return None

    def assign(self, value):
        self.variable.assign(value / 2)

    def trainable(self):
        return self.variable.trainable

    def freeze(self, frozen):
        self.variable.trainable = not frozen


@pytest.fixture
def twice():
    layer = keras.layers.Dense(3, name="dense")
    layer.build((None, 2))
    layer.kernel.assign(np.ones((2, 3)))
    recipe = Twice(layer.kernel)
    return Substitute.standing_for(layer.kernel, recipe, layer), recipe


def array(value):
    return np.array(ops.convert_to_numpy(value))


def test_reads_like_a_variable(twice):
    substitute, recipe = twice
    assert isinstance(substitute, keras.Variable)
    assert (substitute.name, tuple(substitute.shape)) == ("kernel", (2, 3))
    for value in (substitute, substitute.value, ops.convert_to_tensor(substitute), substitute * 1):
        np.testing.assert_array_equal(array(value), np.full((2, 3), 2.0))
    np.testing.assert_array_equal(array(ops.matmul(np.ones((1, 2)), substitute)), [[4.0] * 3])
    recipe.variable.assign(np.zeros((2, 3)))
    np.testing.assert_array_equal(np.array(substitute), np.zeros((2, 3)))
    assert "Substitute" in repr(substitute)


def test_changes_go_where_it_comes_from(twice):
    substitute, recipe = twice
    substitute.assign(np.full((2, 3), 8.0))
    np.testing.assert_array_equal(array(recipe.variable), np.full((2, 3), 4.0))
    substitute.trainable = False
    assert not recipe.variable.trainable
    assert ultimate(substitute) == [recipe.variable]
    assert same_as(substitute) is substitute


def test_is_worked_out_once_in_a_call(twice):
    substitute, recipe = twice
    with fixed([substitute], training=False):
        first, second = substitute.value, substitute.value
        with fixed([substitute], training=True):
            np.testing.assert_array_equal(array(substitute.value), array(first))
    np.testing.assert_array_equal(array(second), np.full((2, 3), 2.0))
    assert (recipe.count, recipe.steps) == (1, 0)
    with fixed([substitute], training=True):
        np.testing.assert_array_equal(array(substitute.value), np.full((2, 3), 3.0))
    assert recipe.steps == 1


def test_a_stateless_call_may_hand_it_a_value(twice):
    substitute, _ = twice
    with keras.StatelessScope([(substitute, ops.zeros((2, 3)))]):
        np.testing.assert_array_equal(array(substitute.value), np.zeros((2, 3)))
    np.testing.assert_array_equal(array(substitute.value), np.full((2, 3), 2.0))


def test_another_shape_is_refused(twice):
    substitute, recipe = twice
    recipe.value = lambda fresh: ops.zeros((3, 2))
    with pytest.raises(ShapeMismatchError, match=r"\(2, 3\).*\(3, 2\)"):
        substitute.numpy()


def test_what_leads_back_to_itself_is_refused(twice):
    substitute, recipe = twice
    recipe.value = lambda fresh: substitute.value
    with pytest.raises(SubstituteError, match="worked out from itself"):
        substitute.numpy()
