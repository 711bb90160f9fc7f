"""One browser for all tests of a process, and weights with something wrong with them."""

import os

import numpy as np
import pytest
from tests.report.chromium import Chromium, path

from steelyard.measuring import measure
from steelyard.records import Reading
from steelyard.report import PAGE_METRICS

HOSTILE = (
    "</script><script>hacked = 1</script>/kernel",
    "<img src=x onerror='hacked = 2'>/kernel",
    "\u2028\u2029\u202eevil\ud800\x00\n/kernel",
    "\"'`${hacked = 3}&lt;b&gt;/kernel",
)


@pytest.fixture(scope="session")
def browser():
    """Chromium; a test without it is skipped, but where CI has installed it, that is no excuse."""
    if path() is None:
        if "CI_HAS_CHROMIUM" in os.environ:
            pytest.fail("Chromium should be here, and is not.")
        pytest.skip("There is no Chromium: apt-get install chromium")
    with Chromium() as chromium:
        yield chromium


@pytest.fixture(scope="session")
def arrays():
    """Weights by their names: some well, and each other one with something else wrong with it."""
    rng = np.random.default_rng(0)
    dead = rng.normal(size=(64, 40))
    dead[:, [3, 7, 8]] = 0
    broken = rng.normal(size=(30, 20))
    broken[2, 3], broken[4, 5] = np.nan, np.inf
    signal = np.linalg.qr(rng.normal(size=(200, 100)))[0] * np.arange(1, 101) ** -1.0
    return {
        "well/kernel": (signal @ np.linalg.qr(rng.normal(size=(100, 100)))[0]).astype("float32"),
        "well/bias": np.zeros(100, "float32"),
        "dead/kernel": dead.astype("float32"),
        "broken/kernel": broken.astype("float32"),
        "flat/kernel": np.outer(rng.normal(size=80), rng.normal(size=60)).astype("float32"),
        **{name: rng.normal(size=(30, 20)).astype("float32") for name in HOSTILE},
    }


class Held:
    """A source of arrays."""

    def __init__(self, arrays):
        self.arrays = arrays

    def specs(self):
        from steelyard.records import WeightSpec

        return [
            WeightSpec(name, one.shape, str(one.dtype), True, "Dense")
            for name, one in self.arrays.items()
        ]

    def read(self, address):
        return self.arrays[address]

    def stored(self, address):
        return {address: self.read(address)}


@pytest.fixture(scope="session")
def readings(arrays):
    """What a page shows of these weights."""
    return measure(Held(arrays), PAGE_METRICS)


def resnet50():
    """The shapes of the 320 weights of a ResNet50, by their addresses."""
    shapes = {}

    def conv(name, *shape):
        shapes[f"{name}_conv/kernel"] = shape
        shapes[f"{name}_conv/bias"] = shape[-1:]
        for part in ("gamma", "beta", "moving_mean", "moving_variance"):
            shapes[f"{name}_bn/{part}"] = shape[-1:]

    conv("conv1", 7, 7, 3, 64)
    wide = 64
    for stage, blocks in enumerate((3, 4, 6, 3), 2):
        narrow = 64 * 2 ** (stage - 2)
        for block in range(1, blocks + 1):
            name = f"conv{stage}_block{block}"
            if block == 1:
                conv(f"{name}_0", 1, 1, wide, 4 * narrow)
            conv(f"{name}_1", 1, 1, wide, narrow)
            conv(f"{name}_2", 3, 3, narrow, narrow)
            conv(f"{name}_3", 1, 1, narrow, 4 * narrow)
            wide = 4 * narrow
    return shapes | {"predictions/kernel": (2048, 1000), "predictions/bias": (1000,)}


def made_up(shapes):
    """Readings of weights of these shapes, as many numbers as a measurement gives."""
    rng = np.random.default_rng(0)
    for address, shape in shapes.items():
        short = min(int(np.prod(shape[:-1])), shape[-1])
        for metric in PAGE_METRICS:
            matrix = len(shape) > 1
            if metric == "singular_values" and matrix:
                yield Reading(address, metric, tuple(np.sort(rng.gamma(2.0, size=short))[::-1]))
            elif matrix or PAGE_METRICS.index(metric) < 7:
                yield Reading(address, metric, float(rng.lognormal()))
            else:
                yield Reading(address, metric, None, "1", "not applicable", "no matrix")
