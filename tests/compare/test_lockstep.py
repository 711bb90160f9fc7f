"""Two files, block by block: the same findings, and never a whole weight."""

import numpy as np
import pytest

import steelyard as sy
from steelyard.compare import _lockstep
from steelyard.compare._difference import difference

pytestmark = pytest.mark.no_keras

RNG = np.random.default_rng(0)
FIRST = RNG.normal(size=(60, 7, 5)).astype("float32")
# What the second file has instead.
SECOND = {
    "equal": FIRST,
    "changed at the end": np.where(np.arange(60)[:, None, None] < 55, FIRST, 2 * FIRST),
    "changed at the start": np.where(np.arange(60)[:, None, None] < 1, -FIRST, FIRST),
    "not finite": np.where(np.arange(60)[:, None, None] < 40, FIRST, np.float32("nan")),
    "another dtype": FIRST.astype("float64") + 1e-3,
    "all zeros": np.zeros_like(FIRST),
}


@pytest.fixture
def whole(tmp_path, monkeypatch):
    """The weights that were read whole, of two files with all pairs."""
    monkeypatch.setattr(_lockstep, "_BLOCK", 100)
    np.savez(tmp_path / "a.npz", **dict.fromkeys(SECOND, FIRST))
    np.savez(tmp_path / "b.npz", **SECOND)
    read = []
    numpy = sy.selection.Weight.numpy
    monkeypatch.setattr(
        sy.selection.Weight, "numpy", lambda weight: read.append(weight.address) or numpy(weight)
    )
    return tmp_path, read


def test_what_is_found_is_that_of_the_whole(whole):
    folder, read = whole
    changes = sy.diff(folder / "a.npz", folder / "b.npz")
    for name, array in SECOND.items():
        expected, found = difference(FIRST, array), changes[name]
        assert found.amount == pytest.approx(expected.amount, rel=1e-6), name
        assert (found.kind == "unchanged") == expected.equal
        if found.kind == "changed":
            numbers = dict(found.numbers)
            assert numbers["max_abs_difference"] == pytest.approx(expected.largest, rel=1e-6)
    assert set(read) == {"not finite", "another dtype", "all zeros"}


def test_a_metric_of_two_weights_takes_them_whole(whole):
    folder, read = whole
    changes = sy.diff(folder / "a.npz", folder / "b.npz", metrics="update_ratio", select="changed*")
    found = changes["changed at the end"]
    assert dict(found.numbers)["update_ratio"] == pytest.approx(found.amount)
    assert "changed at the end" in read


def test_a_file_that_ends_too_soon_fails_that_weight_alone(whole):
    folder, _ = whole
    opened = sy.weights(folder / "a.npz"), sy.weights(folder / "b.npz")
    blocks = opened[1]["equal"].source.blocks

    def broken(address, rows):
        yield from list(blocks(address, rows))[: 3 if address == "equal" else None]
        if address == "equal":
            raise OSError("no more")

    opened[1]["equal"].source.blocks = broken
    changes = sy.diff(*opened)
    assert changes["equal"].kind == "failed"
    assert "no more" in changes["equal"].reason
    assert changes["changed at the end"].kind == "changed"
