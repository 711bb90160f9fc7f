"""What the laws share: modules that are imported by name, and a process that loads models."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="session")
def loader(tmp_path_factory) -> Iterator[subprocess.Popen]:
    """One process for the whole session: to start one costs seconds."""
    import keras

    path = [str(ROOT), *(entry for entry in sys.path if entry)]
    told = {"KERAS_BACKEND": keras.backend.backend(), "PYTHONPATH": os.pathsep.join(path)}
    errors = (tmp_path_factory.mktemp("loader") / "stderr").open("w+")
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.laws.loader"],
        cwd=ROOT,
        env={**os.environ, **told},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=errors,
        text=True,
    )
    yield process
    process.stdin.close()
    process.wait(timeout=60)
    errors.close()


@pytest.fixture(scope="session")
def trained() -> Callable[[str], dict[str, dict]]:
    """What `replicas.py` says of a strategy: one process, or pair, for all its rows."""
    from tests.laws import layer

    known: dict[str, Any] = {}

    def under(strategy: str) -> dict[str, dict]:
        if strategy not in known:
            try:
                known[strategy] = layer.trained_under(strategy)
            except Exception as error:  # not again for each row
                known[strategy] = error
        if isinstance(known[strategy], Exception):
            raise known[strategy]
        return known[strategy]

    return under


@pytest.fixture
def elsewhere(loader: subprocess.Popen, tmp_path: Path) -> Callable[..., SimpleNamespace]:
    """Saves a model, loads it in another process, and says what it computes there."""

    def load(
        model: Any, inputs: Any, add: tuple[str, ...] = (), losses: bool = False
    ) -> SimpleNamespace:
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.keras"
        model.save(path)
        request = {"path": str(path), "inputs": inputs.tolist(), "add": list(add)}
        request["losses"] = losses
        print(json.dumps(request), file=loader.stdin, flush=True)
        line = loader.stdout.readline()
        assert line, "the process that loads has ended"
        said = json.loads(line)
        assert "error" not in said, said["error"]
        return SimpleNamespace(**said)

    return load
