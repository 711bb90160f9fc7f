import zlib

import numpy as np
import pytest

from steelyard.checkpoints._bytes import Bytes
from steelyard.checkpoints._summed import read_summed

pytestmark = pytest.mark.no_keras


@pytest.mark.parametrize("size", [0, 5, (4 << 20) - 1, 4 << 20, (4 << 20) + 1, (9 << 20) + 7])
def test_the_bytes_and_their_sum(tmp_path, size):
    data = np.random.default_rng(0).integers(0, 256, size, "uint8").tobytes()
    (tmp_path / "x").write_bytes(b"head" + data)
    target = bytearray(size)
    with Bytes(tmp_path / "x") as file:
        crc = read_summed(file, 4, target, zlib.crc32(b"head"))
    assert (bytes(target), crc) == (data, zlib.crc32(b"head" + data))
