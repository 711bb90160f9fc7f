"""Each file in examples/ runs to its end in a process of its own."""

import subprocess
import sys
from pathlib import Path

import pytest
from tests.turns import in_turn

EXAMPLES = sorted((Path(__file__).parent.parent / "examples").glob("*.py"))


@pytest.mark.parametrize("path", in_turn(EXAMPLES), ids=lambda path: path.stem)
def test_example_runs(path):
    done = subprocess.run([sys.executable, path], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    # Each number stands beside the one that NumPy computes; the example checks the full digits.
    compared = [line for line in done.stdout.splitlines() if "by NumPy" in line]
    assert compared or path.stem != "the_question"
    for line in compared:
        shown, by_numpy = line.split("by NumPy")
        assert float(shown.split()[-1]) == pytest.approx(float(by_numpy), rel=1e-5)
