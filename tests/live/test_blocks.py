"""Live weights in slices: what is larger than the memory allowed is measured all the same."""

import keras
import numpy as np
import pytest

import steelyard as sy
from steelyard.live import LiveSource
from steelyard.source import BlockSource

GROUPS = ["health", "values", "norms", "spectral"]


@keras.saving.register_keras_serializable(package="test_blocks")
class Doubled(keras.layers.Layer):
    """A layer that makes something else of its weight."""

    def build(self, shape):
        self._kernel = self.add_weight(shape=(shape[-1], 3), name="kernel")

    @property
    def kernel(self):
        return self._kernel * 2

    def call(self, x):
        return x @ self.kernel


def model(dtype="float32"):
    layers = [keras.Input((400,)), keras.layers.Dense(30, dtype=dtype, name="wide")]
    made = keras.Sequential(layers)
    rng = np.random.default_rng(0)
    for weight in sy.weights(made):
        weight.assign(rng.normal(size=weight.shape))
    return made


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("rows", [1, 7, 400, 1000])
def test_slices_make_up_the_weight(dtype, rows):
    source = LiveSource(model(dtype))
    assert isinstance(source, BlockSource)
    for _ in range(2):
        blocks = list(source.blocks("wide/kernel", rows))
        assert [len(block) for block in blocks[:-1]] == [rows] * (len(blocks) - 1)
        assert {block.dtype for block in blocks} == {np.dtype("float32")}
        np.testing.assert_array_equal(np.concatenate(blocks), source.read("wide/kernel"))


def test_a_weight_larger_than_the_memory_allowed_is_measured():
    net = model()
    whole = sy.measure(net, GROUPS, select="**/kernel")
    blocks = sy.measure(net, GROUPS, select="**/kernel", max_memory="40 kB")
    assert net.layers[0].kernel.value.shape[0] * 30 * 4 > 40_000
    for one, other in zip(whole, blocks, strict=True):
        if other.status == "too large":  # needs all entries at once
            assert other.metric in ("duplicate_units",)
            continue
        assert one.status == other.status, other
        if one.value is not None:
            np.testing.assert_allclose(other.value, one.value, rtol=1e-5, atol=1e-6)


def test_so_it_is_in_training():
    net = model()
    net.compile("sgd", "mse")
    monitor = sy.Monitor("l2_norm", max_memory="20 kB")
    net.fit(np.ones((4, 400)), np.ones((4, 30)), verbose=0, callbacks=[monitor])
    norm = np.linalg.norm(keras.ops.convert_to_numpy(net.layers[0].kernel))
    np.testing.assert_allclose(monitor.readings["wide/kernel", "l2_norm"].value, norm, rtol=1e-6)


def test_what_is_worked_out_is_read_whole():
    net = keras.Sequential(
        [keras.Input((4,)), Doubled(name="own"), keras.layers.Dense(3, name="a")]
    )
    net.layers[1].enable_lora(2)
    source = LiveSource(net)
    source.specs()
    assert source.blocks("own/kernel", 1) is None
    assert source.blocks("a/kernel", 1) is None
    assert source.blocks("a/bias", 1) is not None
    (reading,) = sy.measure(net, "l2_norm", select="a/kernel", max_memory=20)
    assert reading.status == "too large"
