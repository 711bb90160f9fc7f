import dataclasses

import pytest

from steelyard.records import Borrowing, WeightSpec

pytestmark = pytest.mark.no_keras


def spec(shape=(3, 4), dtype="float32", **more):
    return WeightSpec("proj/kernel", shape, dtype, True, "Dense", **more)


@pytest.mark.parametrize(
    ("shape", "dtype", "size", "nbytes"),
    [
        ((3, 4), "float32", 12, 48),
        ((3, 4), "float64", 12, 96),
        ((3, 4), "bfloat16", 12, 24),
        ((3, 4), "float16", 12, 24),
        ((3, 4), "float8_e4m3fn", 12, 12),
        ((3, 4), "int8", 12, 12),
        ((3, 3), "int4", 9, 5),
        ((3, 4), "bool", 12, 12),
        ((3, 4), "complex64", 12, 96),
        ((), "float32", 1, 4),
        ((0, 4), "float32", 0, 0),
    ],
)
def test_size_and_bytes(shape, dtype, size, nbytes):
    assert (spec(shape, dtype).size, spec(shape, dtype).nbytes) == (size, nbytes)


def test_bytes_are_those_stored():
    packed = spec((8, 6), "int8", stored_shape=(8, 3))
    assert (packed.size, packed.nbytes) == (48, 24)


def test_a_spec_is_a_value():
    assert spec() == spec()
    assert hash(spec()) == hash(spec())
    assert eval(repr(spec())) == spec()
    with pytest.raises(dataclasses.FrozenInstanceError):
        spec().shape = (1,)


@pytest.mark.parametrize(
    ("borrowing", "text"),
    [
        (Borrowing("tied", "proj/kernel", True), "tied borrows proj/kernel (bound)"),
        (
            Borrowing("tied", "proj/kernel", False, "'proj' is not in the model"),
            "tied borrows proj/kernel (not bound: 'proj' is not in the model)",
        ),
        (Borrowing("tied", "a", False), "tied borrows a (not bound: nobody looked yet)"),
    ],
)
def test_a_borrowing_reads_as_a_sentence(borrowing, text):
    assert str(borrowing) == text
    assert eval(repr(borrowing)) == borrowing
