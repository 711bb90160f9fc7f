"""Names of files that the verbs open, with weights that no file is needed for."""

import numpy as np
import pytest
from click.testing import CliRunner

from steelyard.cli import main
from steelyard.errors import CheckpointError
from steelyard.records import WeightSpec
from steelyard.selection import Weights


class Held:
    """A source of arrays; one that is an exception is raised when it is read."""

    def __init__(self, arrays, note=""):
        self.arrays = arrays
        self.note = note

    def specs(self):
        return [
            WeightSpec(name, np.shape(array), str(np.asarray(array).dtype), True, "Dense")
            if not isinstance(array, BaseException)
            else WeightSpec(name, (2, 2), "float32", True, "Dense")
            for name, array in self.arrays.items()
        ]

    def read(self, address):
        if isinstance(self.arrays[address], BaseException):
            raise self.arrays[address]
        return np.array(self.arrays[address])

    def stored(self, address):
        return {address: self.read(address)}


@pytest.fixture
def files(monkeypatch):
    """A dictionary of what is in which file; the verbs find what a test puts there."""
    there = {}

    def weights(path, pattern="**"):
        if isinstance(path, Weights):
            return path
        if path not in there:
            raise CheckpointError(f"{path}: there is no such file")
        found = Weights(Held(there[path]))
        return found if pattern == "**" else found.select(pattern)

    # `opening` last: a room that is first imported here must keep the true one for later.
    for room in ("measuring", "diffing", "converting._convert", "opening"):
        monkeypatch.setattr(f"steelyard.{room}.weights", weights)
    return there


@pytest.fixture
def run(monkeypatch):
    """Runs a command line, and holds its exit status."""
    for name in ("COLUMNS", "FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)

    def run(*arguments, code=0):
        result = CliRunner().invoke(main, arguments)
        assert result.exit_code == code, (result.output, result.exception)
        return result

    return run
