"""Every row of `parametrized.CASES` keeps every law of a parametrized weight."""

import keras
import numpy as np
import pytest
from keras import ops
from tests.laws import layer as laws
from tests.laws import parametrized as table
from tests.laws.parametrized import BY_NAME, CASES, WRITABLE, Case
from tests.turns import in_turn, mine

import steelyard as sy
from steelyard.errors import SubstituteError

ps = sy.parametrizations


def params(cases):
    return [pytest.param(case, id=case.name.replace(" ", "_")) for case in cases]


EVERY = params(CASES)
DENSE = params(case for case in CASES if case.name.startswith("dense "))
DENSE_WRITABLE = params(case for case in WRITABLE if case.name.startswith("dense "))
SPECTRAL = params(case for case in CASES if case.way is table.WAYS["spectral"])


def close(case: Case, got, wanted) -> None:
    """Equal, as far as the parametrization promises."""
    np.testing.assert_allclose(got, wanted, rtol=2 * case.way.exact, atol=5 * case.way.exact)


def named(parametrization) -> str:
    """A function by its name, an object by that of its class."""
    return getattr(parametrization, "__name__", type(parametrization).__name__)


def subject(model):
    return model.get_layer("subject")


def original(case: Case, model) -> keras.Variable:
    """The first of the variables that are stored for the weight."""
    factor = "_a" if case.way is table.WAYS["low rank"] else ""
    return sy.weights(model)[case.address + factor].variable


def sigma(value) -> float:
    return float(np.linalg.svd(value.reshape(-1, value.shape[-1]), compute_uv=False)[0])


# --- Computed -------------------------------------------------------------------------------------


@pytest.mark.in_turn
@pytest.mark.parametrize("case", EVERY)
def test_computes_with_and_trains_what_is_stored(case):
    model = table.plain(case)
    x = table.inputs(case.kind)
    value = sy.weights(model)[case.address].numpy()
    sy.parametrize(subject(model), case.kind.weight, case.way.make())
    stored = table.stored(case, model)
    close(case, sy.weights(model)[case.address].numpy(), table.effective(case, model))
    if case.way.keeps:
        close(case, sy.weights(model)[case.address].numpy(), value)
    close(case, table.output(model, x), table.should_be(case, model, x))
    for before, now in zip(stored, table.stored(case, model), strict=True):
        np.testing.assert_array_equal(now, before)

    listed = [id(variable) for variable in subject(model).trainable_variables]
    assert id(original(case, model)) in listed
    assert len(set(listed)) == len(listed)
    table.fit(case, model)
    assert np.abs(table.stored(case, model)[0] - stored[0]).max() > 1e-5
    close(case, table.output(model, x), table.should_be(case, model, x))


@pytest.mark.parametrize("name", ["dense spectral", "dense chain", "dense scheduled mask"])
def test_nothing_is_stored_by_predict_or_evaluate(name):
    case = BY_NAME[name]
    model = table.after(case)
    x, y = table.inputs(case.kind), table.targets(case)
    was, wanted = table.stored(case, model), table.should_be(case, model, x)
    model.compile(keras.optimizers.SGD(0.05), "mse")
    np.testing.assert_allclose(
        model.evaluate(x, y, verbose=0), np.mean(np.square(wanted - y)), rtol=1e-3
    )
    close(case, table.output(model, x, predict=True), wanted)
    for before, now in zip(was, table.stored(case, model), strict=True):
        np.testing.assert_array_equal(now, before)


@pytest.mark.parametrize("case", in_turn(EVERY))
def test_registered_before_or_after_it_is_built(case):
    models = []
    for early in (True, False):
        keras.utils.set_random_seed(1)
        layer = case.kind.layer()
        if early:
            sy.parametrize(layer, case.kind.weight, case.way.make())
        models.append(table.around(case.kind, layer))
        if not early:
            sy.parametrize(layer, case.kind.weight, case.way.make())
    early, late = models
    assert len(early.weights) == len(late.weights)
    for one, other in zip(table.stored(case, early), table.stored(case, late), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
    values = [sy.weights(model)[case.address].numpy() for model in models]
    close(case, *values)
    # That such a model computes with it, the fresh process shows: to load one is to build it so.


# --- Trained --------------------------------------------------------------------------------------


def slopes(case: Case, model) -> list[np.ndarray]:
    """The gradient of the loss in each stored float array, by differences in NumPy."""
    x, y = table.inputs(case.kind).astype("float64"), table.targets(case).astype("float64")
    bias = sy.weights(model)["subject/bias"].numpy().astype("float64")
    stored = table.stored(case, model)
    names = list(sy.weights(model)[case.address].stored())

    def loss(parts):
        return np.mean(np.square(x @ case.way.formula(*parts) + bias - y))

    found = []
    for index, name in enumerate(names):
        if name in ("kernel_u", "kernel_mask", "kernel_mask_1", "kernel_step"):
            continue
        slope = np.zeros_like(stored[index])
        for place in np.ndindex(slope.shape):
            ends = []
            for step in (1e-6, -1e-6):
                parts = [part.copy() for part in stored]
                parts[index][place] += step
                ends.append(loss(parts))
            slope[place] = (ends[0] - ends[1]) / 2e-6
        found.append(slope)
    return found


@pytest.mark.parametrize("case", DENSE)
def test_has_the_gradient_of_the_loss(case):
    model = table.after(case)
    wanted = slopes(case, model)
    was = table.stored(case, model)
    table.fit(case, model, rate=1.0)
    now = table.stored(case, model)
    for before, after, slope in zip(was, now, wanted, strict=False):
        np.testing.assert_allclose(before - after, slope, rtol=2e-3, atol=2e-5)
        got = np.ravel(before - after)
        assert got @ np.ravel(slope) > 0.9999 * np.linalg.norm(got) * np.linalg.norm(slope)


@pytest.mark.parametrize("eager", [False, True], ids=["compiled", "eager"])
@pytest.mark.parametrize("name", ["dense spectral", "dense chain", "dense scheduled mask"])
def test_however_the_step_is_run(name, eager):
    case = BY_NAME[name]
    way = {"run_eagerly": True} if eager else {"jit_compile": laws.BACKEND != "torch"}
    one, other = table.after(case), table.after(case)
    table.fit(case, one)
    table.fit(case, other, **way)
    for a, b in zip(table.stored(case, one), table.stored(case, other), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("case", SPECTRAL)
def test_sigma_is_one(case):
    model = table.plain(case)
    sy.weights(model)[case.address].variable.assign(
        np.random.default_rng(8).normal(size=sy.weights(model)[case.address].shape)
    )
    sy.parametrize(subject(model), case.kind.weight, ps.SpectralNorm())

    def measured():
        return sigma(sy.weights(model)[case.address].numpy())

    assert measured() == pytest.approx(1, abs=1e-3)
    table.fit(case, model, rate=5.0, epochs=2)
    assert measured() == pytest.approx(1, abs=1e-3)
    generator = np.random.default_rng(9)
    model.set_weights([generator.normal(size=w.shape).astype(w.dtype) for w in model.get_weights()])
    assert measured() == pytest.approx(1, abs=1e-3)


def test_sigma_is_one_in_predict(tmp_path):
    case = BY_NAME["dense spectral"]
    model = table.after(case)

    def measured():
        subject(model).bias.assign(np.zeros(3))
        return sigma(model.predict(np.eye(4), verbose=0))

    assert measured() == pytest.approx(1, abs=1e-3)
    table.fit(case, model, rate=5.0, epochs=3)
    assert measured() == pytest.approx(1, abs=1e-3)
    model.save(tmp_path / "model.keras")
    model = keras.models.load_model(tmp_path / "model.keras")
    assert measured() == pytest.approx(1, abs=1e-3)


class Twice(keras.Model):
    """Calls a layer on two inputs in one step, as a GAN its discriminator."""

    def __init__(self, layer, **told):
        super().__init__()
        self.layer = layer
        self.told = told

    def call(self, inputs, training=None):
        real, fake = inputs
        # Handed down, as any layer wants it: on JAX, Keras tells the layers of a model nothing.
        told = {"training": training}
        return [self.layer(real, **told), self.layer(fake, **{**told, **self.told})]


@pytest.mark.parametrize("told", [{}, {"training": False}], ids=["both train", "one infers"])
@pytest.mark.parametrize(
    "name", ["dense spectral", "dense orthogonal", "dense low rank", "dense scheduled mask"]
)
def test_two_calls_in_one_step(name, told):
    case = BY_NAME[name]
    single = table.after(case)
    x, y = table.inputs(case.kind), table.targets(case)
    was, slope = table.stored(case, single), slopes(case, single)
    model = Twice(subject(single), **told)
    model.compile(keras.optimizers.SGD(0.5), ["mse", "mse"])
    model.fit([x, x], [y, y], batch_size=len(x), verbose=0)
    now = table.stored(case, single)
    if name.endswith("scheduled mask"):
        assert now[-1] == (1 if told else 2), "each call that trains is a step"
        if not told:
            return  # another mask in the second call
    for before, after, part in zip(was, now, slope, strict=False):
        np.testing.assert_allclose(before - after, part, rtol=2e-3, atol=5e-5)


@pytest.mark.parametrize("way", ["mask", "fixed mask", "mask of two in four"])
def test_what_is_masked_is_zero_and_stays_stored(way):
    case = BY_NAME[f"dense {way}"]
    model = table.after(case)
    stored, mask = table.stored(case, model)
    table.fit(case, model, epochs=2)
    used = sy.weights(model)[case.address].numpy()
    assert not used[mask == 0].any()
    assert used[mask == 1].all()
    now = table.stored(case, model)[0]
    np.testing.assert_array_equal(now[mask == 0], stored[mask == 0])
    assert np.abs(now - stored)[mask == 1].max() > 1e-4


def test_a_schedule_goes_one_step_in_each_batch_of_training():
    case = BY_NAME["dense scheduled mask"]
    model = table.plain(case)
    schedule = ps.PolynomialDecay(0.0, 0.5, begin_step=0, end_step=4, power=1, frequency=1)
    sy.parametrize(subject(model), "kernel", ps.Mask(schedule=schedule))
    x, y = table.inputs(case.kind), table.targets(case)
    model.compile(keras.optimizers.SGD(0.01), "mse")
    seen = []
    for _ in range(3):
        model.fit(x, y, batch_size=len(x) // 2, verbose=0)
        model.evaluate(x, y, verbose=0)
        model.predict(x, verbose=0)
        _, mask, step = table.stored(case, model)
        seen.append((int(step), int(np.sum(mask == 0))))
    # The mask of a batch is that of the step before it: 12 entries, at steps 1, 3 and 5.
    assert seen == [(2, 2), (4, 4), (6, 6)]


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize("name", [f"dense {w}" for w in ("spectral", "orthogonal", "chain")])
def test_mixed_precision(name, policy):
    case = BY_NAME[name]
    keras.config.set_dtype_policy(policy)
    try:
        model = table.after(case)
    finally:
        keras.config.set_dtype_policy("float32")
    x = table.inputs(case.kind)
    np.testing.assert_allclose(
        table.output(model, x), table.should_be(case, model, x), rtol=5e-2, atol=5e-2
    )
    assert all(v.dtype in ("float32", "bool") for v in model.weights)
    was = table.stored(case, model)
    table.fit(case, model, epochs=4)  # the first ones may be lost to finding the scale of the loss
    assert np.abs(table.stored(case, model)[0] - was[0]).max() > 1e-4
    got = sy.weights(model)[case.address].numpy()
    close(case, got, table.effective(case, model))


@pytest.mark.parametrize("case", params(BY_NAME[f"dense {w}"] for w in ("spectral", "low rank")))
def test_frozen_and_counted(case):
    model = table.after(case)
    layer = subject(model)
    assert layer.count_params() == sum(int(np.prod(v.shape)) for v in layer.variables)
    assert model.count_params() == layer.count_params()
    layer.trainable = False
    assert not model.trainable_variables
    assert not sy.weights(model)[case.address].trainable
    x = table.inputs(case.kind)
    # Something must train.
    outer = keras.Sequential([model, keras.layers.Dense(1)])
    outer(x)
    was = table.stored(case, model)
    outer.compile(keras.optimizers.SGD(0.1), "mse")
    outer.fit(x, np.ones((len(x), 1)), verbose=0)
    np.testing.assert_array_equal(table.stored(case, model)[0], was[0])
    close(case, table.output(model, x), table.should_be(case, model, x))


@pytest.mark.parametrize("case", params(BY_NAME[f"dense {w}"] for w in ("spectral", "weight norm")))
def test_no_tracer_is_left_after_fit(case):
    model = table.after(case)
    table.fit(case, model)
    x = table.inputs(case.kind)
    layer = subject(model)
    close(case, ops.convert_to_numpy(layer(x)), table.should_be(case, model, x))
    close(case, ops.convert_to_numpy(layer.kernel), table.effective(case, model))
    table.fit(case, model)
    close(case, table.output(model, x), table.should_be(case, model, x))


# --- Saved and copied -----------------------------------------------------------------------------


TRAINED = ("dense_spectral", "dense_scheduled_mask", "lstm_orthogonal", "block_low_rank")


@pytest.fixture(scope="module")
def fresh(tmp_path_factory):
    """What each model computed when it was saved, and what it does in a fresh process."""
    folder, wanted = tmp_path_factory.mktemp("saved"), {}
    for case in in_turn(WRITABLE):
        model = table.after(case)
        if case.way is table.WAYS["scheduled mask"]:
            table.fit(case, model)
        name = case.name.replace(" ", "_")
        model.save(folder / f"{name}.keras")
        wanted[name] = {
            "output": table.output(model, table.inputs(case.kind)),
            "parametrizations": [named(p) for p in sy.parametrizations_of(model, case.address)],
            "variables": sorted(variable.path.split("/")[-1] for variable in model.variables),
        }
    return wanted, laws.in_process("tests.laws.parametrized_fresh", str(folder), *TRAINED)


@pytest.mark.parametrize("case", params(in_turn(WRITABLE)))
def test_saved_and_loaded_in_a_fresh_process(case, fresh):
    name = case.name.replace(" ", "_")
    wanted, said = fresh[0][name], fresh[1][name]
    assert "error" not in said, said["error"]
    close(case, said["loaded"], wanted["output"])
    assert said["parametrizations"] == wanted["parametrizations"] == [named(case.way.make())]
    assert said["variables"] == wanted["variables"]
    if name in TRAINED:
        assert said["moved"] > 1e-5
        close(case, said["trained"], said["should be"])


# What is written and read again is the same in all of these but the config and the address.
COPIED = params(
    BY_NAME[name]
    for name in (
        "dense spectral",
        "dense low rank",
        "dense fixed mask",
        "dense chain",
        "dense function",
        "dense with a way back",
        "attention spectral",
        "block low rank",
        "listed weight norm",
        "subclassed derived",
    )
)


@pytest.mark.parametrize(
    ("case", "way"),
    [
        pytest.param(*case.values, way, id=f"{case.id}-{way}")
        for i, case in enumerate(COPIED)
        for k, way in enumerate(laws.COPIES)
        if mine(i + k)
    ],
)
def test_copied(case, way, tmp_path):
    model = table.after(case)
    x = table.inputs(case.kind)
    was = table.output(model, x)
    twin = laws.COPIES[way](model, tmp_path) if way not in CALLED else CALLED[way](case, model)
    assert len(sy.parametrizations_of(twin, case.address)) == 1
    assert type(subject(twin)).__name__ == type(subject(model)).__name__
    close(case, table.output(twin, x), was)
    assert not {id(v) for v in model.variables} & {id(v) for v in twin.variables}
    first = original(case, twin)
    first.assign(np.random.default_rng(4).normal(size=first.shape))
    close(case, table.output(twin, x), table.should_be(case, twin, x))
    assert np.abs(table.output(twin, x) - was).max() > 1e-3
    close(case, table.output(model, x), was)


def called_from_config(case, model):
    return called(case, model, type(model).from_config(model.get_config()))


def called_from_json(case, model):
    return called(case, model, keras.models.model_from_json(model.to_json()))


def called(case, model, twin):
    twin(table.inputs(case.kind))
    twin.set_weights(model.get_weights())
    return twin


CALLED = {"from_config": called_from_config, "from_json": called_from_json}


def test_what_cannot_be_written_down_is_not_saved(tmp_path):
    model = table.after(BY_NAME["dense forward only"])
    with pytest.raises(SubstituteError, match=r"Halved.*get_config"):
        model.save(tmp_path / "model.keras")
    with pytest.raises(SubstituteError, match=r"Halved.*get_config"):
        model.to_json()


@pytest.mark.parametrize("case", [c for c in DENSE if "low_rank" not in c.id])
def test_weights_alone_to_the_plain_layer_and_back(case, tmp_path):
    model, other = table.after(case), table.plain(case)
    path = tmp_path / "a.weights.h5"
    subject(model).bias.assign([1.0, 2.0, 3.0])
    model.save_weights(path)
    other.load_weights(path)
    np.testing.assert_allclose(
        sy.weights(other)[case.address].numpy(), table.stored(case, model)[0], rtol=1e-6
    )
    np.testing.assert_array_equal(ops.convert_to_numpy(subject(other).bias), [1, 2, 3])

    value = np.random.default_rng(7).normal(size=(4, 3)).astype("float32")
    subject(other).kernel.assign(value)
    other.save_weights(path)
    model.load_weights(path)
    np.testing.assert_allclose(table.stored(case, model)[0], value, rtol=1e-6)
    x = table.inputs(case.kind)
    close(case, table.output(model, x), table.should_be(case, model, x))
    if case.way is table.WAYS["weight norm"]:
        close(case, table.output(model, x), table.output(other, x))


def test_weights_of_a_plain_layer_do_not_slip_into_factors(tmp_path):
    case = BY_NAME["dense low rank"]
    path = tmp_path / "a.weights.h5"
    table.plain(case).save_weights(path)
    with pytest.raises(ValueError, match="stores only bias, kernel_a, kernel_b"):
        table.after(case).load_weights(path)


@pytest.mark.parametrize("case", in_turn(DENSE_WRITABLE))
def test_weights_alone_of_a_parametrized_model(case, tmp_path):
    model, other = table.after(case), table.before(case)
    if case.way is table.WAYS["scheduled mask"]:
        table.fit(case, model)
    path = tmp_path / "a.weights.h5"
    model.save_weights(path)
    other.load_weights(path)
    x = table.inputs(case.kind)
    close(case, table.output(other, x), table.output(model, x))
    for a, b in zip(table.stored(case, other), table.stored(case, model), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", ["dense spectral", "dense low rank", "lstm weight norm"])
def test_exported(name, tmp_path):
    case = BY_NAME[name]
    model = table.after(case)
    x = table.inputs(case.kind, rows=1)
    artifact = laws.exported(model, tmp_path)
    close(case, artifact(x), table.should_be(case, model, x))
    if laws.BACKEND == "torch":
        return  # Keras 3.15 exports each weight of any layer as a constant of the program
    value = table.stored(case, model)[0]
    artifact.shift(value.astype("float32"))
    original(case, model).assign(value + 0.25)
    close(case, artifact(x), table.should_be(case, model, x))
