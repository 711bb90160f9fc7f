import time

import numpy as np
import pytest

from steelyard.checkpoints._flat import Entry, FlatSource, address_of, left_out, unambiguous
from steelyard.checkpoints._tensor import Tensor
from steelyard.errors import LimitError, UnknownAddressError
from steelyard.selection import Weights
from steelyard.source import WeightSource

pytestmark = pytest.mark.no_keras


def source(*names, dtype="float32"):
    return FlatSource(
        [Entry(Tensor(n, (2,), dtype), lambda i=i: np.full(2, i)) for i, n in enumerate(names)]
    )


@pytest.mark.parametrize(
    ("name", "address"),
    [
        ("kernel", "kernel"),
        ("encoder.proj.weight", "encoder/proj/weight"),
        ("encoder/conv.1/kernel", "encoder/conv.1/kernel"),
        ("a..b", "a/~/b"),
        ("/a", "~/a"),
        ("", "~"),
        (".", "~/~"),
    ],
)
def test_a_name_becomes_an_address(name, address):
    assert address_of(name) == address


def test_addresses_are_told_apart():
    names = ["a.b", "a/b", "a/b~2", "c", "a/b"]
    found = unambiguous([address_of(name) for name in names])
    assert found == ["a/b", "a/b~3", "a/b~2", "c", "a/b~4"]


def test_many_that_collide_take_no_longer():
    began = time.perf_counter()
    assert len(set(unambiguous(["a"] * 100_000))) == 100_000
    assert time.perf_counter() - began < 3


def test_it_is_a_source():
    found = source("a.b", "a.c")
    assert isinstance(found, WeightSource)
    weights = Weights(found)
    assert list(weights.addresses) == ["a/b", "a/c"]
    assert weights["a/c"].numpy().tolist() == [1, 1]
    assert found.stored_path == {"a/b": "a.b", "a/c": "a.c"}
    assert list(found.stored("a/c")) == ["c"]
    assert "a/b" in repr(weights)


def test_an_unknown_address_names_the_nearest():
    with pytest.raises(UnknownAddressError, match="Did you mean 'encoder/kernel'"):
        source("encoder.kernel").read("encoder/kernle")


def test_floats_train_and_numbers_do_not():
    kinds = {"float16": True, "bfloat16": True, "int64": False, "bool": False, "uint8": False}
    for dtype, trains in kinds.items():
        assert source("a", dtype=dtype).specs()[0].trainable == trains


def test_too_many_weights():
    entry = Entry(Tensor("a", (), "float32"), lambda: np.zeros(()))
    with pytest.raises(LimitError, match="200,001 weights"):
        FlatSource([entry] * 200_001)


def test_what_is_left_out_is_said_safely():
    assert left_out([], "so") == ""
    assert left_out(["a\x1b[31m"], "so") == "Not listed, so: 'a\\x1b[31m'."
    assert left_out(list("abcdefg"), "so").endswith("'e' and 2 more.")
