import keras  # noqa: F401  (before the rooms that need it)
import numpy as np
import pytest

from steelyard.errors import CopyError, ShapeMismatchError
from steelyard.rewrite._fit import cast_from, fitted, is_regrouped


@pytest.mark.parametrize(
    ("old", "new", "fits"),
    [
        ((64, 8, 16), (64, 128), True),
        ((64, 128), (64, 8, 16), True),
        ((3, 4), (1, 3, 4), True),
        ((3, 1, 4), (3, 4), True),
        ((12,), (3, 4), True),
        ((1,), (), True),
        ((2, 3, 4, 5), (6, 20), True),
        ((3, 4), (4, 3), False),
        ((6, 4), (4, 6), False),
        ((6, 4), (3, 8), False),
        ((3, 4), (3, 5), False),
        ((3, 4), (12, 2), False),
        ((2, 3), (2, 3, 2), False),
    ],
)
def test_only_adjacent_axes_merge_and_split(old, new, fits):
    assert is_regrouped(old, new) is fits
    assert is_regrouped(new, old) is fits


@pytest.mark.parametrize(
    ("value", "dtype"),
    [
        (np.float32([0.1, np.inf, np.nan]), "float16"),
        (np.float32([0.1, 1e30]), "bfloat16"),
        (np.float32([0.1, 400.0]), "float8_e4m3fn"),
        (np.float64([0.1]), "float32"),
        (np.int32([1, 2**20]), "float32"),
        (np.float32([3.0, -4.0]), "int32"),
        (np.int64([3, 2**31 - 1]), "int32"),
        (np.array([True, False]), "float32"),
        (np.float32([1, 0]), "bool"),
    ],
)
def test_what_a_dtype_can_hold(value, dtype):
    np.testing.assert_array_equal(fitted(value, value.shape, dtype), value)


@pytest.mark.parametrize(
    ("value", "dtype", "says"),
    [
        (np.float32([0.1, 1e5, -2e5]), "float16", "2 of its 3 values; the largest is 2e[+]05"),
        (np.float32([500.0]), "float8_e4m3fn", "1 of its 1 values"),
        (np.float64([1e300]), "float32", "1 of its 1 values"),
        (np.int32([2**24 + 1]), "float32", "its int32 values exactly"),
        (np.float32([0.5]), "int32", "its float32 values exactly"),
        (np.int64([2**31]), "int32", "exactly"),
        (np.int32([2]), "bool", "exactly"),
        (np.float32([np.nan]), "int32", "exactly"),
    ],
)
def test_what_a_dtype_cannot_hold(value, dtype, says):
    with pytest.raises(CopyError, match=says):
        fitted(value, value.shape, dtype)


def test_a_value_of_another_size_than_was_listed():
    with pytest.raises(ShapeMismatchError, match=r"\(2,\) does not fit \(3,\)"):
        fitted(np.zeros(2, "float32"), (3,), "float32")


def test_what_is_told_of_a_cast():
    one = np.zeros(1, "float32")
    assert cast_from(one, "float32", "float32") == ""
    assert cast_from(one, "bfloat16", "float16") == "cast from bfloat16 to float16"
    assert cast_from(one, "int8", "float32") == "scaled back from int8 codes"
    assert cast_from(one, "int8", "float16") == "scaled back from int8 codes, cast to float16"
