"""What `keras.callbacks.OrbaxCheckpoint` writes: the addresses and values of the live model."""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import layers as L
from tests.checkpoints.test_keras_zoo import ZOO, _randomized

import steelyard as sy
from steelyard.checkpoints._orbax import open_orbax

pytest.importorskip("orbax.checkpoint", reason="Orbax writes the files, and needs JAX")
if not hasattr(keras.callbacks, "OrbaxCheckpoint"):
    pytest.skip(f"Keras {keras.__version__} has no OrbaxCheckpoint", allow_module_level=True)


def callback(folder, **options):
    return keras.callbacks.OrbaxCheckpoint(folder, save_on_background=False, **options)


def saved(model, folder, **options):
    if getattr(model, "optimizer", None) is None:
        model.compile("sgd", "mse")
    save = callback(folder, **options)
    save.set_model(model)
    save.on_epoch_end(0)
    save.on_train_end()
    return open_orbax(folder)


KINDS = ("recurrent", "nested", "attention", "int4", "half", "tables", "lora", "frozen")


@pytest.mark.in_turn
@pytest.mark.parametrize("kind", KINDS)
def test_it_lists_what_the_model_has(kind, tmp_path):
    model = _randomized(ZOO[kind]())
    source = saved(model, tmp_path / "c")
    live = {weight.address: weight for weight in sy.weights(model)}
    specs = {spec.address: spec for spec in source.specs()}
    assert list(specs) == list(live)
    assert source.findings == ()
    for address, weight in live.items():
        spec, same = specs[address], ("trainable", "layer", "axes", "shape", "stored_shape")
        for field in same if weight.shape else same[:3]:
            assert getattr(spec, field) == getattr(weight.spec, field), (address, field)
        assert source.naming[address] == ("inferred" if "lora_" in address else "exact")
        np.testing.assert_allclose(source.read(address), weight.numpy(), rtol=1e-6, err_msg=address)
    source.close()


def test_after_a_real_fit_in_a_fresh_process(tmp_path):
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    x = x.astype("float32") / 16
    model = keras.Sequential(
        [keras.Input((64,)), L.Dense(32, "relu", name="a"), L.BatchNormalization(), L.Dense(10)]
    )
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    save = callback(tmp_path / "run", monitor="loss", max_to_keep=2)
    model.fit(x, y, epochs=3, batch_size=256, verbose=0, callbacks=[save])
    code = (
        "import sys, numpy as np, steelyard as sy\n"
        "w = sy.weights('run')\n"
        "print(w.note if hasattr(w, 'note') else repr(w))\n"
        "np.savez('found.npz', **{a.address: a.numpy() for a in w})\n"
        "assert not {'keras', 'jax', 'orbax', 'tensorflow', 'torch'} & set(sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, env=os.environ
    )
    assert done.returncode == 0, done.stderr
    assert "Step 2, the latest of 2." in done.stdout
    assert "'optimizer_variables.adam." in done.stdout
    with np.load(tmp_path / "found.npz") as found:
        assert found.files == [weight.address for weight in sy.weights(model)]
        for weight in sy.weights(model):
            np.testing.assert_array_equal(found[weight.address], weight.numpy())


def test_without_a_config_no_name_is_certain(tmp_path):
    x = keras.Input((8,))
    inner = keras.Sequential([keras.Input((4,)), L.Dense(3, name="deep")], name="inner")
    model = keras.Model(x, inner(L.Dense(4, name="first")(x)))
    source = saved(model, tmp_path / "c", save_weights_only=True)
    assert "exact" not in source.naming.values()
    assert source.naming["first/kernel"] == "inferred"
    assert "no config, which would say more" in source.note
    np.testing.assert_array_equal(
        source.read("first/kernel"), sy.weights(model)["first/kernel"].numpy()
    )


class Net(keras.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.stem = L.Dense(3, name="chosen")

    def call(self, x):
        return self.stem(x)


def test_of_a_subclassed_model_the_attributes_are_lost_and_it_says_so(tmp_path):
    model = Net()
    model(np.zeros((1, 2), "float32"))
    source = saved(model, tmp_path / "c")
    assert set(source.naming.values()) == {"unknown"}
    assert len(source.specs()) == 2
