"""`steelyard convert`: a new file, and nothing else."""

import json
import os

import numpy as np
import pytest
from tests.checkpoints.test_keras_out import KERNEL, tree_at, write_keras

import steelyard as sy

pytestmark = pytest.mark.no_keras


@pytest.fixture
def model(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return write_keras(tmp_path / "x.keras")


def test_to_safetensors_and_back(model, run):
    said = run("convert", "x.keras", "x.safetensors").stdout
    assert said.startswith("x.safetensors: 4 weights, 30 parameters")
    told = json.loads(run("convert", "x.safetensors", "y.keras", "--json").stdout)
    assert told == {
        **{"steelyard": "convert", "schema": 1, "source": "x.safetensors", "out": "y.keras"},
        **{"count": 4, "size": 30, "nbytes": 96},
    }
    assert tree_at(model.with_name("y.keras")) == tree_at(model)


def test_rounded_and_without_the_optimizer(model, run):
    more = ("--select", "a/*", "--dtype", "float16", "--leave-out", "optimizer")
    run("convert", "x.keras", "y.keras", *more)
    assert [w.dtype for w in sy.weights("y.keras")] == ["float16", "float16", "bfloat16", "float32"]
    np.testing.assert_array_equal(sy.weights("y.keras")["a/kernel"].numpy(), KERNEL)
    assert not any(path.startswith("optimizer") for path in tree_at(model.with_name("y.keras")))


def test_some_with_other_names(model, run):
    more = ("--select", "a/*", "--select", "b/*", "--rename", "a", "top", "--leave-out", "b/bias")
    run("convert", "x.keras", "y.npz", "--dtype", "float32", *more)
    assert sy.weights("y.npz").addresses == ("top/kernel", "top/bias", "b/kernel")


def test_what_does_not_fit_is_not_made_infinite(tmp_path, monkeypatch, run):
    monkeypatch.chdir(tmp_path)
    np.savez("x.npz", **{"a/kernel": np.array([1.0, 1e6]), "a/steps": np.array([1 << 40])})
    result = run("convert", "x.npz", "y.npz", "--dtype", "float16", code=2)
    assert "'a/kernel' has values that are too large for float16" in result.stderr
    run("convert", "x.npz", "y.npz", "--dtype", "float32")
    assert sy.weights("y.npz")["a/steps"].dtype == "int64"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["x.keras", "x.keras"], "x.keras: is there already"),
        (["x.keras", "y.docx"], "one of .safetensors, .npz, .keras, .weights.h5"),
        (["x.keras", "nowhere/y.keras"], "there is no folder 'nowhere'"),
        (["nothing.keras", "y.keras"], "there is no such file"),
        (["x.keras", "y.keras", "--select", "a/*"], "chooses 2 of its 4 weights"),
        (["x.keras", "y.keras", "--rename", "a", "b"], "leave the optimizer out"),
        (["x.keras", "y.keras", "--dtype", "int8"], "is not one of"),
        (["x.keras"], "Missing argument 'OUT'"),
    ],
)
def test_wrong_use(model, run, arguments, says):
    before = model.read_bytes()
    result = run("convert", *arguments, code=2)
    assert says in result.stderr
    assert len(result.stderr.strip().splitlines()) <= 4
    assert os.listdir() == ["x.keras"]
    assert model.read_bytes() == before
