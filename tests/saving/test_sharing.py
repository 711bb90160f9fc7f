"""The law of this room: what is one in a model is one in its file and in its clone."""

import keras
import numpy as np
import pytest
from tests.saving.arrangements import ARRANGEMENTS, fit, predicted
from tests.turns import in_turn

import steelyard as sy
from steelyard.live import walk

CLOSE = dict(rtol=1e-4, atol=1e-5)


def equal(given, wanted):
    assert len(given) == len(wanted)
    for a, b in zip(given, wanted, strict=True):
        np.testing.assert_allclose(array(a), array(b), **CLOSE)


def array(value):
    return np.asarray(value if isinstance(value, list) else keras.ops.convert_to_numpy(value))


def layout(model):
    """Where each layer is that has weights, with all the ways there."""
    return {place.path: set(place.aliases) for place in walk(model) if place.layer.weights}


@pytest.mark.parametrize("name", in_turn(ARRANGEMENTS))
def test_saved_and_loaded(name, tmp_path, loaded_elsewhere):
    build = ARRANGEMENTS[name]
    model = fit(build())
    sy.save_model(model, tmp_path / "model.keras")
    loaded = sy.load_model(tmp_path / "model.keras")
    sy.save_model(loaded, tmp_path / "again.keras")
    for same in (loaded, sy.load_model(tmp_path / "again.keras")):
        assert len(same.weights) == len(model.weights)
        assert sy.weights(same).addresses == sy.weights(model).addresses
        assert layout(same) == layout(model)
        equal(same.get_weights(), model.get_weights())
        equal(same.optimizer.variables, model.optimizer.variables)

    before = predicted(model)
    equal(predicted(loaded), before)
    fit(model)  # with its momenta, which were saved
    fit(loaded)
    equal(loaded.get_weights(), model.get_weights())
    there = loaded_elsewhere(tmp_path / "again.keras", "keras")  # plain Keras reads it as well
    equal(there.predicted, before)
    assert there.addresses == list(sy.weights(model).addresses)
    equal(there.trained, model.get_weights())


@pytest.mark.parametrize("name", in_turn(reversed(ARRANGEMENTS)))
def test_cloned(name):
    build = ARRANGEMENTS[name]
    model = fit(build())
    was, slots = model.get_weights(), [array(v) for v in model.optimizer.variables]
    clone, other = sy.clone_model(model), sy.clone_model(model)
    for new in (clone, other):
        new.build((None, 4)) if not new.built else None
        assert len(new.weights) == len(model.weights)
        assert sy.weights(new).addresses == sy.weights(model).addresses
        assert layout(new) == layout(model)
        assert new.compiled
        assert not {id(v) for v in new.variables} & {id(v) for v in model.variables}
        assert not {id(p.layer) for p in walk(new)} & {id(p.layer) for p in walk(model)}
    assert any(not np.allclose(a, b) for a, b in zip(clone.get_weights(), was, strict=True))

    clone.set_weights(was)
    equal(predicted(clone), predicted(model))
    apart = other.get_weights()
    clone.optimizer.build(clone.trainable_variables)
    for variable, value in zip(clone.optimizer.variables, slots, strict=True):
        variable.assign(value)
    fit(clone)
    equal(other.get_weights(), apart)
    equal(model.get_weights(), was)
    fit(model)  # the same step from the same weights
    equal(clone.get_weights(), model.get_weights())
