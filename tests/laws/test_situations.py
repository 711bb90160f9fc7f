"""Situations outside the contract in which a number was wrong, or a good model refused, once."""

import keras
import numpy as np
import pytest
from keras import layers, ops

import steelyard as sy

X4 = np.random.default_rng(1).normal(size=(6, 4)).astype("float32")
X3 = np.random.default_rng(2).normal(size=(6, 3)).astype("float32")
CLOSE = {"rtol": 1e-4, "atol": 1e-5}
register = keras.saving.register_keras_serializable(package="situations")


def array(tensor):
    return ops.convert_to_numpy(tensor)


def said(model, x):
    return model.predict(x, verbose=0)


def same(left, right):
    np.testing.assert_allclose(left, right, **CLOSE)


@pytest.fixture
def reload(tmp_path):
    def there_and_back(model):
        model.save(tmp_path / "model.keras")
        return keras.models.load_model(tmp_path / "model.keras")

    return there_and_back


def built(units=3, inputs=4, **kwargs):
    layer = layers.Dense(units, **kwargs)
    layer.build((None, inputs))
    return layer


def alone(layer):
    code = keras.Input((3,))
    return keras.Model(code, layer(code))


@register
class TwoOwners(sy.layers.Borrower):
    def __init__(self, first, second, **kwargs):
        super().__init__(**kwargs)
        self.first, self.second = self.borrow(first), self.borrow(second)

    def call(self, x):
        return ops.matmul(x, ops.transpose(self.first() + 2 * self.second()))


@register
class Scaled(sy.layers.Borrower):
    """Has a weight of its own, of the borrowed one's shape and made before it is borrowed."""

    def __init__(self, owner, **kwargs):
        super().__init__(**kwargs)
        self.scale = self.add_weight(shape=(4, 3), initializer="ones", name="scale")
        self.kernel = self.borrow(owner)

    def call(self, x):
        return ops.matmul(x, ops.transpose(self.kernel() * self.scale**2 + self.scale))


@register
class Stored(sy.layers.Borrower):
    def __init__(self, owner, **kwargs):
        super().__init__(**kwargs)
        self.kernel = self.borrow(owner, stored=True)

    def call(self, x):
        return ops.matmul(x, ops.transpose(self.kernel()))


@register
class Several(sy.layers.Borrower):
    def __init__(self, first, *more, flag=1, **kwargs):
        super().__init__(**kwargs)
        self.kernels = [self.borrow(owner) for owner in (first, *more)]

    def call(self, x):
        return sum(ops.matmul(x, ops.transpose(kernel())) for kernel in self.kernels)


@register
class Parts(keras.Model):
    """Writes its parts in a comprehension, which has a stack frame of its own."""

    def __init__(self, parts, **kwargs):
        super().__init__(**kwargs)
        self.parts = parts

    def call(self, x):
        for part in self.parts:
            x = part(x)
        return x

    def get_config(self):
        return {"parts": [keras.saving.serialize_keras_object(part) for part in self.parts]}

    @classmethod
    def from_config(cls, config):
        return cls([keras.saving.deserialize_keras_object(part) for part in config["parts"]])


@register
class OfAPart(sy.layers.Borrower):
    def __init__(self, model, **kwargs):
        super().__init__(**kwargs)
        self.kernel = self.borrow(model.layers[0])

    def call(self, x):
        return ops.matmul(x, ops.transpose(self.kernel()))


def autoencoder():
    inputs = keras.Input((4,))
    encoder = layers.Dense(3, name="encoder")
    return keras.Model(inputs, sy.layers.TiedDense(encoder, name="decoder")(encoder(inputs)))


def test_an_observer_does_not_reorder_the_layers(tmp_path):
    """Files are keyed by the order of layers: another order loads equal shapes swapped."""

    def make(observed):
        inputs = keras.Input((4,))
        a, b = layers.Dense(4, name="a"), layers.Dense(4, name="b")
        difference = a(inputs) - b(inputs)
        if observed:
            return keras.Model(inputs, [difference, sy.layers.WeightAnalyzer(b)(inputs)])
        return keras.Model(inputs, difference)

    observed, plain = make(True), make(False)
    observed.save_weights(tmp_path / "x.weights.h5")
    plain.load_weights(tmp_path / "x.weights.h5")
    same(said(plain, X4), said(observed, X4)[0])


def test_a_wrapper_remade_from_its_config_reads_the_same_owner():
    owner = built()
    wrapper = layers.TimeDistributed(sy.layers.TiedDense(owner, use_bias=False))
    expected = array(wrapper(X3[:, None]))
    twin = layers.TimeDistributed.from_config(wrapper.get_config())
    same(array(twin(X3[:, None])), expected)


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize(
    "make",
    [
        lambda: TwoOwners(built(name="a"), built(name="b")),
        lambda: Scaled(built()),
        lambda: Several(built(name="a"), built(name="b"), built(name="c"), flag=2),
    ],
    ids=["two owners", "weights of its own", "any number of owners"],
)
def test_a_borrower_saved_without_its_owners(make, times, reload):
    layer = make()
    model = alone(layer)
    for variable in layer.weights:
        variable.assign(np.random.default_rng(3).normal(size=variable.shape))
    expected = said(model, X3)
    for _ in range(times):
        model = reload(model)
    same(said(model, X3), expected)


def test_what_is_stored_is_saved_as_it_is_stored(reload):
    owner = built()
    owner.enable_lora(2)
    owner.lora_kernel_b.assign(np.ones((2, 3)))
    model = alone(Stored(owner))
    expected = said(model, X3)
    same(expected, X3 @ array(owner._kernel).T)
    same(said(reload(model), X3), expected)


def test_two_borrowers_saved_without_their_owner_stay_tied(reload):
    owner, code = built(name="owner"), keras.Input((3,))
    first = sy.layers.TiedDense(owner, use_bias=False, name="first")
    second = sy.layers.TiedDense(owner, use_bias=False, name="second")
    model = keras.Model(code, first(code) + second(code))
    for _ in range(2):
        expected = said(model, X3)
        model = reload(model)
        same(said(model, X3), expected)
        assert len(model.trainable_variables) == 1
        model.compile("sgd", "mse")
        model.fit(X3, X4, verbose=0)
        same(said(model, X3), 2 * X3 @ array(model.trainable_variables[0]).T)


def test_any_number_of_owners(reload):
    inputs = keras.Input((4,))
    owners = [layers.Dense(3, name=f"owner_{i}") for i in range(3)]
    model = keras.Model(inputs, Several(*owners, flag=2)(sum(o(inputs) for o in owners)))
    same(said(reload(model), X4), said(model, X4))


def test_parts_written_in_a_comprehension(reload):
    encoder = layers.Dense(3)
    halves = [
        keras.Sequential([keras.Input((4,)), encoder]),
        keras.Sequential([keras.Input((3,)), sy.layers.TiedDense(encoder)]),
    ]
    model = Parts(halves)
    expected = array(model(X4))
    twin = reload(model)
    # The second half first: its owner is in the other one.
    same(said(twin.parts[1], X3), X3 @ array(twin.parts[0].layers[0].kernel).T)
    same(array(twin(X4)), expected)


def test_a_part_of_an_argument_is_not_written_down_twice():
    inputs = keras.Input((4,))
    inner = keras.Sequential([keras.Input((4,)), layers.Dense(3)])
    model = keras.Model(inputs, OfAPart(inner)(inner(inputs)))
    with pytest.raises(sy.SteelyardError, match="hand over the part"):
        model.get_config()


@pytest.mark.parametrize(
    ("names", "found"),
    [({"d1": "d2", "d2": "d3"}, None), ({"d1": "ema_d1", "d2": "ema_d2"}, "ema_d2")],
    ids=["to the neighbor's name", "with a prefix"],
)
def test_a_clone_under_other_names(names, found):
    inputs = keras.Input((4,))
    d1, d2 = layers.Dense(4, name="d1"), layers.Dense(4, name="d2")
    tied = sy.layers.TiedDense(d2, name="tied", use_bias=False)
    model = keras.Model(inputs, tied(d2(d1(inputs))))

    def renamed(layer):
        config = layer.get_config()
        config["name"] = names.get(layer.name, layer.name)
        return type(layer).from_config(config)

    if found is None:  # a refusal, never the neighbor
        with pytest.raises(sy.SteelyardError, match="not clear"):
            keras.models.clone_model(model, clone_function=renamed)
    else:
        clone = keras.models.clone_model(model, clone_function=renamed)
        assert clone.get_layer("tied").kernel.layer is clone.get_layer(found)


def test_an_address_means_the_nearest_layer_of_that_name():
    class Inner(layers.Layer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.enc = layers.Dense(4)
            self.dec = sy.layers.TiedDense("enc", use_bias=False)

        def build(self, shape):
            self.enc.build(shape)

        def call(self, x):
            return self.dec(self.enc(x))

    class Outer(keras.Model):
        def __init__(self):
            super().__init__()
            self.enc = layers.Dense(4)
            self.inner = Inner()

        def call(self, x):
            return self.inner(self.enc(x))

    outer = Outer()
    outer(X4)
    assert outer.inner.dec.kernel.layer is outer.inner.enc


def test_what_was_read_stays_what_it_was():
    layer = built()
    before = sy.ref(layer)()
    kernel = array(layer.kernel).copy()
    layer.kernel.assign(layer.kernel * 2 + 1)
    same(array(before), kernel)


def test_another_model_may_train_meanwhile():
    model = autoencoder()
    decoder = alone(model.get_layer("decoder"))
    other = keras.Sequential([layers.Dense(1)])
    other.compile("sgd", "mse")
    seen = []
    watch = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: seen.append(said(decoder, X3))
    )
    other.fit(X4, X4[:, :1], callbacks=[watch], verbose=0)
    kernel, bias = array(model.get_layer("encoder").kernel), model.get_layer("decoder").bias
    same(seen[0], X3 @ kernel.T + array(bias))


def test_a_frozen_owner_elsewhere_is_no_reason_to_refuse():
    model = autoencoder()
    model.get_layer("encoder").trainable = False
    decoder = alone(model.get_layer("decoder"))
    head = keras.Sequential([keras.Input((3,)), layers.Dense(3), decoder])
    head.compile("sgd", "mse")
    head.fit(X3, X4, verbose=0)


def test_a_callback_reads_the_value_of_now():
    model = autoencoder()
    encoder = model.get_layer("encoder")
    reference, seen = sy.ref(encoder), []

    class Watch(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            seen.append(float(np.linalg.norm(array(reference()))))

    model.compile("sgd", "mse")
    model.fit(X4, X4, batch_size=2, epochs=2, verbose=0, callbacks=[Watch()])
    assert len(set(seen)) == 6
    assert seen[-1] == pytest.approx(np.linalg.norm(array(encoder.kernel)), rel=1e-5)


def test_an_owner_outside_in_bfloat16():
    owner = built(dtype="bfloat16")
    model = alone(sy.layers.TiedDense(owner, use_bias=False))
    kernel = np.asarray(array(sy.ref(owner)())).astype("float32")
    np.testing.assert_allclose(said(model, X3), X3 @ kernel.T, rtol=0.02, atol=0.02)


def test_a_loaded_observer_is_called_once_more(reload):
    inputs = keras.Input((4,))
    layer = layers.Dense(3)
    model = keras.Model(
        inputs, [layer(inputs), sy.layers.WeightAnalyzer(layer, name="seen")(inputs)]
    )
    twin = reload(model)
    again = keras.Model(twin.input, [twin.outputs[1], twin.get_layer("seen")(twin.input)])
    first, second = said(again, X4)
    same(first, second)


def test_a_reference_is_not_taken_for_an_array():
    reference = sy.ref(built())
    with pytest.raises(Exception, match=r"call it for its value"):
        ops.matmul(X4, reference)


@pytest.mark.parametrize(
    "index", [([0, 1], [1, 2]), (0, [1, 2]), np.array([[0, 1], [1, 2]]), 9, [9]], ids=repr
)
def test_an_index_that_backends_differ_on_is_refused(index):
    with pytest.raises(sy.SteelyardError):
        sy.ref(built())[index]()
