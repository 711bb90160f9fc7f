from itertools import pairwise

import keras
import numpy as np
import pytest
from keras import layers

import steelyard as sy
from steelyard.errors import (
    AmbiguousAddressError,
    CopyError,
    SourceError,
    UnknownAddressError,
)
from steelyard.records import WeightSpec
from steelyard.rewrite._fit import numpy_dtype
from steelyard.source import WeightSource

X = np.random.default_rng(0).normal(size=(8, 4)).astype("float32")


def randomize(model, seed=3):
    draw = np.random.default_rng(seed)
    for variable in model.weights:
        if keras.backend.is_float_dtype(variable.dtype):
            variable.assign(draw.uniform(0.1, 1, size=tuple(variable.shape)))
    return model


def net(classes=2, name="net", seed=3, units=3, **kwargs):
    parts = [
        keras.Input((4,)),
        layers.Dense(units, name="proj", **kwargs),
        layers.BatchNormalization(name="norm"),
        layers.Dense(classes, name="head", **kwargs),
    ]
    return randomize(keras.Sequential(parts, name=name), seed)


def held(model):
    return {w.path: np.array(keras.ops.convert_to_numpy(w)) for w in model.weights}


def assert_untouched(model, before):
    after = held(model)
    assert after.keys() == before.keys()
    for path, array in before.items():
        np.testing.assert_array_equal(after[path], array)


def assert_same(target, source, addresses=None, rename=lambda a: a):
    source, target = sy.weights(source), sy.weights(target)
    for address in addresses or source.addresses:
        np.testing.assert_array_equal(target[rename(address)].numpy(), source[address].numpy())


def output(model, x=X):
    return np.array(keras.ops.convert_to_numpy(model(x)))


class File:
    """Stands in for a file: read only, one array at a time."""

    def __init__(self, arrays, fails_at=None, error=OSError, aliases=None):
        self.arrays, self.fails_at, self.error = arrays, fails_at, error
        self.aliases = aliases or {}

    @classmethod
    def of(cls, model, **kwargs):
        return cls({w.address: w.numpy() for w in sy.weights(model)}, **kwargs)

    def specs(self):
        return [
            WeightSpec(
                name,
                array.shape,
                array.dtype.name,
                True,
                "Dense",
                aliases=self.aliases.get(name, ()),
            )
            for name, array in self.arrays.items()
        ]

    def read(self, address):
        if address == self.fails_at:
            raise self.error("the disk is gone")
        return np.array(self.arrays[address])

    def stored(self, address):
        return {address.rpartition("/")[2]: self.read(address)}


# --- Which weights -------------------------------------------------------------------------------


def test_the_backbone_of_a_trained_model_for_another_head():
    old, new = net(2), net(5, seed=4)
    old.compile("sgd", "mse")
    old.fit(X, np.zeros((8, 2)), verbose=0)
    head = sy.weights(new)["head/kernel"].numpy()
    changes = sy.copy_weights(old, new)
    assert isinstance(changes, sy.Changes)
    assert changes.summary == "6 copied, 2 skipped"
    assert changes.addresses == sy.weights(new).addresses
    assert_same(new, old, changes.copied.addresses)
    assert changes["head/kernel"] == sy.Change(
        *("head/kernel", "skipped", "head/kernel"),
        *("shape (3, 2) does not fit (3, 5)", (3, 5), (3, 2), "float32", "float32"),
    )
    np.testing.assert_array_equal(sy.weights(new)["head/kernel"].numpy(), head)
    assert "skipped  head/bias" in repr(changes)


def test_between_depths_of_nesting():
    old = net(3)
    inputs = keras.Input((4,))
    new = randomize(keras.Model(inputs, layers.Dense(1, name="out")(net(3, "body")(inputs))), 9)
    changes = sy.copy_weights(old, new, rename={"": "body"})
    assert (len(changes.copied), changes.missing.addresses) == (8, ("out/kernel", "out/bias"))
    assert changes["body/proj/kernel"].source == "proj/kernel"
    assert_same(new, old, rename=lambda a: f"body/{a}")
    other = net(3, seed=8)
    changes = sy.copy_weights(new, other, rename={"body": ""})
    assert_same(other, old)
    assert changes.unused.addresses == ("out/kernel", "out/bias")
    assert changes["out/bias"].reason == "the target has no such weight"


def test_what_rename_leaves_out_is_told():
    old, new = net(), net(seed=4)
    changes = sy.copy_weights(old, new, rename=lambda a: None if a.startswith("norm/") else a)
    assert len(changes.copied) == 4
    assert (
        changes.missing.addresses
        == changes.unused.addresses
        == sy.weights(new).select("norm/*").addresses
    )
    assert changes["norm/beta"].reason == "the source has 'norm/beta', but `rename` leaves it out"
    assert {c.reason for c in changes.unused} == {"left out by `rename`"}


@pytest.mark.parametrize("select", ["proj/*", ["proj/kernel", "proj/bias"]])
def test_select_is_over_the_target(select):
    old, new = net(), net(seed=4)
    before = held(new)
    changes = sy.copy_weights(old, new, select=select, strict=True)
    assert changes.addresses == ("proj/kernel", "proj/bias")
    assert_same(new, old, changes.addresses)
    assert sum(not np.array_equal(a, before[path]) for path, a in held(new).items()) == 2
    with pytest.raises(UnknownAddressError, match="Did you mean 'proj/"):
        sy.copy_weights(old, new, select="porj/*")


def test_selections_on_either_side():
    old, new = net(), net(seed=4)
    changes = sy.copy_weights(sy.weights(old, "**/kernel"), new)
    assert changes.copied.addresses == ("proj/kernel", "head/kernel")
    assert len(changes.missing) == 6
    changes = sy.copy_weights(old, sy.weights(new, "head/*"))
    assert changes.copied.addresses == ("head/kernel", "head/bias")
    assert_same(new, old, ["proj/kernel", "head/kernel", "head/bias"])


def test_strict():
    old, new = net(2), net(5, seed=4)
    before = held(new)
    with pytest.raises(CopyError) as caught:
        sy.copy_weights(old, new, strict=True)
    assert "of 8 weights 2 would not be copied:" in str(caught.value)
    assert "head/kernel: shape (3, 2) does not fit (3, 5)" in str(caught.value)
    with pytest.raises(CopyError, match="missing head/kernel: the source has no weight"):
        sy.copy_weights(sy.weights(old, "proj/*"), new, strict=True)
    with pytest.raises(CopyError, match="unused head/kernel: the target has no such weight"):
        sy.copy_weights(old, sy.weights(new, "{proj,norm}/*"), strict=True)
    assert_untouched(new, before)
    changes = sy.copy_weights(
        old, sy.weights(new, "{proj,norm}/*"), strict=True, rename={"head": None}
    )
    assert len(changes.copied) == 6


def test_a_copy_of_nothing_is_an_error():
    old = net(2)
    inputs = keras.Input((4,))
    nested = keras.Model(inputs, net(2, "body")(inputs))
    with pytest.raises(CopyError, match=r"rename=\{'': 'body'\}"):
        sy.copy_weights(old, nested)
    with pytest.raises(CopyError, match=r"rename=\{'body': ''\}"):
        sy.copy_weights(nested, old)
    with pytest.raises(CopyError, match=r"(?s)The source has .*nearest in the source is 'pro/ker"):
        sy.copy_weights(File({"pro/kernel": np.zeros((4, 3), "float32")}), old)
    with pytest.raises(CopyError, match="No weight can be copied:\n  skipped proj/kernel: shape"):
        sy.copy_weights(File({"proj/kernel": np.zeros((4, 9), "float32")}), old)
    with pytest.raises(CopyError, match="`rename` leaves all of them out"):
        sy.copy_weights(old, net(), rename=lambda a: None)


def test_two_for_one_is_an_error():
    old, new = net(4, units=4), net(4, units=4)
    before = held(new)
    with pytest.raises(AmbiguousAddressError, match=r"rename=\{'head/kernel': None\}"):
        sy.copy_weights(old, new, rename={"head": "proj"})
    with pytest.raises(UnknownAddressError, match="'haed', which fits no weight"):
        sy.copy_weights(old, new, rename={"haed": "proj"})
    assert_untouched(new, before)


def test_reshape_is_asked_for():
    source = File({"proj/kernel": np.arange(12, dtype="float32").reshape(4, 1, 3)})
    model = net()
    with pytest.raises(CopyError, match=r"\(4, 1, 3\) does not fit \(4, 3\); `reshape=True` would"):
        sy.copy_weights(source, model)
    changes = sy.copy_weights(source, model, reshape=True)
    assert changes.reshaped.addresses == ("proj/kernel",)
    assert changes[0].source_shape == (4, 1, 3)
    kernel = sy.weights(model)["proj/kernel"].numpy()
    np.testing.assert_array_equal(kernel, np.arange(12).reshape(4, 3))


def test_what_cannot_be_a_source_or_target():
    file = File.of(net())
    assert isinstance(file, WeightSource)
    with pytest.raises(SourceError, match="a File can only be read"):
        sy.copy_weights(net(), file)
    with pytest.raises(SourceError, match="not built yet"):
        sy.copy_weights(net(), keras.Sequential([layers.Dense(2)]))
    with pytest.raises(SourceError, match=r"builtins\.int"):
        sy.copy_weights(3, net())


def test_layers_that_are_not_built_are_told():
    @keras.saving.register_keras_serializable(package="test_copy")
    class Half(keras.Model):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.proj, self.later = layers.Dense(3), layers.Dense(2)

        def call(self, x):
            return self.proj(x)

    half = Half()
    half(X)
    changes = sy.copy_weights(net(), half)
    assert repr(changes).endswith("In the target: Not built yet, so not listed: 'later'.")


# --- Shared, and the same ------------------------------------------------------------------------


class Two(keras.Model):
    def __init__(self, left, right, **kwargs):
        super().__init__(**kwargs)
        self.left, self.right = left, right

    def call(self, x):
        return self.right(self.left(x))


def two(shared, seed):
    left = layers.Dense(4)
    model = Two(left, left if shared else layers.Dense(4))
    model(X)
    return randomize(model, seed)


def test_from_shared_to_apart():
    shared, apart = two(True, 1), two(False, 2)
    assert len(sy.copy_weights(shared, apart, strict=True).copied) == 4
    np.testing.assert_array_equal(output(apart), output(shared))


def test_from_apart_to_shared():
    shared, apart = two(True, 1), two(False, 2)
    before = held(shared)
    with pytest.raises(AmbiguousAddressError, match="'left/kernel' and 'right/kernel'"):
        sy.copy_weights(apart, shared)
    assert_untouched(shared, before)
    changes = sy.copy_weights(apart, shared, rename={"left": None})
    assert changes["left/kernel"].source == "right/kernel"
    np.testing.assert_array_equal(
        sy.weights(shared)["left/kernel"].numpy(), sy.weights(apart)["right/kernel"].numpy()
    )
    for a, b in zip(apart.left.weights, apart.right.weights, strict=True):
        a.assign(b)
    changes = sy.copy_weights(apart, shared, strict=True)
    assert changes.merged.addresses == ("right/kernel", "right/bias")
    np.testing.assert_array_equal(output(apart), output(shared))


def test_a_model_and_a_part_of_it():
    inputs = keras.Input((4,))
    body = net(3, "body")
    model = keras.Model(inputs, layers.Dense(1, name="out")(body(inputs)))
    before = held(model)
    changes = sy.copy_weights(model, body, rename={"body": ""})
    assert len(changes.unchanged) == 8
    assert_untouched(model, before)
    assert len(sy.copy_weights(model, model, strict=True).unchanged) == len(model.weights)


def test_layers_of_one_model_change_places():
    model = two(False, 1)
    wanted = {a: sy.weights(model)[a].numpy() for a in sy.weights(model).addresses}
    changes = sy.copy_weights(model, model, rename={"left": "right", "right": "left"}, strict=True)
    assert len(changes.copied) == 4
    for name in ("kernel", "bias"):
        for one, other in (("left", "right"), ("right", "left")):
            got = sy.weights(model)[f"{one}/{name}"].numpy()
            np.testing.assert_array_equal(got, wanted[f"{other}/{name}"])


# --- What is copied ------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "mixed_float16"])
def test_other_dtypes(dtype):
    old, new = net(), net(seed=4, dtype=dtype)
    changes = sy.copy_weights(old, new, strict=True)
    narrow = dtype.removeprefix("mixed_")
    cast = dtype == narrow
    assert changes["proj/kernel"].reason == (f"cast from float32 to {narrow}" if cast else "")
    for weight in sy.weights(old):
        wanted = weight.numpy().astype(numpy_dtype(sy.weights(new)[weight.address].dtype))
        got = sy.weights(new)[weight.address].numpy()
        np.testing.assert_array_equal(got, wanted.astype("float32"))
    back = net(seed=5)
    sy.copy_weights(new, back, strict=True)
    assert_same(back, new)


def test_a_value_that_a_dtype_cannot_hold_is_an_error():
    old, new = net(), net(seed=4, dtype="float16")
    old.get_layer("head").bias.assign([1e5, 0])
    before = held(new)
    with pytest.raises(CopyError, match="head/bias: float16 cannot hold 1 of its 2 values"):
        sy.copy_weights(old, new)
    assert_untouched(new, before)
    sy.copy_weights(old, new, rename={"head/bias": None})
    np.testing.assert_allclose(
        sy.weights(new)["head/kernel"].numpy(), sy.weights(old)["head/kernel"].numpy(), rtol=1e-3
    )


def lora(model, rank, seed=7):
    model.get_layer("proj").enable_lora(rank)
    return randomize(model, seed)


def test_lora_arrives_merged():
    old, new = lora(net(), 2), net(seed=4)
    changes = sy.copy_weights(old, new, strict=True)
    assert changes.merged.addresses == ("proj/lora_kernel_a", "proj/lora_kernel_b")
    np.testing.assert_allclose(output(new), output(old), rtol=1e-5)
    assert_same(new, old, ["proj/kernel"])


@pytest.mark.parametrize("rank", [None, 1])
def test_under_lora_the_base_moves(rank):
    old, new = net(), lora(net(seed=4), 2)
    old = old if rank is None else lora(old, rank)
    factors = [held(new)[v.path] for v in new.get_layer("proj").weights if "lora" in v.path]
    changes = sy.copy_weights(old, new, strict=True)
    assert "proj/kernel" in changes.copied
    assert "with its lora_kernel_a and lora_kernel_b" in changes["proj/kernel"].reason
    assert {"proj/lora_kernel_a", "proj/lora_kernel_b"} <= set(changes.merged.addresses)
    np.testing.assert_allclose(output(new), output(old), rtol=1e-5, atol=1e-5)
    after = [held(new)[v.path] for v in new.get_layer("proj").weights if "lora" in v.path]
    np.testing.assert_array_equal(after[0], factors[0])


def test_lora_to_lora_alike_is_exact():
    old, new = lora(net(), 2), lora(net(seed=4), 2, seed=8)
    assert len(sy.copy_weights(old, new, strict=True).copied) == 10
    for a, b in zip(old.get_weights(), new.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_lora_factors_alone():
    old, new = lora(net(), 2), lora(net(), 2, seed=8)
    base = np.array(new.get_layer("proj")._kernel)
    sy.copy_weights(old, new, select="**/lora_*", strict=True)
    np.testing.assert_array_equal(np.array(new.get_layer("proj")._kernel), base)
    np.testing.assert_array_equal(
        sy.weights(new)["proj/lora_kernel_a"].numpy(), sy.weights(old)["proj/lora_kernel_a"].numpy()
    )


def quantized(model, mode):
    for layer in (model.get_layer("proj"), model.get_layer("head")):
        layer.quantize(mode)
    return model


@pytest.mark.parametrize("mode", ["int8", "int4"])
def test_codes_arrive_as_floats(mode):
    old, new = quantized(net(), mode), net(seed=4)
    changes = sy.copy_weights(old, new, strict=True)
    assert changes["proj/kernel"].reason == "scaled back from int8 codes"
    assert {c.reason for c in changes.merged} == {
        "a part of the value of 'proj/kernel'",
        "a part of the value of 'head/kernel'",
    }
    assert_same(new, old, ["proj/kernel", "head/kernel"])


@pytest.mark.in_turn
@pytest.mark.parametrize("mode", ["int8", "int4"])
def test_codes_to_codes(mode):
    old, new = quantized(net(), mode), quantized(net(seed=4), mode)
    changes = sy.copy_weights(old, new, strict=True)
    assert len(changes.copied) == len(changes)
    np.testing.assert_array_equal(output(new), output(old))
    kernels = quantized(net(seed=6), mode)
    sy.copy_weights(old, kernels, select="**/kernel", strict=True)  # codes come with their scales
    assert_same(kernels, old, ["proj/kernel", "head/kernel"])


@pytest.mark.in_turn
@pytest.mark.parametrize("mode", [None, "int4"])
def test_codes_take_no_other_values(mode):
    old, new = net(), quantized(net(seed=4), "int8")
    old = old if mode is None else quantized(old, mode)
    before = held(new)
    with pytest.raises(CopyError) as caught:
        sy.copy_weights(old, new)
    assert "2 weights of the target cannot take" in str(caught.value)
    assert "proj/kernel: 'proj/kernel' is stored as int8 codes" in str(caught.value)
    assert_untouched(new, before)
    changes = sy.copy_weights(old, new, select="**/bias")
    assert changes.copied.addresses == ("proj/bias", "head/bias")


def test_whole_numbers_must_stay_exact():
    def counts(dtype, value):
        layer = layers.Layer()
        layer.w = layer.add_weight(shape=(2,), name="w", dtype=dtype, trainable=False)
        layer.built = True
        layer.w.assign(value)
        return layer

    target = counts("float32", [0, 0])
    sy.copy_weights(counts("int32", [3, -4]), target)
    np.testing.assert_array_equal(sy.weights(target)["w"].numpy(), [3, -4])
    with pytest.raises(CopyError, match="float32 cannot hold its int32 values exactly"):
        sy.copy_weights(counts("int32", [2**24 + 1, 0]), target)
    with pytest.raises(CopyError, match="int32 cannot hold its float32 values exactly"):
        sy.copy_weights(counts("float32", [0.5, 0]), counts("int32", [0, 0]))
    np.testing.assert_array_equal(sy.weights(target)["w"].numpy(), [3, -4])


# --- Tied and parametrized -----------------------------------------------------------------------


def test_to_and_from_a_tied_model():
    plain, tied = two(False, 1), two(False, 2)
    sy.tie(tied.right, "kernel", to=sy.ref(tied.left, "kernel"))
    with pytest.raises(AmbiguousAddressError, match="'left/kernel' and 'right/kernel'"):
        sy.copy_weights(plain, tied)
    sy.copy_weights(plain, tied, rename={"right/kernel": None})
    for layer in (tied.left, tied.right):
        np.testing.assert_array_equal(
            np.array(keras.ops.convert_to_numpy(layer.kernel)),
            sy.weights(plain)["left/kernel"].numpy(),
        )
    sy.copy_weights(tied, plain, strict=True)
    np.testing.assert_array_equal(output(plain), output(tied))


def test_to_and_from_a_weight_tied_with_a_transform():
    plain, tied = two(False, 1), two(False, 2)
    sy.tie(tied.right, "kernel", to=sy.ref(tied.left, "kernel"), transform="transpose")
    changes = sy.copy_weights(plain, tied)
    assert changes["right/kernel"].kind == "unused"
    assert changes["right/kernel"].reason == "the target works it out from other weights"
    assert_same(tied, plain, ["left/kernel", "left/bias", "right/bias"])
    sy.copy_weights(tied, plain, strict=True)
    assert_same(plain, tied, ["left/kernel", "right/kernel"])
    np.testing.assert_allclose(output(plain), output(tied), rtol=1e-5)


def test_to_and_from_a_parametrized_model():
    class Exp:
        def forward(self, x):
            return keras.ops.exp(x)

        def right_inverse(self, x):
            return keras.ops.log(x)

    plain, one, other = two(False, 1), two(False, 2), two(False, 5)
    for model in (one, other):
        sy.parametrize(model.left, "kernel", Exp())
    sy.copy_weights(plain, one, strict=True)
    np.testing.assert_allclose(output(one), output(plain), rtol=1e-5)
    assert len(sy.copy_weights(one, other, strict=True).copied) == 4
    np.testing.assert_array_equal(output(one), output(other))
    sy.copy_weights(one, plain, strict=True)
    np.testing.assert_allclose(output(plain), output(one), rtol=1e-6)


def test_a_parametrized_weight_that_cannot_take_a_value():
    plain, model = two(False, 1), two(False, 2)
    sy.parametrize(model.left, "kernel", keras.ops.exp)
    before = held(model)
    with pytest.raises(CopyError, match="left/kernel: "):
        sy.copy_weights(plain, model)
    assert_untouched(model, before)


# --- All or nothing ------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
@pytest.mark.parametrize("address", ["proj/kernel", "norm/beta", "head/bias"])
def test_a_source_that_breaks_off(error, address):
    model = lora(net(), 2)
    before = held(model)
    file = File.of(net(seed=4), fails_at=address, error=error)
    with pytest.raises(error, match="the disk is gone"):
        sy.copy_weights(file, model)
    assert_untouched(model, before)


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_assignment_that_breaks_off(error, monkeypatch):
    model = net(dtype="float16")
    before = held(model)
    last = model.get_layer("head").bias
    assign = type(last).assign
    broken = []

    def fails_once(self, value):
        if self is last and not broken:
            broken.append(self)
            assign(self, value)
            raise error("in the middle")
        return assign(self, value)

    monkeypatch.setattr(type(last), "assign", fails_once)
    with pytest.raises(error, match="in the middle"):
        sy.copy_weights(net(seed=4), model)
    assert_untouched(model, before)


def test_a_target_of_one_s_own_is_put_back():
    class Store(File):
        def variable(self, address):
            return address

        def assign(self, address, value):
            if address == "c":
                raise RuntimeError("full")
            self.arrays[address] = np.array(value)

    target = Store({name: np.zeros(2, "float32") for name in "abc"})
    source = File({name: np.ones(2, "float32") for name in "abc"})
    with pytest.raises(RuntimeError, match="full"):
        sy.copy_weights(source, target)
    assert not any(array.any() for array in target.arrays.values())
    sy.copy_weights(source, target, select="{a,b}")
    assert target.arrays["a"].all() and target.arrays["b"].all()


def test_one_value_at_a_time():
    model, source = net(), net(seed=4)
    file, arrived = File.of(source), []

    def read(address):
        arrived.append(model.get_weights()[0])
        return File.read(file, address)

    first = model.get_weights()[0]
    file.read = read
    sy.copy_weights(file, model, strict=True)
    assert len(arrived) == 8  # each is read once
    np.testing.assert_array_equal(arrived[0], first)
    np.testing.assert_array_equal(arrived[1], source.get_weights()[0])
    assert_same(model, source)


def test_aliases_of_a_file():
    kernel = np.ones((4, 3), "float32")
    file = File({"a": kernel}, aliases={"a": ("proj/kernel",)})
    assert sy.copy_weights(file, net())["proj/kernel"].source == "proj/kernel"


# --- While and after training --------------------------------------------------------------------


def test_a_compiled_model_takes_the_new_values():
    old, new = net(), net(seed=4)
    new.compile("sgd", "mse")
    new.fit(X, np.zeros((8, 2)), verbose=0)
    new.predict(X, verbose=0)
    sy.copy_weights(old, new, strict=True)
    np.testing.assert_allclose(new.predict(X, verbose=0), output(old), rtol=1e-5)
    new.fit(X, np.zeros((8, 2)), verbose=0)
    assert not np.allclose(new.predict(X, verbose=0), output(old), rtol=1e-3)


@pytest.mark.parametrize("hook", ["on_train_batch_begin", "on_train_batch_end", "on_epoch_end"])
def test_out_of_a_model_in_training(hook):
    online, follower = net(), net(seed=4)
    online.compile(keras.optimizers.SGD(0.01), "mse")
    seen = []

    # Not by `Callback.model`, which brings the values of its own model back on JAX.
    def follow(*args, **kwargs):
        sy.copy_weights(online, follower, strict=True)
        seen.append(sy.weights(follower)["proj/kernel"].numpy())

    callback = keras.callbacks.LambdaCallback()
    setattr(callback, hook, follow)
    online.fit(X, np.zeros((8, 2)), batch_size=4, epochs=2, verbose=0, callbacks=[callback])
    assert not any(np.array_equal(a, b) for a, b in pairwise(seen))
    if hook != "on_train_batch_begin":
        assert_same(follower, online)


@pytest.mark.parametrize("hook", ["on_train_batch_begin", "on_train_batch_end", "on_epoch_end"])
def test_into_a_model_in_training(hook):
    model, source = net(), net(seed=4)
    model.compile(keras.optimizers.SGD(0.0), "mse")
    assert not np.array_equal(model.get_layer("proj").kernel, source.get_layer("proj").kernel)
    done = []

    def once(*args, **kwargs):
        if len(done) < 2:
            done.append(sy.copy_weights(source, model, select="{proj,head}/*", strict=True))

    callback = keras.callbacks.LambdaCallback()
    setattr(callback, hook, once)
    model.fit(X, np.zeros((8, 2)), batch_size=4, epochs=3, verbose=0, callbacks=[callback])
    assert_same(model, source, ["proj/kernel", "head/bias"])


@pytest.mark.parametrize("of", ["evaluate", "predict"])
def test_between_the_batches_of_evaluate_and_predict(of):
    model, source = net(), net(seed=4)
    model.compile("sgd", "mse")
    follower = net(seed=5)

    def both(*args, **kwargs):
        sy.copy_weights(model, follower, strict=True)
        sy.copy_weights(source, model, strict=True)

    callback = keras.callbacks.LambdaCallback()
    callback.on_test_batch_end = callback.on_predict_batch_end = both
    wanted = held(model)
    given = (X, np.zeros((8, 2))) if of == "evaluate" else (X,)
    getattr(model, of)(*given, batch_size=8, verbose=0, callbacks=[callback])
    assert_same(model, source)
    kernel = next(array for path, array in wanted.items() if path.endswith("proj/kernel"))
    np.testing.assert_array_equal(sy.weights(follower)["proj/kernel"].numpy(), kernel)
