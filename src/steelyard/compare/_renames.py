"""Weights that only one source has, found again in the other by their content."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from hashlib import blake2b
from typing import NamedTuple

import numpy as np

from steelyard.selection import Weight

Content = tuple[tuple[int, ...], str, bytes]


class Renames(NamedTuple):
    """What the content of weights says of where they were.

    Args:
        pairs: The address in the second source, by that in the first.
        reasons: What is to be said of others, by whether they are in the second, and address.
    """

    pairs: dict[str, str]
    reasons: dict[tuple[bool, str], str]


def candidates(
    first: Iterable[Weight], second: Iterable[Weight], asked: Callable[[Weight, int], bool]
) -> tuple[list[Weight], list[Weight]]:
    """Those of both that have a shape which the other has too.

    Args:
        first: What only the first source has.
        second: What only the second source has.
        asked: Whether a weight is asked about, of the first source (0) or the second (1); shapes
            that no such weight has are left out.
    """
    first, second = list(first), list(second)
    shapes = {one.shape for one in first} & {one.shape for one in second}
    shapes &= {
        one.shape for late, many in enumerate((first, second)) for one in many if asked(one, late)
    }
    kept = [[one for one in many if one.shape in shapes] for many in (first, second)]
    return kept[0], kept[1]


def renames(first: Iterable[Weight], second: Iterable[Weight], tell: Callable[[], None]) -> Renames:
    """Pairs what has the same bytes, where no other weight has them too.

    Args:
        first: Of the first source.
        second: Of the second source.
        tell: Called after each weight that was read.
    """
    found = Renames({}, {})
    by_content: dict[Content, tuple[list[str], list[str]]] = {}
    for late, many in enumerate((first, second)):
        for weight in many:
            try:
                content = _content(weight.numpy())
            except Exception as error:  # one weight must not end the others
                why = f"could not be read to see whether it was renamed: {_named(error)}"
                found.reasons[bool(late), weight.address] = why
                content = None
            if content is not None:
                by_content.setdefault(content, ([], []))[late].append(weight.address)
            tell()
    for old, new in by_content.values():
        if len(old) == len(new) == 1:
            found.pairs[old[0]] = new[0]
        elif old and new:
            found.reasons.update({(False, one): _open(new) for one in old})
            found.reasons.update({(True, one): _open(old) for one in new})
    return found


def _content(value: np.ndarray) -> Content | None:
    """What identifies a value; None for a constant, which many weights are."""
    flat = value.reshape(-1)
    if flat.size < 2 or bool((flat == flat[0]).all()) or bool((flat != flat).all()):
        return None
    digest = blake2b(flat.view("u1").data, digest_size=32).digest()
    return value.shape, value.dtype.name, digest


def _open(others: list[str]) -> str:
    named = " and ".join(map(repr, others[:3]))
    more = f" and {len(others) - 3:,} more" if len(others) > 3 else ""
    return f"has the values of {named}{more}; several have them, so nothing is said to be renamed"


def _named(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
