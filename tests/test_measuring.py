"""`sy.measure` on live models: effective values by address, in order, on every backend."""

import math

import keras
import numpy as np
import pytest
from keras import layers

import steelyard as sy
from steelyard.errors import Interrupted


def model():
    inputs = keras.Input((6, 6, 2))
    x = layers.Conv2D(4, 3, name="conv")(inputs)
    x = layers.DepthwiseConv2D(2, name="depth")(x)
    x = layers.Reshape((9, 4))(x)
    x = layers.MultiHeadAttention(2, 3, name="att")(x, x)
    x = layers.LSTM(5, name="lstm")(x)
    return keras.Model(inputs, layers.Dense(3, name="head")(x))


@pytest.fixture(scope="module")
def net():
    keras.utils.set_random_seed(0)
    return model()


def test_each_weight_once_in_the_order_of_the_model(net):
    readings = sy.measure(net)
    assert readings.addresses == sy.weights(net).addresses
    assert readings["head/kernel", "l2_norm"].value == pytest.approx(
        np.linalg.norm(net.get_layer("head").get_weights()[0].astype("float64"))
    )
    assert {reading.status for reading in readings} == {"ok"}


SIDES = {
    "conv/kernel": lambda w: w.reshape(18, 4),
    "att/query/kernel": lambda w: w.reshape(4, 6),
    "att/attention_output/kernel": lambda w: w.reshape(6, 4),
    "lstm/cell/recurrent_kernel": lambda w: w,
}


@pytest.mark.parametrize("address", SIDES)
def test_a_matrix_is_what_the_layer_makes_of_it(net, address):
    value = sy.weights(net)[address].numpy().astype("float64")
    s = np.linalg.svd(SIDES[address](value), compute_uv=False)
    got = sy.measure(net, ["spectral_norm", "stable_rank", "singular_values"], select=address)
    assert got[address, "spectral_norm"].value == pytest.approx(s[0], rel=1e-6)
    assert got[address, "stable_rank"].value == pytest.approx((s**2).sum() / s[0] ** 2, rel=1e-6)
    np.testing.assert_allclose(got[address, "singular_values"].value, s, rtol=1e-5)


def test_in_the_graph_and_outside_the_same(net):
    for address, owner in (("conv/kernel", "conv"), ("head/kernel", "head")):
        names = [row.name for row in sy.catalog() if row.in_graph]
        outside = sy.measure(net, names, select=address)
        analyzer = sy.layers.WeightAnalyzer(net.get_layer(owner), names)
        inside = keras.ops.convert_to_numpy(analyzer(np.zeros((1, 2), "float32")))[0]
        for name, value in zip(names, inside, strict=True):
            wanted = outside[address, name].value
            assert value == pytest.approx(wanted, rel=2e-4, abs=1e-5), name
            assert analyzer.read()[name] == pytest.approx(wanted, rel=1e-5, abs=1e-7), name


@pytest.mark.parametrize("name", [row.name for row in sy.catalog() if row.in_graph])
def test_differentiable_where_a_graph_computes_it(name):
    if name.endswith(("count", "fraction")):
        pytest.skip("a count has no slope")
    keras.utils.set_random_seed(1)
    inputs = keras.Input((5,))
    dense = layers.Dense(3, name="dense")
    outputs = dense(inputs)
    analyzer = sy.layers.WeightAnalyzer(dense, name)
    net = keras.Model(inputs, [outputs, analyzer(outputs)])
    net.compile(keras.optimizers.SGD(1e-3), [None, "mse"])
    before = dense.get_weights()[0]
    net.fit(np.ones((4, 5)), [np.zeros((4, 3)), np.full((4, 1), 9.0)], epochs=1, verbose=0)
    after = dense.get_weights()[0]
    assert np.isfinite(after).all()
    assert np.abs(after - before).max() > 0
    kernel = before.astype("float64")
    f = getattr(sy.metrics, name)
    slope = (f(kernel + 1e-5 * (after - before)) - f(kernel - 1e-5 * (after - before))) / 2e-5
    assert slope * (9.0 - f(kernel)) > 0  # it went downhill


@pytest.mark.parametrize("name", ["alpha", "median", "dead_units"])
def test_a_graph_says_what_it_cannot_compute(net, name):
    with pytest.raises(sy.errors.UnknownMetricError, match=f"{name}.*sy.measure"):
        sy.layers.WeightAnalyzer(net.get_layer("head"), name)


@keras.saving.register_keras_serializable(package="test_measuring")
class Block(layers.Layer):
    """A layer that holds another one."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.inner = layers.Dense(4, name="inner")

    def build(self, shape):
        self.inner.build(shape)

    def call(self, x):
        return self.inner(x)


def test_no_layer_is_silently_missing():
    nested = keras.Sequential([keras.Input((6, 4)), layers.Dense(4, name="dense")], name="nested")
    inputs = keras.Input((6, 4))
    x = nested(inputs)
    x = Block(name="block")(x)
    x = layers.MultiHeadAttention(2, 3, name="att")(x, x)
    x = layers.EinsumDense("abc,cd->abd", (None, 4), name="einsum")(x)
    x = layers.TimeDistributed(layers.Dense(4), name="time")(x)
    x = layers.Conv1D(4, 2, padding="same", name="conv1d")(x)
    x = layers.Bidirectional(layers.GRU(2, return_sequences=True), name="gru")(x)
    x = layers.Reshape((6, 2, 2, 1))(x)
    x = layers.Conv3D(2, 2, name="conv3d")(x)
    net = keras.Model(inputs, x)
    kernels = [weight.address for weight in sy.weights(net) if len(weight.shape) > 1]
    readings = sy.measure(net, ["alpha", "spectral_norm"], compat="weightwatcher")
    assert {"nested/dense/kernel", "block/inner/kernel", "time/layer/kernel"} <= set(kernels)
    assert len(kernels) >= 14
    for address in kernels:
        assert readings[address, "spectral_norm"].status == "ok", address
        assert readings[address, "alpha"].status in ("ok", "undefined"), address


def test_effective_values_of_lora_and_codes():
    dense = layers.Dense(8, name="dense")
    net = keras.Sequential([keras.Input((6,)), dense])
    dense.enable_lora(2)
    dense.lora_kernel_b.assign(np.random.default_rng(0).normal(size=dense.lora_kernel_b.shape))
    merged = sy.weights(net)["dense/kernel"].numpy().astype("float64")
    got = sy.measure(net, "spectral_norm", select="dense/kernel")
    assert got["dense/kernel", "spectral_norm"].value == pytest.approx(
        np.linalg.norm(merged, 2), rel=1e-5
    )
    net.quantize("int8")
    coded = sy.measure(net, "spectral_norm", select="dense/kernel")
    assert coded["dense/kernel", "spectral_norm"].value == pytest.approx(
        np.linalg.norm(merged, 2), rel=2e-2
    )


def test_a_bad_weight_is_named_and_the_others_go_on():
    net = model()
    kernel = net.get_layer("head").kernel
    value = keras.ops.convert_to_numpy(kernel).copy()
    value[0, 0] = math.nan
    kernel.assign(value)
    readings = sy.measure(net, ["l2_norm", "nan_count", "spectral_norm"])
    assert readings["head/kernel", "nan_count"].value == 1
    assert readings["head/kernel", "l2_norm"].status == "not finite"
    assert readings["conv/kernel", "spectral_norm"].status == "ok"
    assert readings["head/bias", "spectral_norm"].status == "not applicable"


def test_reading_changes_nothing(net):
    before = net.get_weights()
    sy.measure(net, "all")
    for a, b in zip(before, net.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_threads_give_the_same(net):
    one = sy.measure(net, "all", engine="serial")
    assert sy.measure(net, "all", engine="threads", workers=3) == one


def test_progress_is_told(net):
    seen = []
    sy.measure(net, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(i + 1, len(sy.weights(net))) for i in range(len(sy.weights(net)))]


# --- Broken off, and gone on with ----------------------------------------------------------------


def test_ctrl_c_leaves_what_is_done(net, tmp_path):
    def stop(done, total):
        if done == 4:
            raise KeyboardInterrupt

    path = tmp_path / "readings.jsonl"
    with pytest.raises(Interrupted) as caught:
        sy.measure(net, ["mean", "std"], progress=stop, resume=path, engine="serial")
    assert len(caught.value.readings.addresses) == 4
    assert sy.Readings.load(path) == caught.value.readings

    seen = []
    whole = sy.measure(net, ["mean", "std"], resume=path, progress=lambda *a: seen.append(a))
    assert len(seen) == len(sy.weights(net)) - 4
    assert whole == sy.measure(net, ["mean", "std"])
    assert sy.Readings.load(path) == whole


@pytest.mark.parametrize("name", ["readings.txt", "no folder/readings.csv"])
def test_where_nothing_can_be_kept_nothing_is_begun(net, tmp_path, name):
    def told(done, total):
        pytest.fail("it began")

    with pytest.raises(sy.SteelyardError):
        sy.measure(net, "mean", resume=tmp_path / name, progress=told)


def test_what_failed_is_taken_again(net):
    first = sy.measure(net, "spectral_norm", max_memory=200)
    assert "too large" in {reading.status for reading in first}
    again = sy.measure(net, "spectral_norm", resume=first)
    assert again == sy.measure(net, "spectral_norm")


def test_compat_pools_by_itself(net):
    told = sy.measure(net, "alpha", view="pooled", compat="weightwatcher")
    assert sy.measure(net, "alpha", compat="weightwatcher") == told
    with pytest.raises(sy.SteelyardError, match="leave `view` out"):
        sy.measure(net, "alpha", view="flat", compat="weightwatcher")


def test_other_conventions_are_not_mixed(net):
    first = sy.measure(net, "alpha", view="pooled", compat="weightwatcher")
    with pytest.raises(sy.SteelyardError, match=r"view='flat'.*Pass the same"):
        sy.measure(net, "alpha", resume=first)


@pytest.mark.parametrize(
    ("told", "error"),
    [
        ({"metrics": "l2norm"}, sy.errors.UnknownMetricError),
        ({"select": "nowhere/**"}, sy.errors.UnknownAddressError),
        ({"engine": "cloud"}, sy.SteelyardError),
        ({"engine": "processes"}, sy.errors.SourceError),  # a model stays where it is
        ({"max_memory": "much"}, sy.SteelyardError),
        ({"view": "round"}, sy.SteelyardError),
    ],
)
def test_wrong_use(net, told, error):
    with pytest.raises(error):
        sy.measure(net, **told)
