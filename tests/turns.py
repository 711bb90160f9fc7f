"""Which rows of a long table run here, where a law is about Keras rather than about a backend.

A run on all three backends takes such rows in turn, each on one of them; together they run all. Any
other run (one backend, or pytest by hand) runs every row.
"""

import os
from collections.abc import Iterable
from typing import TypeVar

import pytest

Row = TypeVar("Row")

IN_TURN = os.environ.get("ROWS_IN_TURN") == "1"
BACKENDS = ("tensorflow", "jax", "torch")
PLACE = BACKENDS.index(os.environ.get("KERAS_BACKEND", "tensorflow"))


def mine(index: int) -> bool:
    """Whether the row of this number runs here."""
    return not IN_TURN or index % len(BACKENDS) == PLACE


def in_turn(rows: Iterable[Row]) -> list[Row]:
    """The rows that run here."""
    return [row for index, row in enumerate(rows) if mine(index)]


def once(backend: str) -> pytest.MarkDecorator:
    """Marks what does not depend on the backend: a run on all three has it on this one only."""
    elsewhere = IN_TURN and BACKENDS[PLACE] != backend
    return pytest.mark.skipif(elsewhere, reason=f"the same on each backend; runs on {backend}")
