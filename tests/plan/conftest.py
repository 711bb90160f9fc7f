"""A source that remembers who read what, and when."""

import threading

import numpy as np
import pytest

from steelyard.records import WeightSpec


class Source:
    """Weights in a dictionary; counts how many are being read, and how many are held."""

    def __init__(self, arrays, fails=()):
        self.arrays = arrays
        self.fails = set(fails)
        self.reads, self.reading, self.most = [], 0, 0

    def specs(self):
        return tuple(
            WeightSpec(address, a.shape, a.dtype.name, True, "Dense")
            for address, a in self.arrays.items()
        )

    def read(self, address):
        self.reading += 1
        self.most = max(self.most, self.reading)
        self.reads.append((address, threading.current_thread().name))
        try:
            if address in self.fails:
                raise OSError("the disk said no")
            return self.arrays[address].copy()
        finally:
            self.reading -= 1

    def stored(self, address):
        return {"value": self.arrays[address]}


@pytest.fixture
def source():
    rng = np.random.default_rng(0)
    sizes = [(30, 20), (400, 300), (5,), (200, 100), (64, 64), (300, 400)]
    return Source({f"w{i}": rng.normal(size=s).astype("float32") for i, s in enumerate(sizes)})
