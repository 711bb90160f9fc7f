import numpy as np
import pytest

from steelyard.checkpoints import _crc32c
from steelyard.checkpoints._crc32c import crc32c, masked_crc32c

pytestmark = pytest.mark.no_keras


@pytest.fixture(params=["ours", "the package's"], autouse=True)
def whose(request, monkeypatch):
    if request.param == "ours":
        monkeypatch.setattr(_crc32c, "_library", lambda: None)
    elif not _crc32c.is_quick():
        pytest.skip("google-crc32c is not installed")


@pytest.mark.parametrize(
    ("data", "wanted"),
    [
        # RFC 3720, B.4, and the usual check.
        (b"\0" * 32, 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (bytes(range(31, -1, -1)), 0x113FDB5C),
        (b"123456789", 0xE3069283),
        (b"a", 0xC1D04330),
        (b"", 0),
    ],
)
def test_known_sums(data, wanted):
    assert crc32c(data) == wanted


def slowly(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def test_any_length():
    data = np.random.default_rng(0).integers(0, 256, 5000, "uint8").tobytes()
    for length in (
        *range(20),
        255,
        256,
        257,
        511,
        512,
        513,
        1024,
        4095,
        4097,
        5000,
    ):  # ours goes by lanes
        assert crc32c(data[:length]) == slowly(data[:length])


def test_the_mask():
    assert masked_crc32c(b"") == 0xA282EAD8


def test_several_pieces():
    data = np.random.default_rng(0).integers(0, 256, (2 << 20) + 5, "uint8")
    assert crc32c(data) == _crc32c._in_lanes(data)
