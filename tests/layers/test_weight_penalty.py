"""`WeightPenalty`: counted once a step, whoever calls it how often."""

import copy

import keras
import numpy as np
import pytest
from keras import ops
from tests.laws.layer import BACKEND, exported
from tests.laws.users import Penalized, apart, entries, total

import steelyard as sy
from steelyard import errors

CLOSE = dict(rtol=1e-4, atol=1e-5)
X = np.random.default_rng(0).normal(size=(6, 4)).astype("float32")
ZEROS = np.zeros((6, 3), "float32")


def array(tensor):
    return np.array(ops.convert_to_numpy(tensor), "float64")


def randomize(model):
    draw = np.random.default_rng(5)
    for variable in model.weights:
        variable.assign(draw.normal(0, 0.5, variable.shape))
    return model


def model_of(penalty, strength=1.0, of=("a", "b"), **kwargs):
    inputs = keras.Input((4,))
    layers = {name: keras.layers.Dense(3, name=name) for name in ("a", "b")}
    both = layers["a"](inputs) + layers["b"](inputs)
    held = [layers[name] for name in of] if isinstance(of, tuple) else layers[of]
    outputs = sy.layers.WeightPenalty(held, penalty, strength, name="penalty", **kwargs)(both)
    return randomize(keras.Model(inputs, outputs))


def kernels(model):
    return [array(model.get_layer(name).kernel) for name in ("a", "b")]


def step(model, rate=0.1, log="loss", **kwargs):
    """One step on the penalties alone; gives the loss."""
    model.compile(keras.optimizers.SGD(rate), None, **kwargs)
    return model.fit(X, ZEROS, batch_size=6, verbose=0).history[log][0]


def losses(model):
    return [float(array(loss)) for loss in model.losses]


def l2(*values):
    return 0.01 * sum(np.sum(value**2) for value in values)


# --- What a penalty can be ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("penalty", "of", "wanted"),
    [
        ("l2", "a", lambda a, b: l2(a)),
        ("l2", ("a",), lambda a, b: l2(a)),
        ("l2", ("a", "b"), lambda a, b: l2(a, b)),
        ("l1", ("a", "b"), lambda a, b: 0.01 * (np.abs(a).sum() + np.abs(b).sum())),
        ("l2_norm", ("a", "b"), lambda a, b: np.linalg.norm(a) + np.linalg.norm(b)),
        (keras.regularizers.L2(0.5), ("a", "b"), lambda a, b: 50 * l2(a, b)),
        (keras.regularizers.L2, "a", lambda a, b: l2(a)),
        (entries, "a", lambda a, b: a.sum()),
        (apart, ("a", "b"), lambda a, b: np.sum((a - b) ** 2)),
        (total, ("a", "b"), lambda a, b: a.sum() + b.sum()),
        (lambda *values: ops.sum(values[1]), ("a", "b"), lambda a, b: b.sum()),
        (lambda value, axis=None: ops.sum(value, axis), "a", lambda a, b: a.sum()),
    ],
)
def test_what_a_penalty_can_be(penalty, of, wanted):
    model = model_of(penalty, 2.0, of)
    assert losses(model) == [pytest.approx(2 * wanted(*kernels(model)), rel=1e-4)]
    value = 2 * wanted(*kernels(model))
    np.testing.assert_allclose(step(model), value, **CLOSE)
    scored = model.evaluate(X, ZEROS, verbose=0)
    np.testing.assert_allclose(scored, 2 * wanted(*kernels(model)), **CLOSE)


def test_references_and_other_weights():
    a, b = keras.layers.Dense(3, name="a"), keras.layers.Dense(3, name="b")
    for layer in (a, b):
        layer.build((None, 4))
        layer.bias.assign([1.0, 2.0, 3.0])
    a.kernel.assign(np.full((4, 3), 2.0))
    of = [a, sy.ref(b, "kernel")[:, :1], b.bias]
    penalty = sy.layers.WeightPenalty(of, total, weight="bias")
    b_part = array(b.kernel)[:, 0].sum()
    assert losses(penalty) == [pytest.approx(12.0 + b_part, rel=1e-5)]
    assert [record.target for record in sy.references(penalty)] == ["a/bias", "b/kernel", "b/bias"]


def test_passes_its_input_through():
    penalty = sy.layers.WeightPenalty(keras.layers.Dense(3), "l2", dtype="mixed_float16")
    for x in (np.full((2, 3), 70000.0, "float32"), np.arange(6, dtype="int32").reshape(2, 3)):
        got = penalty(x)
        assert keras.backend.standardize_dtype(got.dtype) == x.dtype
        np.testing.assert_array_equal(array(got), x)
    got = penalty({"a": X, "b": [X[:, :1]]})
    np.testing.assert_array_equal(array(got["b"][0]), X[:, :1])
    inputs = keras.Input((3,), dtype="int32")
    assert (penalty(inputs).shape, penalty(inputs).dtype) == ((None, 3), "int32")


def test_keeps_masks():
    ids = keras.Input((4,), dtype="int32")
    table = keras.layers.Embedding(5, 3, mask_zero=True)
    model = keras.Model(ids, sy.layers.WeightPenalty(table, "l2", weight="embeddings")(table(ids)))
    mask = model(np.array([[1, 2, 0, 0]]))._keras_mask
    assert array(mask).tolist() == [[1, 1, 0, 0]]


# --- What is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("penalty", "of", "match"),
    [
        (lambda value: value, "a", r"shape \(4, 3\).*'a/kernel'"),
        (lambda a, b: ops.sum(a + b, axis=0), ("a", "b"), r"shape \(3,\)"),
        (lambda a, b, c: ops.sum(a), ("a", "b"), "2 weights.* 3 arguments"),
        ("l3", "a", "no penalty 'l3'.*'l2'.*l2_norm"),
        (3.0, "a", "Received: 3.0"),
        (None, "a", "Received: None"),
        (keras.constraints.NonNeg(), "a", "a Keras regularizer"),
        ("l2", (), "no layer"),
    ],
)
def test_what_is_no_penalty(penalty, of, match):
    with pytest.raises(sy.SteelyardError, match=match):
        model_of(penalty, of=of)


@pytest.mark.parametrize("strength", ["much", None, float("nan"), float("inf")])
def test_a_strength_is_a_number(strength):
    with pytest.raises(sy.SteelyardError, match="finite number"):
        model_of("l2", strength)


def test_no_scalar_from_a_layer_that_is_built_later():
    dense = keras.layers.Dense(3, name="later")
    penalty = sy.layers.WeightPenalty(dense, lambda value: value)
    with pytest.raises(errors.UnbuiltOwnerError, match="'later'"):
        penalty.losses  # noqa: B018
    dense.build((None, 4))
    with pytest.raises(errors.ShapeMismatchError, match=r"\(4, 3\)"):
        penalty.losses  # noqa: B018


def test_one_that_cannot_train_anything():
    model = model_of(apart)
    for name in ("a", "b"):
        model.get_layer(name).trainable = False
    assert len(losses(model)) == 1
    model.compile("sgd", "mse")
    with pytest.raises((sy.SteelyardError, RuntimeError), match=r"can train nothing.*'a/kernel'"):
        model.fit(X, ZEROS, verbose=0)
    model.evaluate(X, ZEROS, verbose=0)


def test_one_that_can_train_one_of_its_weights():
    model = model_of(apart)
    model.get_layer("a").trainable = False
    was = kernels(model)
    step(model)
    now = kernels(model)
    np.testing.assert_array_equal(now[0], was[0])
    np.testing.assert_allclose(now[1], was[1] - 0.2 * (was[1] - was[0]), **CLOSE)


def test_one_that_lets_no_gradient_through():
    model = model_of("l2", of="a")
    read_only = sy.ref(model.get_layer("a"), stop_gradient=True)
    outputs = sy.layers.WeightPenalty(read_only, "l2")(model.outputs[0])
    with pytest.raises((sy.SteelyardError, RuntimeError), match="can train nothing"):
        step(keras.Model(model.inputs, outputs))


def test_a_frozen_penalty_is_a_mere_number():
    """A part of a GAN, penalty and all, is frozen while the other one trains."""
    model = model_of("l2")
    for name in ("a", "b", "penalty"):
        model.get_layer(name).trainable = False
    model.compile("sgd", "mse")
    loss = model.fit(X, ZEROS, batch_size=6, verbose=0).history["loss"]
    wanted = np.mean(array(model(X)) ** 2) + l2(*kernels(model))
    np.testing.assert_allclose(loss, [wanted], **CLOSE)


def test_freezing_the_penalty_freezes_nothing_else():
    model = model_of("l2")
    model.get_layer("penalty").trainable = False
    was = kernels(model)
    step(model)
    np.testing.assert_allclose(kernels(model), 0.998 * np.array(was), **CLOSE)


def test_an_owner_outside_the_model():
    outside = keras.layers.Dense(3, name="outside")
    outside.build((None, 4))
    inputs = keras.Input((4,))
    y = keras.layers.Dense(3)(inputs)
    model = keras.Model(inputs, sy.layers.WeightPenalty(outside, "l2")(y))
    assert losses(model) == [pytest.approx(l2(array(outside.kernel)), rel=1e-4)]
    with pytest.raises((sy.SteelyardError, RuntimeError), match=r"'outside'.* no part of it"):
        step(model)


def test_towards_a_teacher_outside_the_model():
    teacher = keras.layers.Dense(3, name="teacher")
    teacher.build((None, 4))
    inputs = keras.Input((4,))
    student = keras.layers.Dense(3, name="student")
    y = student(inputs)
    held = [student, sy.ref(teacher, stop_gradient=True)]
    model = keras.Model(inputs, sy.layers.WeightPenalty(held, apart)(y))
    was, goal = array(student.kernel), array(teacher.kernel)
    step(model)
    np.testing.assert_allclose(array(student.kernel), was - 0.2 * (was - goal), **CLOSE)
    teacher.kernel.assign(np.zeros((4, 3)))
    now = array(student.kernel)
    model.fit(X, ZEROS, batch_size=6, verbose=0)
    np.testing.assert_allclose(array(student.kernel), 0.8 * now, **CLOSE)


# --- Counted once ---------------------------------------------------------------------------------


def test_counted_though_it_is_never_called():
    model = Penalized()
    model(X)
    was = array(model.hidden.kernel)
    np.testing.assert_allclose(step(model), was.sum(), **CLOSE)
    np.testing.assert_allclose(array(model.hidden.kernel), was - 0.1, **CLOSE)
    np.testing.assert_allclose(losses(model), [array(model.hidden.kernel).sum()], **CLOSE)


def test_counted_in_a_model_that_fit_builds():
    model = Penalized()
    step(model)
    was = array(model.hidden.kernel)
    model.fit(X, ZEROS, batch_size=6, verbose=0)
    np.testing.assert_allclose(array(model.hidden.kernel), was - 0.1, **CLOSE)


def thrice():
    """A model whose step calls itself three times, written as Keras's guides write it."""

    class Thrice(Penalized):
        if BACKEND == "jax":

            def loss_of(self, trainable, non_trainable, x):
                for _ in range(3):
                    y, non_trainable, losses = self.stateless_call(
                        trainable, non_trainable, x, return_losses=True
                    )
                return sum(losses) + 0 * ops.sum(y), non_trainable

            def train_step(self, state, data):
                import jax

                trainable, non_trainable, optimizer, metrics = state
                function = jax.value_and_grad(self.loss_of, has_aux=True)
                (loss, non_trainable), slopes = function(trainable, non_trainable, data[0])
                trainable, optimizer = self.optimizer.stateless_apply(optimizer, slopes, trainable)
                return {"counted": loss}, (trainable, non_trainable, optimizer, metrics)

        elif BACKEND == "tensorflow":

            def train_step(self, data):
                import tensorflow as tf

                with tf.GradientTape() as tape:
                    y = self(data[0]) + self(data[0]) + self(data[0])
                    loss = sum(self.losses) + 0 * ops.sum(y)
                slopes = tape.gradient(loss, self.trainable_weights)
                self.optimizer.apply(slopes, self.trainable_weights)
                return {"counted": loss}

        else:

            def train_step(self, data):
                y = self(data[0]) + self(data[0]) + self(data[0])
                self.zero_grad()
                loss = sum(self.losses) + 0 * ops.sum(y)
                loss.backward()
                slopes = [v.value.grad for v in self.trainable_weights]
                self.optimizer.apply(slopes, self.trainable_weights)
                return {"counted": loss}

    return Thrice()


def test_counted_once_when_a_step_calls_the_model_three_times():
    model = thrice()
    model(X)
    was = array(model.hidden.kernel)
    np.testing.assert_allclose(step(model, log="counted"), was.sum(), **CLOSE)
    np.testing.assert_allclose(array(model.hidden.kernel), was - 0.1, **CLOSE)


def test_counted_once_in_a_siamese_model():
    left, right = keras.Input((4,)), keras.Input((4,))
    dense = keras.layers.Dense(3, name="dense")
    penalty = sy.layers.WeightPenalty(dense, entries, name="penalty")
    inner = keras.Input((4,))
    tower = keras.Model(inner, penalty(penalty(dense(inner))))
    model = keras.Model([left, right], tower(left) - penalty(tower(right)))
    was = array(dense.kernel)
    model.compile(keras.optimizers.SGD(0.1), None)
    loss = model.fit([X, X], ZEROS, batch_size=6, verbose=0).history["loss"]
    np.testing.assert_allclose(loss, [was.sum()], **CLOSE)
    np.testing.assert_allclose(array(dense.kernel), was - 0.1, **CLOSE)


@pytest.mark.parametrize("compiled", [{"jit_compile": True}, {"run_eagerly": True}])
def test_compiled_and_not(compiled):
    if BACKEND == "torch" and "jit_compile" in compiled:
        pytest.skip("torch.compile has its own compiler, which not every machine has")
    model = model_of(apart)
    a, b = kernels(model)
    np.testing.assert_allclose(step(model, **compiled), np.sum((a - b) ** 2), **CLOSE)
    np.testing.assert_allclose(kernels(model)[0], a - 0.2 * (a - b), **CLOSE)


def test_with_gradients_that_accumulate():
    model = model_of(entries, of="a")
    was = kernels(model)[0]
    model.compile(keras.optimizers.SGD(0.1, gradient_accumulation_steps=2), None)
    model.fit(X, ZEROS, batch_size=3, verbose=0)
    np.testing.assert_allclose(kernels(model)[0], was - 0.1, **CLOSE)  # the mean of two steps


def test_batches_of_several_sizes():
    model = model_of(entries, of="a")
    was = kernels(model)[0]
    model.compile(keras.optimizers.SGD(0.1), None)
    model.fit(X, ZEROS, batch_size=4, epochs=2, verbose=0)
    np.testing.assert_allclose(kernels(model)[0], was - 0.4, **CLOSE)


@pytest.mark.skipif(BACKEND != "jax", reason="only JAX hands values over as arguments")
def test_a_train_step_that_asks_for_the_loss_outside_of_the_call():
    """As in Keras's guide on `train_step`; there the variables themselves are empty."""
    import jax

    class Guided(Penalized):
        def compute_loss_and_updates(self, trainable_variables, non_trainable_variables, x, y):
            y_pred, others = self.stateless_call(trainable_variables, non_trainable_variables, x)
            return self.compute_loss(x, y, y_pred), (y_pred, others)

        def train_step(self, state, data):
            trainable, non_trainable, optimizer, metrics = state
            x, y = data
            function = jax.value_and_grad(self.compute_loss_and_updates, has_aux=True)
            (loss, (_, others)), slopes = function(trainable, non_trainable, x, y)
            trainable, optimizer = self.optimizer.stateless_apply(optimizer, slopes, trainable)
            return {"counted": loss}, (trainable, others, optimizer, metrics)

    model = Guided()
    model(X)
    was = array(model.hidden.kernel)
    np.testing.assert_allclose(step(model, log="counted"), was.sum(), **CLOSE)
    np.testing.assert_allclose(array(model.hidden.kernel), was - 0.1, **CLOSE)


# --- Values ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "float16"])
def test_values_beyond_half_precision(policy):
    keras.config.set_dtype_policy(policy)
    try:
        model = model_of("l2_norm", of="a")
    finally:
        keras.config.set_dtype_policy("float32")
    model.get_layer("a").kernel.assign(np.full((4, 3), 30000.0))
    wanted = 30000 * np.sqrt(12)
    assert losses(model) == [pytest.approx(wanted, rel=1e-3)]
    model.compile(keras.optimizers.SGD(1000.0), None)
    logs = model.fit(X, ZEROS, batch_size=6, verbose=0).history
    np.testing.assert_allclose(logs["loss"], wanted, rtol=1e-3)
    moved = 30000 - 1000 / np.sqrt(12)
    np.testing.assert_allclose(array(model.get_layer("a").kernel), moved, rtol=1e-3)


@pytest.mark.parametrize("penalty", ["l1", "l2", "l2_norm"])
def test_the_slope_at_zero_is_finite(penalty):
    model = model_of(penalty, of="a")
    model.get_layer("a").kernel.assign(np.zeros((4, 3)))
    step(model)
    # Of an absolute value, JAX has the slope 1 at 0, the others 0; a norm has the same on all.
    np.testing.assert_allclose(
        kernels(model)[0], np.zeros((4, 3)), atol=0.00101 * (penalty == "l1")
    )


def test_what_lora_adds_is_penalized():
    model = model_of("l2", of="a")
    a = model.get_layer("a")
    a.enable_lora(2)
    a.lora_kernel_b.assign(np.ones((2, 3)))
    whole = array(a._kernel) + a.lora_alpha / 2 * array(a.lora_kernel_a) @ np.ones((2, 3))
    assert losses(model) == [pytest.approx(l2(whole), rel=1e-4)]
    was = array(a.lora_kernel_b)
    step(model)  # the base is frozen, the factors train
    assert np.abs(array(a.lora_kernel_b) - was).max() > 1e-5


def test_what_is_tied_is_penalized_where_it_is_stored():
    model = model_of(entries, of="b")
    sy.tie(model.get_layer("b"), "kernel", to=sy.ref(model.get_layer("a")))
    was = array(model.get_layer("a").kernel)
    np.testing.assert_allclose(step(model), was.sum(), **CLOSE)
    np.testing.assert_allclose(array(model.get_layer("a").kernel), was - 0.1, **CLOSE)


# --- Written, read and copied ---------------------------------------------------------------------


def saved(model, folder):
    model.save(folder / "model.keras")
    return keras.models.load_model(folder / "model.keras")


def cloned(model, folder):
    twin = keras.models.clone_model(model)
    twin.set_weights(model.get_weights())
    return twin


def from_json(model, folder):
    twin = keras.models.model_from_json(model.to_json())
    twin.set_weights(model.get_weights())
    return twin


def deep_copied(model, folder):
    return copy.deepcopy(model)


COPIES = [saved, cloned, from_json, deep_copied]


@pytest.mark.in_turn
@pytest.mark.parametrize("way", COPIES)
@pytest.mark.parametrize(
    "penalty", ["l2", "l2_norm", keras.regularizers.L1(0.3), apart, total], ids=str
)
def test_a_copy_trains_as_the_original(way, penalty, tmp_path):
    model = model_of(penalty, 0.5)
    twin = way(model, tmp_path)
    assert losses(twin) == [pytest.approx(losses(model)[0], rel=1e-5)]
    was = kernels(model)
    np.testing.assert_allclose(step(twin), step(model), **CLOSE)
    for old, new, of_twin in zip(was, kernels(model), kernels(twin), strict=True):
        assert np.abs(new - old).max() > 1e-5
        np.testing.assert_allclose(of_twin, new, **CLOSE)
    twin.get_layer("a").kernel.assign(kernels(twin)[0] + 1)
    assert abs(losses(twin)[0] - losses(model)[0]) > 1e-3


def test_a_clone_keeps_a_lambda():
    model = model_of(lambda a, b: ops.sum(a * b))
    a, b = kernels(model)
    assert losses(cloned(model, None)) == [pytest.approx(np.sum(a * b), rel=1e-4)]


def test_by_address_in_a_model_that_never_calls_it():
    class ByAddress(keras.Model):
        def __init__(self):
            super().__init__()
            self.hidden = keras.layers.Dense(3)
            self.penalty = sy.layers.WeightPenalty("hidden/kernel", entries)

        def call(self, x):
            return self.hidden(x)

    model = ByAddress()
    step(model)
    was = array(model.hidden.kernel)
    np.testing.assert_allclose(losses(model), [was.sum()], **CLOSE)
    model.fit(X, ZEROS, batch_size=6, verbose=0)
    np.testing.assert_allclose(array(model.hidden.kernel), was - 0.1, **CLOSE)


def test_owns_nothing_and_leaves_nothing_in_a_file():
    model = model_of(apart)
    penalty = model.get_layer("penalty")
    assert (penalty.count_params(), penalty.weights) == (0, [])
    assert len(model.weights) == 4
    assert [record.target for record in sy.references(model)] == ["a/kernel", "b/kernel"]
    assert all(record.is_bound and record.holder == "penalty" for record in sy.references(model))


def test_an_export_computes_the_same(tmp_path):
    model = model_of(apart)
    np.testing.assert_allclose(exported(model, tmp_path)(X[:1]), array(model(X[:1])), **CLOSE)


def test_owners_that_do_not_feed_it_become_part_of_the_model():
    inputs = keras.Input((4,))
    a, b = keras.layers.Dense(3, name="a"), keras.layers.Dense(3, name="b")
    b(inputs)
    model = keras.Model(inputs, sy.layers.WeightPenalty(b, entries)(a(inputs)))
    was = array(b.kernel)
    step(model)
    np.testing.assert_allclose(array(b.kernel), was - 0.1, **CLOSE)
