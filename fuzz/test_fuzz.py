"""A short run of each target; they share `FUZZ_SECONDS`: 40, which is a minute with all starts."""

import os

import pytest

from fuzz import run
from fuzz.targets import TARGETS

pytestmark = [
    pytest.mark.fuzz,
    pytest.mark.skipif(bool(run.why_not()), reason=run.why_not() or "it can be run"),
]


@pytest.fixture(scope="module", autouse=True)
def _seeds() -> None:
    run.make_seeds([*TARGETS])


@pytest.mark.parametrize("name", TARGETS)
def test_nothing_is_found(name: str) -> None:
    """No input that is read in another way than by an error of ours or a list."""
    outcome = run.fuzz(name, float(os.environ.get("FUZZ_SECONDS", "40")) / len(TARGETS))
    assert not outcome.found, outcome.said[-8000:]
    assert outcome.runs > 0, outcome.said[-8000:]
