"""A source that travels to other processes, writes down who read what, and may end its reader."""

import os
import signal
import time
from pathlib import Path

import numpy as np

from steelyard.records import WeightSpec

SHAPES = [(300, 40 + 10 * i) for i in range(8)] + [(50, 3 + i) for i in range(24)]


class Fragile:
    """Weights made of their own number.

    Args:
        folder: Where it writes down what was read.
        fatal: By address, how many times reading it ends the process.
        slow: How many seconds a read takes.
    """

    def __init__(self, folder, fatal=None, slow=0.0):
        self.folder, self.fatal, self.slow = Path(folder), fatal or {}, slow

    def specs(self):
        return [WeightSpec(f"w{i}", s, "float32", True, "Dense") for i, s in enumerate(SHAPES)]

    def read(self, address):
        with (self.folder / "reads").open("a") as file:
            file.write(f"{address} {os.getpid()}\n")
        if self.read_times(address) <= self.fatal.get(address, 0):
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(self.slow)
        number = int(address[1:])
        return np.random.default_rng(number).normal(size=SHAPES[number]).astype("float32")

    def stored(self, address):
        return {"value": self.read(address)}

    def read_times(self, address):
        return [line.split()[0] for line in self.lines()].count(address)

    def lines(self):
        path = self.folder / "reads"
        return path.read_text().splitlines() if path.exists() else []
