"""Values of weights that became constants of a graph or of a function."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from steelyard.findings._held import is_array, is_of_a_framework
from steelyard.findings._subject import Found, Row, Subject
from steelyard.live import Substitute, is_initialized, own_dtype, read

_LIVE = (
    "Borrow the weight in a layer (`sy.ref`, `sy.layers.TiedDense`), or take it into the graph by "
    "`sy.value(layer, {name!r})`."
)


def frozen_values(subject: Subject) -> Iterator[Found]:
    """Weights whose value, or whose variable, is an argument of an operation or held as an array.

    An array counts as a weight's value if it has exactly its numbers, or some of them.
    """
    seen: set[tuple[str, str]] = set()
    numbers = _Numbers(subject)
    for operation, kind, value in subject.constants:
        row = numbers.whose(value)
        if row is None or (row.address, operation) in seen:
            continue
        seen.add((row.address, operation))
        yield Found(row.address, _in_graph(value, operation, kind), _LIVE.format(name=row.name))
    for place in subject.places:
        for held in subject.held[id(place.layer)]:
            if not is_array(held.value) or not _is_users_way(place.layer, held.way):
                continue
            row = numbers.whose(held.value, but_not_below=place.layer)
            where = subject.address(place.layer, *held.way)
            if row is not None and (row.address, where) not in seen:
                seen.add((row.address, where))
                yield Found(
                    row.address,
                    f"Its value of now is held as an array in '{where}', which stays what it is "
                    "when training moves the weight, and lets no gradient through.",
                    _LIVE.format(name=row.name),
                )


def _is_users_way(layer: keras.Layer, way: tuple[str, ...]) -> bool:
    """Whether a user put something there: Keras's own layers keep arrays of their own."""
    return len(way) > 1 or not is_of_a_framework(type(layer))


def _in_graph(value: Any, operation: str, kind: str) -> str:
    if isinstance(value, keras.Variable):
        return (
            f"Its variable is an argument of operation '{operation}' ({kind}): a file gets its "
            "value of now as a constant, or cannot be written, and a clone goes on reading the "
            "weight of this model."
        )
    return (
        f"Its value was worked out when the graph was built, and is a constant of operation "
        f"'{operation}' ({kind}), which stays what it is when training moves the weight, and lets "
        "no gradient through."
    )


class _Numbers:
    """Finds the weight whose numbers an array has. Reads weights only where there is an array."""

    def __init__(self, subject: Subject) -> None:
        self._rows = [row for row in subject.rows if not isinstance(row.variable, Substitute)]

    def whose(self, value: Any, but_not_below: keras.Layer | None = None) -> Row | None:
        """The weight that a variable is, or whose numbers an array has.

        Not one in or below the layer that holds the array: it may have been initialized from it.
        """
        if isinstance(value, keras.Variable):
            return next((row for row in self._rows if row.variable is value), None)
        size = math.prod(value.shape)
        rows = [
            row
            for row in self._rows
            if math.prod(row.variable.shape) >= size and is_initialized(row.variable)
        ]
        if found := [row for row in rows if row.variable.value is value]:
            return found[0]
        numbers = _numbers(value) if rows else None
        if numbers is None:
            return None
        same = [row for row in rows if _has(row.variable, numbers)]
        if but_not_below is not None:
            own = {id(variable) for variable in but_not_below.variables}
            if any(id(row.variable) in own for row in same):
                return None
        return same[0] if same else None


def _has(variable: keras.Variable, numbers: np.ndarray) -> bool:
    """Whether a weight has exactly these numbers, in any order, or all of them among others."""
    if not keras.backend.is_float_dtype(variable.dtype):
        return False
    with own_dtype():
        values = keras.ops.convert_to_numpy(read(variable))
    if not np.any(values == numbers[0]):  # nearly always
        return False
    known = np.sort(values.astype("float64"), axis=None)
    if known.size == numbers.size:
        return bool(np.array_equal(known, np.sort(numbers)))
    # A part of a weight; but whole numbers may well be in it by chance.
    if not np.any(numbers % 1):
        return False
    at = np.minimum(np.searchsorted(known, numbers), known.size - 1)
    return bool(np.array_equal(known[at], numbers))


# Fewer different numbers than these could be zeros and ones: a mask, or a bias.
_FEWEST = 3


def _numbers(value: Any) -> np.ndarray | None:
    """The numbers of an array, if there are enough to know them again."""
    if isinstance(value, np.ndarray) and value.dtype.kind != "f":
        return None
    if not keras.backend.is_float_dtype(keras.backend.standardize_dtype(value.dtype)):
        return None
    numbers = np.asarray(keras.ops.convert_to_numpy(value), "float64").ravel()
    return numbers if np.unique(numbers[:1000]).size >= _FEWEST else None
