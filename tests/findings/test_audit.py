"""Each finding is true: what it says will happen is seen to happen."""

import functools
import types
from collections import namedtuple
from dataclasses import dataclass, field

import keras
import numpy as np
import pytest
from keras import layers, ops

import steelyard as sy
from steelyard.records import Finding

X = np.random.default_rng(0).normal(size=(4, 3)).astype("float32")
Y = np.zeros((4, 2), "float32")
Pair = namedtuple("Pair", ["left", "right"])


def array(tensor):
    return np.array(ops.convert_to_numpy(tensor))


def codes(model):
    return [(finding.code, finding.address) for finding in sy.audit(model)]


def fit(model, **kwargs):
    model.compile(keras.optimizers.SGD(0.1), "mse", **kwargs)
    model.fit(X, Y, batch_size=4, verbose=0)
    return model


def around(layer):
    inputs = keras.Input((3,))
    return keras.Model(inputs, layer(inputs))


# --- what a finding is ----------------------------------------------------------------------------


def test_a_finding_in_one_line():
    finding = Finding("late-regularizer", "dense/kernel", "Something is.", "Do this.")
    assert str(finding) == "late-regularizer  dense/kernel: Something is. Fix: Do this."
    assert "(the model)" in str(Finding("code", "", "It.", "That."))
    with pytest.raises(AttributeError):
        finding.code = "other"


def test_findings_come_sorted_and_the_same_each_time():
    model = around(layers.Dense(2, name="dense"))
    model.layers[1].bias_regularizer = "l2"
    model.layers[1].kernel_constraint = keras.constraints.NonNeg()
    model.layers[1].kernel_regularizer = keras.regularizers.L2(0.1)
    found = sy.audit(model)
    assert found == sy.audit(model)
    assert codes(model) == [
        ("late-regularizer", "dense/bias"),
        ("late-constraint", "dense/kernel"),
        ("late-regularizer", "dense/kernel"),
    ]


@pytest.mark.parametrize("wrong", ["a path", None, keras.Model, [1]], ids=str)
def test_what_is_no_model_is_refused(wrong):
    with pytest.raises(sy.SteelyardError, match="model or layer"):
        sy.audit(wrong)


def test_an_audit_changes_nothing(tmp_path):
    shared = layers.Dense(3, name="shared")
    inner = keras.Sequential([keras.Input((3,)), shared], name="inner")
    inputs = keras.Input((3,))
    model = keras.Model(inputs, layers.Dense(2, name="out")(shared(inner(inputs))))
    fit(model)
    config, weights = model.to_json(), model.get_weights()
    nodes = len(shared._inbound_nodes)
    layers.Dense(1)
    step, made = model.train_function, layers.Dense(1).name
    assert sy.audit(model)
    assert model.to_json() == config
    assert len(shared._inbound_nodes) == nodes
    assert model.train_function is step
    assert int(layers.Dense(1).name.split("_")[1]) == int(made.split("_")[1]) + 1
    for was, now in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(was, now)


def test_an_audit_binds_no_reference():
    inputs = keras.Input((3,))
    hidden = layers.Dense(2, name="proj")(inputs)
    analyzer = sy.layers.WeightAnalyzer("proj/kernel")
    inner = keras.Model(inputs, hidden, name="other")
    model = keras.Model(inputs, analyzer(hidden))
    assert sy.audit(inner) == sy.audit(model) == []
    assert [record.is_bound for record in sy.references(model)] == [True]


# --- held where Keras does not look ---------------------------------------------------------------


class Own:
    def __init__(self, thing):
        self.thing = thing


class Slots:
    __slots__ = ("thing",)

    def __init__(self, thing):
        self.thing = thing


@dataclass
class Config:
    parts: dict = field(default_factory=dict)


def closed_over(thing):
    return lambda: thing


def by_default(given):
    def function(thing=given):
        return thing

    return function


class WithMethod(Own):
    def method(self):
        return self.thing


HOLD = {
    "own object": (Own, lambda h: h.thing, "thing"),
    "object with slots": (Slots, lambda h: h.thing, "thing"),
    "namespace": (lambda t: types.SimpleNamespace(t=t), lambda h: h.t, "t"),
    "dataclass": (lambda t: Config({"a": t}), lambda h: h.parts["a"], "parts/a"),
    "object in an object": (lambda t: Own(Own(t)), lambda h: h.thing.thing, "thing/thing"),
    "object in a list": (lambda t: [1, Own(t)], lambda h: h[1].thing, "1/thing"),
    "tuple in an object in a dictionary": (
        lambda t: {"a": Own((0, t))},
        lambda h: h["a"].thing[1],
        "a/thing/1",
    ),
    "named tuple in an object": (
        lambda t: Own(Pair(0, t)),
        lambda h: h.thing.right,
        "thing/right",
    ),
    "closure": (closed_over, lambda h: h(), "thing"),
    "default of a function": (by_default, lambda h: h(), "0"),
    "partial": (lambda t: functools.partial(max, t, key=id), lambda h: h.args[0], "0"),
    "bound method": (lambda t: WithMethod(t).method, lambda h: h(), "__self__/thing"),
}


class Holder(layers.Layer):
    """Computes with what it holds, a layer or a variable."""

    def __init__(self, held, take, **kwargs):
        super().__init__(**kwargs)
        self.held = held
        self.take = take

    def call(self, x):
        thing = self.take(self.held)
        return x * thing if isinstance(thing, keras.Variable) else thing(x)


@pytest.mark.parametrize("how", HOLD)
def test_a_layer_that_is_held_aside_is_neither_trained_nor_saved(how):
    put, take, way = HOLD[how]
    dense = layers.Dense(2, name="aside")
    model = around(Holder(put(dense), take, name="holder"))
    assert codes(model) == [("untracked-layer", f"holder/held/{way}")]
    assert model.weights == []
    assert "Dense 'aside'" in sy.audit(model)[0].message
    assert "kernel, bias" in sy.audit(model)[0].message
    inputs = keras.Input((3,))
    tail = layers.Dense(2, name="tail")
    larger = keras.Model(inputs, tail(model(inputs)))
    was = array(dense.kernel)
    fit(larger)
    np.testing.assert_array_equal(array(dense.kernel), was)
    assert codes(larger) == [("untracked-layer", f"{model.name}/holder/held/{way}")]


@pytest.mark.parametrize("how", HOLD)
def test_a_variable_that_is_held_aside(how):
    put, take, way = HOLD[how]
    variable = keras.Variable(np.ones(3, "float32"), name="aside")
    model = around(Holder(put(variable), take, name="holder"))
    assert codes(model) == [("untracked-variable", f"holder/held/{way}")]
    assert model.variables == []


def test_what_is_held_by_keras_is_fine():
    class Block(layers.Layer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.parts = [{"a": (layers.Dense(3), layers.Dense(3))}, Pair(layers.Dense(3), 2)]
            self.also = Own(self.parts[0])

        def call(self, x):
            return self.parts[1].left(self.parts[0]["a"][0](self.also.thing["a"][1](x)))

    model = around(Block())
    assert len(model.weights) == 6
    assert codes(model) == []


def test_past_the_tracker():
    class Block(layers.Layer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            object.__setattr__(self, "hidden", layers.Dense(2, name="hidden"))

        def call(self, x):
            return self.hidden(x)

    model = around(Block(name="block"))
    assert model.weights == []
    assert codes(model) == [("untracked-layer", "block/hidden")]


def test_a_layer_in_a_function_that_a_lambda_layer_runs():
    dense = layers.Dense(2, name="dense")

    def function(x):
        return dense(x)

    model = around(layers.Lambda(function, name="run"))
    assert codes(model) == [("untracked-layer", "run/function/dense")]


def test_a_layer_that_the_call_of_a_class_closes_over():
    dense = layers.Dense(2, name="dense")

    class Block(layers.Layer):
        def call(self, x):
            return dense(x)

    model = around(Block(name="block"))
    assert codes(model) == [("untracked-layer", "block/call/dense")]


def test_a_layer_that_all_layers_of_a_class_share():
    class Block(layers.Layer):
        dense = layers.Dense(2, name="dense")

        def call(self, x):
            return self.dense(x)

    model = around(Block(name="block"))
    assert model.weights == []
    assert codes(model) == [("untracked-layer", "block/dense")]


def test_a_global_layer():
    scope = {"layers": layers}
    text = "dense = layers.Dense(2)\nother = layers.Dense(2)\ndef run(x): return dense(x)\n"
    exec(text, scope)
    model = around(layers.Lambda(scope["run"], name="run"))
    assert codes(model) == [("untracked-layer", "run/function/dense")]


def test_a_layer_that_is_frozen_is_kept_aside_on_purpose():
    judge = layers.Dense(2, trainable=False)
    assert codes(around(Holder(Own(judge), lambda h: h.thing))) == []


def test_a_handle_on_the_model_is_no_finding():
    class Looker(layers.Layer):
        def call(self, x):
            return x

    looker, inner = Looker(), layers.Dense(2, name="inner")
    inputs = keras.Input((3,))
    model = keras.Model(inputs, inner(looker(inputs)))
    object.__setattr__(looker, "model", model)
    looker.box = Own([model, inner])
    looker.look_up = lambda name: model.get_layer(name)
    # What the box holds of the model, a load and a clone do not put there again.
    assert [c for c, _ in codes(model)] == ["sharing-lost-on-clone", "sharing-lost-on-load"]
    looker.box = Own([model])
    assert codes(model) == []
    outer = keras.Model(inputs, model(inputs))
    object.__setattr__(looker, "outer", outer)
    assert codes(outer) == codes(model) == codes(looker) == []


def test_a_view_of_the_model_is_no_finding():
    inputs = keras.Input((3,))
    hidden = layers.Dense(2, name="one")(inputs)
    model = keras.Model(inputs, layers.Dense(2, name="two")(hidden))

    class Outer(keras.Model):
        def __init__(self):
            super().__init__()
            self.inner = model
            self.tools = Own(keras.Model(inputs, hidden))

        def call(self, x):
            return self.inner(x)

    outer = Outer()
    outer(X)
    assert codes(outer) == []


def test_an_unbuilt_layer_that_is_held_aside():
    model = keras.Sequential([Holder(Own(layers.Dense(2)), lambda h: h.thing, name="holder")])
    assert codes(model) == [("untracked-layer", "holder/held/thing")]
    model = keras.Sequential([Holder(Own(layers.ReLU()), lambda h: h.thing, name="holder")])
    assert codes(model) == []


def test_states_of_metrics_and_seeds():
    class Noisy(layers.Layer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.aside = Own([keras.random.SeedGenerator(1), keras.metrics.Mean()])
            self.seeds, self.mean = keras.random.SeedGenerator(1), keras.metrics.Mean()

        def call(self, x):
            return x

    model = around(Noisy(name="noisy"))
    found = sy.audit(model)
    assert {(f.code, f.address) for f in found} == {
        ("untracked-variable", "noisy/aside/thing/0"),
        ("untracked-variable", "noisy/aside/thing/1"),
    }
    assert "SeedGenerator" in found[0].message
    assert "Mean" in found[1].message


@pytest.mark.skipif(keras.backend.backend() == "jax", reason="JAX has no variables of its own")
@pytest.mark.parametrize("put", [lambda v: v, Own, lambda v: [v]], ids=["plain", "own", "list"])
def test_a_variable_of_the_backend(put):
    if keras.backend.backend() == "tensorflow":
        import tensorflow

        raw = tensorflow.Variable([1.0, 2.0, 3.0])
    else:
        import torch

        raw = torch.nn.Parameter(torch.ones(3))

    class Raw(layers.Layer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.scale = put(raw)

        def call(self, x):
            return x * keras.tree.flatten(getattr(self.scale, "thing", self.scale))[0]

    model = around(Raw(name="raw"))
    assert model.weights == []
    ((code, address),) = codes(model)
    assert code == "untracked-variable"
    assert address.startswith("raw/scale") or address.endswith("/scale")


def test_a_variable_of_nobody_in_the_graph():
    inputs = keras.Input((3,))
    variable = keras.Variable(np.ones(3, "float32"), name="loose")
    model = keras.Model(inputs, ops.multiply(inputs, variable))
    assert model.weights == []
    assert codes(model) == [("untracked-variable", model.operations[-1].name)]


def test_a_layer_that_another_one_replaced():
    class Stack(keras.Model):
        def __init__(self):
            super().__init__()
            self.rows = [layers.Dense(3, name="a"), layers.Dense(3, name="b")]

        def call(self, x):
            for row in self.rows:
                x = row(x)
            return x

    model = Stack()
    model(X)
    assert codes(model) == []
    gone = model.rows[1]
    rows = [model.rows[0]]
    keras.Model.__setattr__(model, "rows", rows)
    model(X)
    assert any(weight is gone.kernel for weight in model.weights)
    assert [code for code, _ in codes(model)] == ["replaced-layer"]


def test_a_layer_that_nobody_calls_unless_it_is_training_is_built_by_then():
    class Optional(keras.Model):
        def __init__(self):
            super().__init__()
            self.one, self.aside = layers.Dense(2, name="one"), layers.Dense(2, name="aside")

        def call(self, x):
            return self.one(x)

    model = Optional()
    assert codes(model) == []  # nothing is known yet
    model(X)
    assert codes(model) == [("unbuilt-layer", "aside")]
    assert model.aside.weights == []


# --- regularizers and constraints -----------------------------------------------------------------


def late(kind, value, attribute="kernel"):
    model = around(layers.Dense(2, name="dense"))
    setattr(model.get_layer("dense"), f"{attribute}_{kind}", value)
    return model


def test_a_regularizer_of_a_built_layer_does_nothing_until_it_is_loaded(tmp_path):
    model = late("regularizer", keras.regularizers.L2(0.5))
    assert codes(model) == [("late-regularizer", "dense/kernel")]
    assert model.losses == []
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert len(loaded.losses) == 1
    assert codes(loaded) == []


def test_a_regularizer_of_a_variable_is_gone_after_a_save(tmp_path):
    model = around(layers.Dense(2, name="dense"))
    model.get_layer("dense").bias.regularizer = keras.regularizers.L2(0.5)
    assert codes(model) == [("late-regularizer", "dense/bias")]
    assert len(model.losses) == 1
    model.save(tmp_path / "model.keras")
    assert keras.models.load_model(tmp_path / "model.keras").losses == []
    assert keras.models.clone_model(model).losses == []


def test_a_constraint_of_a_built_layer_is_not_applied():
    model = late("constraint", keras.constraints.NonNeg())
    assert codes(model) == [("late-constraint", "dense/kernel")]
    fit(model)
    assert array(model.get_layer("dense").kernel).min() < 0


def test_a_constraint_of_a_variable_is_gone_after_a_clone():
    model = around(layers.Dense(2, name="dense"))
    kernel = model.get_layer("dense").kernel
    kernel.constraint = keras.constraints.NonNeg()
    assert codes(model) == [("late-constraint", "dense/kernel")]
    fit(model)
    assert array(kernel).min() >= 0
    clone = keras.models.clone_model(model)
    clone.set_weights([-np.abs(w) for w in model.get_weights()])
    fit(clone)
    assert array(clone.get_layer("dense").kernel).min() < 0


def test_the_same_regularizer_again_is_fine():
    layer = layers.Dense(2, kernel_regularizer=keras.regularizers.L2(0.5))
    model = around(layer)
    layer.kernel_regularizer = keras.regularizers.L2(0.5)
    assert codes(model) == []
    layer.kernel_regularizer = keras.regularizers.L2(0.6)
    # It has an effect on neither side: the weight keeps the one of before, and loses it on a load.
    assert {code for code, _ in codes(model)} == {"late-regularizer"}


@pytest.mark.parametrize(
    ("make", "shape", "attribute", "weight"),
    [
        (lambda: layers.DepthwiseConv1D(2), (5, 3), "depthwise_regularizer", "kernel"),
        (
            lambda: layers.SeparableConv1D(2, 2),
            (5, 3),
            "pointwise_regularizer",
            "pointwise_kernel",
        ),
        (lambda: layers.BatchNormalization(), (3,), "gamma_regularizer", "gamma"),
        (lambda: layers.Embedding(5, 2), (3,), "embeddings_regularizer", "embeddings"),
        (lambda: layers.EinsumDense("ab,bc->ac", 4), (3,), "kernel_regularizer", "kernel"),
    ],
    ids=["depthwise", "separable", "normalization", "embedding", "einsum"],
)
def test_whatever_the_weight_is_called(make, shape, attribute, weight):
    layer = make()
    inputs = keras.Input(shape)
    model = keras.Model(inputs, layer(inputs))
    setattr(layer, attribute, keras.regularizers.L1(0.1))
    assert codes(model) == [("late-regularizer", f"{layer.name}/{weight}")]


def test_deep_in_a_subclassed_model_the_code_may_set_it_again():
    class Model(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = layers.Dense(2)

        def build(self, shape):
            self.dense.build(shape)
            self.dense.kernel.regularizer = keras.regularizers.L2(0.1)

        def call(self, x):
            return self.dense(x)

    model = Model()
    model(X)
    assert codes(model) == []
    model.dense.bias_regularizer = keras.regularizers.L2(0.1)
    assert codes(model) == [("late-regularizer", "dense/bias")]


# --- values that froze ----------------------------------------------------------------------------

FREEZE = {
    "transposed": lambda d: ops.transpose(d.kernel),
    "as an array": lambda d: d.get_weights()[0].T,
    "some columns": lambda d: ops.transpose(d.kernel)[:, :2],
    "reshaped": lambda d: ops.reshape(d.kernel, (2, 3)),
}


@pytest.mark.parametrize("how", FREEZE)
def test_a_value_in_a_graph_stays_what_it_was(how, tmp_path):
    inputs = keras.Input((3,))
    dense = layers.Dense(2, name="dense")
    hidden = dense(inputs)
    model = keras.Model(inputs, ops.matmul(hidden, FREEZE[how](dense)))
    assert codes(model) == [("frozen-value", "dense/kernel")]
    model.save(tmp_path / "model.keras")  # on torch, a part of a weight is live until then
    model = keras.models.load_model(tmp_path / "model.keras")
    dense = model.get_layer("dense")
    dense.bias.assign([1.0, 1.0])
    dense.kernel.assign(np.zeros((3, 2)))
    assert np.abs(array(model(X))).max() > 0.01


def test_whole_numbers_and_the_very_tensor_are_known_too():
    inputs = keras.Input((3,))
    dense = layers.Dense(2, name="dense")
    hidden = dense(inputs)
    dense.kernel.assign(np.arange(6).reshape(3, 2))
    model = keras.Model(inputs, ops.matmul(hidden, ops.transpose(dense.kernel)))
    assert codes(model) == [("frozen-value", "dense/kernel")]
    same = keras.Model(inputs, ops.add(hidden, dense.bias.value))
    assert codes(same) == [("frozen-value", "dense/bias")]


def test_a_variable_in_a_graph_is_live_here_and_not_in_a_clone():
    inputs = keras.Input((3,))
    dense = layers.Dense(3, name="dense")
    hidden = dense(inputs)
    model = keras.Model(inputs, ops.matmul(hidden, dense.kernel))
    assert codes(model) == [("frozen-value", "dense/kernel")]
    clone = keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    before = array(clone(X))
    dense.kernel.assign(array(dense.kernel) + 1)
    assert np.abs(array(clone(X)) - before).max() > 0.01


def test_an_array_of_another_layers_weight():
    dense = layers.Dense(3, name="dense")
    dense.build((None, 3))

    class Uses(layers.Layer):
        def __init__(self, matrix, **kwargs):
            super().__init__(**kwargs)
            self.matrix = matrix

        def call(self, x):
            return ops.matmul(x, self.matrix)

    inputs = keras.Input((3,))
    model = keras.Model(inputs, Uses(array(dense.kernel), name="uses")(dense(inputs)))
    ((code, address),) = codes(model)
    assert (code, address) == ("frozen-value", "dense/kernel")
    assert "'uses/matrix'" in sy.audit(model)[0].message
    model = keras.Model(inputs, Uses(ops.ones((3, 3)))(dense(inputs)))
    assert codes(model) == []


def test_an_array_in_a_closure():
    dense = layers.Dense(3, name="dense")
    dense.build((None, 3))
    kernel = ops.copy(dense.kernel)

    def function(x):
        return ops.matmul(x, kernel)

    inputs = keras.Input((3,))
    model = keras.Model(inputs, layers.Lambda(function, name="run")(dense(inputs)))
    assert codes(model) == [("frozen-value", "dense/kernel")]


# --- compiled -------------------------------------------------------------------------------------


def two_layers():
    inputs = keras.Input((3,))
    hidden = layers.Dense(3, name="one")(inputs)
    return keras.Model(inputs, layers.Dense(2, name="two")(hidden))


def test_a_flag_after_a_step_is_read_at_the_next_trace():
    model = fit(two_layers())
    one = model.get_layer("one")
    one.trainable = False
    assert codes(model) == [("stale-trainable", "one")]
    (finding,) = sy.audit(model)
    assert "stop training one/kernel, one/bias" in finding.message
    if keras.backend.backend() == "jax":
        with pytest.raises(ValueError, match="built with"):
            model.fit(X, Y, batch_size=4, verbose=0)
        return
    was = array(one.kernel)
    model.fit(X, Y, batch_size=4, verbose=0)
    moved = np.abs(array(one.kernel) - was).max() > 0
    assert moved == (keras.backend.backend() == "tensorflow")  # what is compiled goes on
    model.compile("sgd", "mse")
    assert codes(model) == []


def test_a_flag_that_makes_a_weight_train():
    model = two_layers()
    model.get_layer("one").trainable = False
    fit(model)
    model.get_layer("one").trainable = True
    found = sy.audit(model)
    assert {finding.code for finding in found} <= {"stale-trainable", "stale-optimizer"}
    assert "one/kernel" in found[0].message
    was = array(model.get_layer("one").kernel)
    if keras.backend.backend() == "tensorflow":
        model.fit(X, Y, batch_size=4, verbose=0)
        np.testing.assert_array_equal(array(model.get_layer("one").kernel), was)
    if keras.backend.backend() == "torch":
        with pytest.raises(ValueError, match="Unknown variable"):
            model.fit(X, Y, batch_size=4, verbose=0)


def test_a_block_is_named_once():
    model = fit(keras.Sequential([keras.Input((3,)), two_layers(), layers.Dense(2)]))
    model.layers[0].trainable = False
    assert codes(model) == [("stale-trainable", model.layers[0].name)]
    model.trainable = False
    assert codes(model) == [("stale-trainable", "")]


def test_statistics_and_layers_without_weights_are_not_named():
    inputs = keras.Input((3,))
    normed = layers.BatchNormalization(name="normed")(layers.Dropout(0.1)(inputs))
    model = fit(keras.Model(inputs, layers.Dense(2)(normed)))
    model.layers[1].trainable = False
    assert codes(model) == []
    model.get_layer("normed").trainable = False
    (finding,) = sy.audit(model)
    assert "moving" not in finding.message


def test_weights_that_came_after_the_optimizer():
    model = fit(two_layers())
    model.get_layer("one").enable_lora(1)
    found = sy.audit(model)
    assert [finding.code for finding in found] == ["stale-optimizer"]
    assert "lora" in found[0].message
    model.compile("sgd", "mse")
    assert codes(model) == []


def test_all_is_well_before_and_after_each_kind_of_training():
    model = two_layers()
    model.get_layer("one").trainable = False
    assert codes(model) == []
    model.compile("adam", "mse")
    assert codes(model) == []
    model.train_on_batch(X, Y)
    assert codes(model) == []
    seen = []
    log = keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: seen.append(codes(model)))
    model.fit(X, Y, verbose=0, epochs=2, callbacks=[log])
    assert seen == [[], []]


def test_a_compiled_model_that_was_loaded(tmp_path):
    model = two_layers()
    model.get_layer("one").trainable = False
    fit(model)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert codes(loaded) == []
    loaded.fit(X, Y, verbose=0)
    assert codes(loaded) == []


def test_what_was_trained_and_is_quantized_now():
    model = fit(two_layers())
    model.quantize("int8")
    assert codes(model) == []


@pytest.mark.filterwarnings("ignore:The trainable weights")  # ours: the optimizer begins anew
def test_what_was_rewritten_after_a_step():
    model = keras.Sequential([keras.Input((3,)), layers.Dense(3, name="a")])
    model.add(layers.Dense(3, name="b"))
    model.compile("sgd", "mse")
    model.fit(X, X, verbose=0)
    one, two = model.layers
    sy.tie(two, "kernel", to=sy.ref(one, "kernel"), transform="transpose")
    assert codes(model) == []
    model.fit(X, X, verbose=0)
    assert codes(model) == []


# --- lost on a load -------------------------------------------------------------------------------


def test_an_adopted_variable():
    model = two_layers()
    model.scale = keras.Variable(1.0, name="scale")
    assert codes(model) == [("adopted-layer", "scale")]
    assert len(keras.models.clone_model(model).weights) == len(model.weights) - 1


def test_an_alias_of_a_layer_in_the_graph_is_not_adopted():
    model = two_layers()
    model.first = model.get_layer("one")
    model.view = keras.Model(model.input, model.get_layer("one").output)
    model.drop = layers.Dropout(0.1)
    assert codes(model) == []


def test_a_frozen_layer_whose_config_does_not_say_so(tmp_path):
    @keras.saving.register_keras_serializable(package="findings")
    class Scale(layers.Layer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)

        def build(self, shape):
            self.scale = self.add_weight(shape=(), name="scale")

        def call(self, x):
            return x * self.scale

        def get_config(self):
            return {"name": self.name}

    layer = Scale(name="scale")
    model = around(layer)
    assert codes(model) == []
    layer.trainable = False
    assert codes(model) == [("lost-flag", "scale")]
    model.save(tmp_path / "model.keras")
    assert len(keras.models.load_model(tmp_path / "model.keras").trainable_weights) == 1


def test_a_lambda_in_an_activation(tmp_path):
    model = around(layers.Dense(2, activation=lambda x: 2 * x, name="dense"))
    assert codes(model) == [("unsafe-lambda", "dense")]
    model.save(tmp_path / "model.keras")
    with pytest.raises((TypeError, ValueError)):
        keras.models.load_model(tmp_path / "model.keras")


def test_a_lambda_that_is_not_written_out_is_fine():
    class Block(layers.Layer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.dense = layers.Dense(2, activation=lambda x: 2 * x)

        def call(self, x):
            return self.dense(x)

    assert codes(around(Block())) == []


def test_paths_that_are_the_same():
    def tower(name):
        inputs = keras.Input((3,))
        return keras.Model(inputs, layers.Dense(2, name="proj")(inputs), name=name)

    inputs = keras.Input((3,))
    model = keras.Model(inputs, [tower(name)(inputs) for name in ("a", "b", "c")])
    assert codes(model) == [("duplicate-path", "a/proj/bias"), ("duplicate-path", "a/proj/kernel")]
    assert "b/proj/kernel, c/proj/kernel" in sy.audit(model)[1].message
    assert len({weight.path for weight in model.weights}) == 2


# --- references -----------------------------------------------------------------------------------


def test_an_owner_outside_the_model():
    inputs = keras.Input((3,))
    encoder = layers.Dense(2, name="encoder")
    autoencoder = keras.Model(inputs, sy.layers.TiedDense(encoder, name="decoder")(encoder(inputs)))
    code = keras.Input((2,))
    decoder = keras.Model(code, autoencoder.get_layer("decoder")(code))
    assert codes(autoencoder) == []
    assert codes(decoder) == [("foreign-owner", "decoder")]
    decoder.compile("sgd", "mse")
    with pytest.raises(sy.SteelyardError, match="encoder"):
        decoder.fit(Y, X, verbose=0)
    encoder.trainable = False
    assert codes(decoder) == []


def test_an_owner_outside_that_is_only_read():
    teacher = layers.Dense(2, name="teacher")
    teacher.build((None, 3))

    class Near(layers.Layer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.target = sy.ref(teacher, "kernel", stop_gradient=True)

        def call(self, x):
            self.add_loss(ops.sum(ops.square(self.target())))
            return x

    assert codes(around(Near())) == []
