"""Every row of `zoo.CASES` keeps every law of a borrowing layer."""

import numpy as np
import pytest

from tests.laws import layer as laws
from tests.laws import zoo

CASES = [pytest.param(case, id=case.name.replace(" ", "_")) for case in zoo.CASES]
STANDS = [
    pytest.param(case, place, id=f"{case.name}@{place}".replace(" ", "_"))
    for case in zoo.CASES
    for place in zoo.PLACES
    if zoo.fits(case, place)
]


@pytest.fixture(scope="module")
def fresh(tmp_path_factory):
    """What each model must compute once loaded, and what it does in a fresh process."""
    folder = tmp_path_factory.mktemp("saved")
    wanted = laws.save_all(folder, zoo.CASES)
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
    assert "error" not in said[name], said[name]["error"]
    np.testing.assert_allclose(said[name]["loaded"], wanted[name]["before"], **laws.CLOSE)
    np.testing.assert_allclose(said[name]["shifted"], said[name]["should be"], **laws.CLOSE)
    assert np.abs(np.subtract(said[name]["shifted"], said[name]["loaded"])).max() > 1e-2


@pytest.mark.parametrize("way", laws.COPIES)
@pytest.mark.parametrize(("case", "place"), STANDS)
def test_copied(case, place, way, tmp_path):
    if not laws.can_be(case, place, way):
        pytest.skip("Keras clones functional and sequential models only")
    model = zoo.randomize(zoo.PLACES[place](case))
    laws.check_copy(case, model, laws.COPIES[way](model, tmp_path))
