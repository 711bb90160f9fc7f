"""A process that loads files, as a fixture: to start one costs seconds."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="session")
def loaded_elsewhere(tmp_path_factory) -> Iterator[Callable[[Path, str], SimpleNamespace]]:
    """Loads a file in another process, by `steelyard` or by `keras`; says what came of it."""
    import keras

    path = [str(ROOT), *(entry for entry in sys.path if entry)]
    told = {"KERAS_BACKEND": keras.backend.backend(), "PYTHONPATH": os.pathsep.join(path)}
    errors = (tmp_path_factory.mktemp("saved") / "stderr").open("w+")
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.saving.loader"],
        cwd=ROOT,
        env={**os.environ, **told},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=errors,
        text=True,
    )

    def load(file: Path, by: str) -> SimpleNamespace:
        print(json.dumps({"path": str(file), "by": by}), file=process.stdin, flush=True)
        line = process.stdout.readline()
        assert line, "the process that loads has ended"
        said = json.loads(line)
        assert "error" not in said, said["error"]
        return SimpleNamespace(**said)

    yield load
    process.stdin.close()
    process.wait(timeout=60)
    errors.close()
