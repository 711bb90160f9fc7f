"""Each private name of Keras that `live/_keras.py` leans on still is what it was.

When one of these fails after an update of Keras, the message names what has gone; mend it in
`src/steelyard/live/_keras.py`, the only file that may know such names.
"""

from importlib import import_module

import keras
import numpy as np
import pytest

from steelyard.live import _keras

NAMES = [
    ("keras.src.backend.common.global_state", "get_global_attribute"),
    ("keras.src.models.functional", "Functional"),
    ("keras.src.ops.function", "make_node_key"),
    ("keras.src.saving.serialization_lib", "SafeModeScope"),
    ("keras.src.utils.io_utils", "ask_to_proceed_with_overwrite"),
    ("keras.src.utils.naming", "to_snake_case"),
    ("keras.src.utils.python_utils", "default"),
]


@pytest.mark.parametrize(("module", "name"), NAMES, ids=lambda part: part.rpartition(".")[2])
def test_keras_still_has(module, name):
    assert hasattr(import_module(module), name), f"Keras no longer has {module}.{name}"


SEEN = {}


class Watcher(keras.layers.Layer):
    """Notes in SEEN what the functions under test say while it is called."""

    def build(self, shape):
        self.kernel = self.add_weight(shape=(shape[-1], shape[-1]), name="kernel")

    def call(self, x):
        SEEN["root"] = _keras.call_root()
        SEEN["inferring"] = _keras.in_shape_inference()
        with _keras.own_dtype():
            SEEN["dtype"] = keras.backend.standardize_dtype(self.kernel.value.dtype)
        return keras.ops.matmul(x, keras.ops.cast(self.kernel, x.dtype))


def model_and_watcher(**kwargs):
    inputs = keras.Input((3,))
    watcher = Watcher(name="watcher", **kwargs)
    return keras.Model(inputs, keras.layers.Dense(2, name="out")(watcher(inputs))), watcher


def test_the_root_of_a_running_call():
    model, _ = model_and_watcher()
    assert _keras.call_root() is None
    model(np.zeros((1, 3), "float32"))
    assert SEEN["root"] is model, "'current_call_ctx' no longer names the outermost layer"
    assert _keras.call_root() is None


def test_shape_inference_is_told_from_a_real_call():
    model, _ = model_and_watcher()
    assert SEEN["inferring"], "'symbolic_scope' is no longer set while shapes are inferred"
    model(np.zeros((1, 3), "float32"))
    assert not SEEN["inferring"]


def test_a_variable_in_its_own_dtype_inside_a_mixed_layer():
    model, _ = model_and_watcher(dtype="mixed_float16")
    model(np.zeros((1, 3), "float32"))
    assert SEEN["dtype"] == "float32", "'autocast_scope' no longer holds the running scope"


def test_a_variable_that_a_stateless_call_was_not_handed():
    variable, other = keras.Variable(1.0), keras.Variable(2.0)
    assert not _keras.unmapped(variable)
    with keras.StatelessScope([(variable, keras.ops.ones(()))]):
        assert not _keras.unmapped(variable)
        assert _keras.unmapped(other), "'stateless_scope' no longer holds the running scope"


def test_the_calls_of_a_functional_graph():
    inputs = keras.Input((3,))
    first, second = keras.layers.Dense(3), keras.layers.Dense(2)
    hidden = first(inputs)
    output = second(hidden)
    step = _keras.producer(output)
    assert step.operation is second, "'_keras_history' no longer leads to the operation"
    assert step.inputs[0] is hidden, "'_inbound_nodes' no longer have 'input_tensors'"
    assert [call.outputs[0] for call in _keras.calls(first)] == [hidden]
    assert list(_keras.consumers(first)) == [second], "'_outbound_nodes' no longer lead on"
    assert _keras.producer(keras.KerasTensor((1, 2))) is None


def test_sublayers_and_own_variables():
    model, watcher = model_and_watcher()
    assert watcher in _keras.sublayers(model)
    assert _keras.own_variables(watcher) == [watcher.kernel]
    assert _keras.own_variables(model) == []
    sequence = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    assert sequence._functional not in _keras.sublayers(sequence), "'_functional' is a sublayer"
    assert sequence.layers[0] in _keras.sublayers(sequence)
    assert _keras.is_graph_model(model)
    assert _keras.is_graph_model(sequence)
    assert not _keras.is_graph_model(watcher)


def test_attributes_hold_layers_on_every_backend():
    class Block(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.inner = keras.layers.Dense(2)

    block = Block()
    assert _keras.attributes(block)["inner"] is block.inner


def test_names_that_keras_made_up():
    assert _keras.is_auto_named(keras.layers.Dense(1))
    assert _keras.is_auto_named(keras.layers.Dense(1))
    assert not _keras.is_auto_named(keras.layers.Dense(1, name="query"))


def test_the_dtype_in_which_a_variable_is_stored():
    variable = keras.Variable(1.0, dtype="bfloat16")
    assert _keras.dtype_of(variable) == "bfloat16", "'_dtype' is no longer what it was"


def test_a_call_can_be_given_more_inputs():
    inputs = keras.Input((3,))
    aside = keras.layers.Dense(3, name="aside")
    edge = aside(inputs)

    class Last(keras.layers.Layer):
        def __call__(self, x, more=None):
            return super().__call__(x)

        def call(self, x):
            return x

    last = Last()
    output = last(inputs)
    _keras.add_inputs(last, "more", [edge])
    model = keras.Model(inputs, output)
    assert aside in model.layers, "'arguments' of a node no longer say what it depends on"


def test_a_built_layer_can_be_reopened():
    layer = Watcher()
    layer.build((None, 2))
    with pytest.raises(ValueError, match="add"):
        layer.late = layer.add_weight(shape=(1,), name="late")
    with _keras.reopen(layer):
        layer.later = layer.add_weight(shape=(1,), name="later")
    assert any(weight is layer.later for weight in layer.weights)
    assert layer._tracker.locked, "'_tracker.lock' no longer closes the layer again"


def test_a_default_method_is_seen_as_one():
    class Marked(keras.layers.Layer):
        @_keras.as_default
        def compute_output_shape(self, input_shape):
            raise AssertionError("asked, though it is only the default")

        def call(self, x):
            return x[:, :1]

    assert Marked()(keras.Input((3,))).shape == (None, 1)


def test_models_that_are_remade_from_their_layers():
    inputs = keras.Input((3,))
    model = keras.Model(inputs, keras.layers.Dense(2)(inputs))
    assert _keras.is_remade_from_layers(model), "'functional_like_constructor' is another"
    assert _keras.is_remade_from_layers(keras.Sequential([keras.layers.Dense(2)]))

    class Own(keras.Model):
        def __init__(self, units):
            super().__init__(inputs, keras.layers.Dense(units)(inputs))

    assert not _keras.is_remade_from_layers(Own(2))


def test_operations_and_what_they_were_given():
    inputs = keras.Input((3,))
    variable = keras.Variable(np.ones(3, "float32"))
    model = keras.Model(inputs, keras.ops.multiply(inputs, variable))
    operation = _keras.operations(model)[-1]
    given = _keras.call_arguments(operation)
    assert any(argument is variable for argument in given), "'arguments' of a node are gone"


def test_what_a_model_was_compiled_with():
    inputs = keras.Input((3,))
    dense = keras.layers.Dense(2)
    model = keras.Model(inputs, dense(inputs))
    assert _keras.compiled_flags(model) == {}
    model.compile("sgd", "mse")
    if keras.version() >= "3.15":
        assert _keras.compiled_flags(model)[dense], "'_compiled_trainable_state' is gone"
    assert _keras.optimized(model) is None
    model.optimizer.build(model.trainable_variables)
    known = [id(variable) for variable in _keras.optimized(model)]
    assert known == [id(dense.kernel), id(dense.bias)], "'_trainable_variables' are others"


def test_a_config_with_the_identity_of_each_layer():
    inputs = keras.Input((3,))
    dense = keras.layers.Dense(3)
    model = keras.Model(inputs, dense(dense(inputs)))
    plain, marked = _keras.written(model)
    assert "shared_object_id" not in plain["layers"][1]
    key = "shared_objects/id_to_config_map"
    assert marked["layers"][1]["shared_object_id"] == id(dense), f"'{key}' is no longer asked"
    assert "shared_object_id" not in keras.saving.serialize_keras_object(dense)


def test_configs_say_which_layer_they_are_of():
    """What saving and cloning lean on: ids in configs, by which Keras finds objects again."""
    layer, inputs = keras.layers.Dense(2), keras.Input((3,))
    inner = keras.Model(inputs, layer(inputs))
    with _keras.identified([layer], others=False) as made:
        config = inner.get_config()
        mark = config["layers"][1]["shared_object_id"]
        assert mark == id(layer), "'shared_objects/id_to_config_map' no longer marks configs"
        twin = keras.saving.deserialize_keras_object(config["layers"][1])
        assert made[id(layer)] is twin, "'shared_objects/id_to_obj_map' no longer keeps objects"
        assert keras.saving.deserialize_keras_object(config["layers"][1]) is twin
    assert keras.saving.deserialize_keras_object(config["layers"][1]) is not twin


def test_the_calls_of_one_model_among_all():
    layer, inputs = keras.layers.Dense(3), keras.Input((3,))
    inner = keras.Model(inputs, layer(inputs))
    outer = keras.Model(inputs, layer(layer(inner(inputs))))
    assert dict(_keras.calls_within(inner))[layer] == 1
    assert dict(_keras.calls_within(outer))[layer] == 2, "'_nodes' no longer tells models apart"
    assert len(_keras.calls(layer)) == 3


@pytest.mark.parametrize("count", [1, 2, 4])
def test_how_often_a_sequential_calls_its_layers_when_it_is_read(count):
    """`saving/_config.py` counts on it; a file says by number which call of a layer is meant."""
    line = keras.Sequential([keras.Input((3,)), *(keras.layers.Dense(3) for _ in range(count))])
    read = keras.Sequential.from_config(line.get_config())
    calls = [len(_keras.calls(layer)) for layer in read.layers]
    assert calls == list(range(count, 0, -1))


def test_a_scope_for_lambdas():
    layer = keras.layers.Lambda(lambda x: x * 2.0)
    config = keras.saving.serialize_keras_object(layer)
    with _keras.safe_mode(False):
        assert keras.saving.deserialize_keras_object(config)(np.ones(1))[0] == 2.0
    config = keras.saving.serialize_keras_object(layer)  # reading one changes it
    with _keras.safe_mode(True), pytest.raises(ValueError, match="lambda"):
        keras.saving.deserialize_keras_object(config)


@pytest.mark.parametrize(("says", "may"), [("y", True), ("n", False)])
def test_keras_asks_before_it_overwrites(says, may, monkeypatch):
    monkeypatch.setattr("builtins.input", lambda *_: says)
    assert _keras.may_overwrite("model.keras") is may


def test_what_a_variable_itself_holds():
    variable = keras.Variable(1.0)
    with keras.StatelessScope([(variable, keras.ops.full((), 2.0))]):
        assert float(_keras.own_value(variable)) == 1, "'_value' is no longer the store"
        with _keras.outside_stateless_calls():
            variable.assign(3.0)
        assert float(variable.value) == 2
    assert float(variable.value) == 3


def test_losses_of_a_stateless_call_find_their_layers():
    one, two = keras.layers.Dense(1), keras.layers.Dense(1)
    for layer in (one, two):
        layer.build((None, 1))
    with keras.StatelessScope(collect_losses=True) as scope:
        losses = [keras.ops.full((), float(number)) for number in range(3)]
        one.add_loss(losses[:2])
        two.add_loss(losses[2])
    left = _keras.hand_out_losses([one], scope.losses)
    assert [float(loss) for loss in one.losses] == [0, 1], "'_losses' or '_loss_ids' has changed"
    assert [float(loss) for loss in left] == [2]
    assert [float(loss) for loss in _keras.hand_out_losses([one, two], left)] == []
    assert [float(loss) for loss in two.losses] == [2]


def test_a_layer_that_runs_again_for_the_gradient():
    assert not _keras.recomputes(keras.layers.Dense(1))
    for mode, again in (("full", True), ("larger_than", True), ("activations", False)):
        with keras.RematScope(mode=mode):
            layer = keras.layers.Dense(1)
        assert _keras.recomputes(layer) == again, "'_remat_mode' no longer says the mode"
    with keras.RematScope(mode="list_of_layers", layer_names=["one"]):
        assert _keras.recomputes(keras.layers.Dense(1, name="one"))
        assert not _keras.recomputes(keras.layers.Dense(1, name="two"))


def test_what_a_training_step_does_and_keeps():
    """`monitor/` leans on it: the averages of an optimizer, and a step's forward pass and loss."""

    class Own(keras.Sequential):
        def train_step(self, *given):
            return super().train_step(*given)

    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1), keras.layers.Dropout(0.5)])
    assert _keras.averages(model) == {}
    optimizer = keras.optimizers.Adam(use_ema=True)
    model.compile(keras.optimizers.LossScaleOptimizer(optimizer), "mse")
    optimizer.build(model.trainable_variables)
    kept = _keras.averages(model)
    assert set(kept) == {id(variable) for variable in model.trainable_variables}
    kernel = model.layers[0].kernel
    assert kept[id(kernel)].shape == kernel.shape, "'_model_variables_moving_average' has changed"
    x = np.ones((64, 2), "float32")
    output = _keras.in_training_mode(model, x)
    assert np.any(keras.ops.convert_to_numpy(output) == 0), "'_call_has_training_arg' has changed"
    loss = _keras.loss_of(model, x, x[:, :1], output, None)
    assert float(loss) > 0, "'_compute_loss' has changed"
    assert not _keras.has_own_train_step(model)
    assert _keras.has_own_train_step(Own())


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="the list is PyTorch's")
def test_the_list_of_parameters_that_torch_has():
    model, watcher = model_and_watcher()
    gone = watcher.kernel
    _keras.let_go(watcher, gone)
    assert any(one is gone.value for one in model.parameters()), "Keras keeps it current by itself"
    _keras.list_for_torch(model)
    known = {id(one) for one in model.parameters()}
    assert known == {id(v.value) for v in model.variables}, "'_track_variables' has changed"
