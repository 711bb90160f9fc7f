"""One backend per process, the same seed for each test, and no Keras where none is wanted."""

import os
from collections import Counter
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from tests.turns import mine

ALONE = "pytest.mark.no_keras"


def _without_keras(config: pytest.Config) -> bool:
    return config.option.markexpr == "no_keras"


def pytest_configure(config: pytest.Config) -> None:
    """Without a word from outside, the first backend that is installed."""
    if _without_keras(config) or "KERAS_BACKEND" in os.environ:
        return
    installed = [name for name in ("tensorflow", "jax", "torch") if find_spec(name)]
    if not installed:
        raise pytest.UsageError("No backend is installed. Try `make test`.")
    os.environ["KERAS_BACKEND"] = installed[0]


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Under `-m no_keras`, do not even import the other files: they import Keras at their top."""
    if not _without_keras(config) or not collection_path.name.startswith("test_"):
        return None
    if collection_path.is_dir() or ALONE in collection_path.read_text(encoding="utf-8"):
        return None
    return True


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Of a test that is marked `in_turn`, only the rows that run on this backend."""
    seen: Counter[str] = Counter()
    kept, left = [], []
    for item in items:
        row = True
        if item.get_closest_marker("in_turn"):
            function = item.nodeid.split("[")[0]
            row = mine(seen[function])
            seen[function] += 1
        (kept if row else left).append(item)
    config.hook.pytest_deselected(items=left)
    items[:] = kept


@pytest.fixture(autouse=True)
def _fresh_keras(request: pytest.FixtureRequest) -> Iterator[None]:
    """Forget names, dtype policy and seeds that an earlier test left behind."""
    if request.node.get_closest_marker("no_keras") is None:
        import keras

        keras.backend.clear_session(free_memory=False)
        keras.utils.set_random_seed(0)
    yield
