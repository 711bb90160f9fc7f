"""Files of Keras 3.0 to 3.5 and of Keras 2: the addresses that the same model has today.

`tools/make_old_files.py` made them: weight n of `addresses.txt` is filled with n, n + 1/1024,
n + 2/1024, …, so that a value by itself says of which weight it is.
"""

import lzma
from pathlib import Path

import numpy as np
import pytest

from steelyard.checkpoints._keras_files import open_hdf5_checkpoint

pytestmark = pytest.mark.no_keras

FOLDER = Path(__file__).parents[1] / "data" / "keras"
ADDRESSES = (FOLDER / "addresses.txt").read_text().split()
FILES = sorted(path.name.removesuffix(".xz") for path in FOLDER.glob("*.xz"))


@pytest.fixture(params=FILES)
def source(request, tmp_path):
    path = tmp_path / request.param
    path.write_bytes(lzma.decompress((FOLDER / f"{request.param}.xz").read_bytes()))
    source = open_hdf5_checkpoint(path)
    yield source
    source.close()


def number_of(value):
    """Which weight has such a value; it must have no other."""
    wanted = value.reshape(-1)[0] + np.arange(value.size) / 1024
    np.testing.assert_array_equal(value.reshape(-1), wanted.astype("float32"))
    return int(value.reshape(-1)[0])


def test_every_weight_is_at_its_address(source, request):
    found = {spec.address: number_of(source.read(spec.address)) for spec in source.specs()}
    assert sorted(found.values()) == list(range(len(ADDRESSES)))
    if (
        ".weights." in request.node.name
    ):  # nothing says the names there, nor which numbers are right
        certain = [a for a, naming in source.naming.items() if naming == "exact"]
        assert not certain
        return
    assert {address: ADDRESSES[number] for address, number in found.items()} == {
        address: address for address in ADDRESSES
    }
    assert set(source.naming.values()) == {"exact"}
    assert source.findings == ()
