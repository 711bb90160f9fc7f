"""Every row of `zoo.CASES` keeps every law of a borrowing layer."""

import keras
import numpy as np
import pytest
from tests.laws import layer as laws
from tests.laws import zoo
from tests.turns import mine

CASES = [pytest.param(case, id=case.name.replace(" ", "_")) for case in zoo.CASES]
# Each case in each place; on several backends a third on each, so that each has all cases and all
# places, and together they have every pair.
NUMBERED = [
    (i + j, pytest.param(case, place, id=f"{case.name}@{place}".replace(" ", "_")))
    for i, case in enumerate(zoo.CASES)
    for j, place in enumerate(zoo.PLACES)
    if zoo.fits(case, place)
]
STANDS = [stand for number, stand in NUMBERED if mine(number)]


@pytest.fixture(scope="module")
def fresh(tmp_path_factory):
    """What each model must compute once loaded, and what it does in a fresh process."""
    folder = tmp_path_factory.mktemp("saved")
    wanted = laws.save_all(folder, [stand.values for stand in STANDS])
    return wanted, laws.in_process("tests.laws.fresh", str(folder))


@pytest.mark.parametrize(("case", "place"), STANDS)
def test_computes_with_the_live_weight(case, place):
    model = zoo.randomize(zoo.PLACES[place](case))
    x = zoo.inputs()
    wanted = zoo.should_be(case, model, x)
    np.testing.assert_allclose(zoo.output(model, x), wanted, **laws.CLOSE)
    zoo.shift(case, model)
    assert np.abs(zoo.should_be(case, model, x) - wanted).max() > 1e-2
    np.testing.assert_allclose(zoo.output(model, x), zoo.should_be(case, model, x), **laws.CLOSE)


@pytest.mark.parametrize(("case", "place"), STANDS)
def test_saved_and_loaded_in_a_fresh_process(case, place, fresh):
    wanted, said = fresh
    name = f"{case.name}@{place}".replace(" ", "_")
    assert "error" not in wanted[name], wanted[name]["error"]
    assert "error" not in said[name], said[name]["error"]
    np.testing.assert_allclose(said[name]["loaded"], wanted[name]["before"], **laws.CLOSE)
    np.testing.assert_allclose(said[name]["shifted"], said[name]["should be"], **laws.CLOSE)
    assert np.abs(np.subtract(said[name]["shifted"], said[name]["loaded"])).max() > 1e-2


@pytest.mark.parametrize(
    ("case", "place", "way"),
    [
        pytest.param(*stand.values, way, id=f"{stand.id}-{way}")
        for number, stand in NUMBERED
        for k, way in enumerate(laws.COPIES)
        if laws.can_be(*stand.values, way) and mine(number + k)
    ],
)
def test_copied(case, place, way, tmp_path):
    model = zoo.randomize(zoo.PLACES[place](case))
    laws.check_copy(case, model, laws.COPIES[way](model, tmp_path))


@pytest.mark.in_turn
@pytest.mark.parametrize("way", ["cloned", "loaded"])
@pytest.mark.parametrize("case", CASES)
def test_a_copy_trains_as_one(case, way, tmp_path):
    model = zoo.randomize(zoo.siblings(case))
    twin = laws.COPIES[way](model, tmp_path)
    was = zoo.values(case, model)
    laws.check_trains(case, twin)
    np.testing.assert_array_equal(zoo.values(case, model)[0], was[0])


@pytest.mark.parametrize("place", zoo.PLACES)
def test_trains_in_every_place(place):
    case = zoo.BY_NAME["tied with units"]
    laws.check_trains(case, zoo.randomize(zoo.PLACES[place](case)))


@pytest.mark.parametrize("case", CASES)
def test_trains_compiled(case):
    model = zoo.randomize(zoo.alone(case))
    laws.check_trains(case, model, jit_compile=laws.BACKEND != "torch")


@pytest.mark.parametrize("case", CASES)
def test_has_the_gradient_of_the_loss(case):
    laws.check_gradient(case, zoo.randomize(zoo.alone(case)))


@pytest.mark.in_turn
@pytest.mark.parametrize("case", CASES)
def test_freezing_the_borrower_leaves_the_owner_free(case):
    model = zoo.randomize(zoo.alone(case))
    zoo.borrower_in(model).trainable = False
    own = zoo.borrower_in(model).get_weights()
    laws.check_trains(case, model)
    for before, now in zip(own, zoo.borrower_in(model).get_weights(), strict=True):
        np.testing.assert_array_equal(now, before)


@pytest.mark.parametrize("case", CASES)
def test_a_frozen_owner_is_read_and_stays(case):
    model = zoo.randomize(zoo.alone(case))
    for owner in zoo.owners_in(case, model).values():
        owner.trainable = False
    x = zoo.inputs()
    was = zoo.values(case, model)
    laws.train(model, x)
    for before, now in zip(was, zoo.values(case, model), strict=True):
        np.testing.assert_array_equal(now, before)
    np.testing.assert_allclose(zoo.output(model, x), zoo.should_be(case, model, x), **laws.CLOSE)


@pytest.mark.parametrize(("case", "place"), STANDS)
def test_counts_what_is_its_own(case, place):
    laws.check_counts(case, zoo.PLACES[place](case))


@pytest.mark.in_turn
@pytest.mark.parametrize("case", CASES)
def test_predicts_row_by_row_whatever_the_batches(case):
    model = zoo.randomize(zoo.after(case))
    x = zoo.inputs(rows=7)
    got = model.predict(x, batch_size=3, verbose=0)[0]
    np.testing.assert_allclose(got, zoo.should_be(case, model, x), **laws.CLOSE)


@pytest.mark.in_turn
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize("case", CASES)
def test_mixed_precision(case, policy):
    keras.config.set_dtype_policy(policy)
    try:
        model = zoo.randomize(zoo.alone(case))
    finally:
        keras.config.set_dtype_policy("float32")
    x = zoo.inputs()
    wanted = zoo.should_be(case, model, x)
    loose = dict(rtol=5e-2, atol=5e-2)
    np.testing.assert_allclose(zoo.output(model, x).astype("float32"), wanted, **loose)
    was = zoo.values(case, model)
    laws.train(model, x, epochs=4)  # the first ones may be lost to finding the scale of the loss
    assert all(
        np.abs(a - b).max() > 1e-4 for a, b in zip(was, zoo.values(case, model), strict=True)
    )


SIMPLE = [
    pytest.param(case, id=case.name.replace(" ", "_"))
    for case in zoo.CASES
    if all(way in ("kernel", "embeddings", "bias") for _, way in case.weights)
]


@pytest.mark.parametrize("case", SIMPLE)
def test_owner_with_lora(case):
    model = zoo.randomize(zoo.after(case))
    x = zoo.inputs()
    plain = zoo.output(model, x)
    for owner in zoo.owners_in(case, model).values():
        owner.enable_lora(2)
    zoo.randomize(model, seed=7)
    wanted = zoo.should_be(case, model, x)
    assert np.abs(wanted - plain).max() > 1e-2
    np.testing.assert_allclose(zoo.output(model, x), wanted, **laws.CLOSE)
    laws.train(model, x)
    np.testing.assert_allclose(zoo.output(model, x), zoo.should_be(case, model, x), **laws.CLOSE)


@pytest.mark.in_turn
@pytest.mark.parametrize("case", SIMPLE)
def test_owner_quantized(case):
    model = zoo.randomize(zoo.after(case))
    x = zoo.inputs()
    plain = zoo.output(model, x)
    model.quantize("int8")
    wanted = zoo.should_be(case, model, x)
    np.testing.assert_allclose(wanted, plain, atol=0.1)
    np.testing.assert_allclose(zoo.output(model, x), wanted, **laws.CLOSE)
    np.testing.assert_allclose(zoo.output(model, x, predict=True), wanted, **laws.CLOSE)


@pytest.mark.parametrize("case", CASES)
def test_exported_with_its_owner(case, tmp_path):
    model = zoo.randomize(zoo.alone(case))
    x = zoo.inputs(rows=1)
    wanted = zoo.should_be(case, model, x)
    artifact = laws.exported(model, tmp_path)
    np.testing.assert_allclose(artifact(x), wanted, **laws.CLOSE)
    if laws.BACKEND == "torch":
        return  # Keras 3.15 exports each weight of any layer as a constant of the program
    for value in zoo.values(case, model):
        artifact.shift(value)
    zoo.shift(case, model)
    np.testing.assert_allclose(artifact(x), zoo.should_be(case, model, x), **laws.CLOSE)
