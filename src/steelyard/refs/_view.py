"""Lazy slices and transposes of a reference: steps that are applied each time it is read."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from steelyard.errors import TargetError

TRANSPOSE = "T"


def index(item: Any) -> tuple[Any, ...]:
    """An index as a step: integers, slices, None, Ellipsis and lists of integers."""
    items = item if isinstance(item, tuple) else (item,)
    step = tuple(_clean(part) for part in items)
    if (
        any(isinstance(part, list) for part in step)
        and sum(isinstance(part, (list, int)) for part in step) > 1
    ):
        raise TargetError(
            f"A list stands alone among slices in the index of a reference, since NumPy and the "
            f"backends differ on what several mean. Received: [{_written(step)}]. Index twice "
            "instead, as in `ref[:, [0, 2]][0]`."
        )
    return step


def _clean(part: Any) -> Any:
    if part is None or part is Ellipsis:
        return part
    if isinstance(part, slice):
        ends = (part.start, part.stop, part.step)
        return slice(*(None if end is None else int(end) for end in ends))
    if isinstance(part, (list, np.ndarray)):
        where = np.asarray(part)
        if where.ndim == 1 and where.dtype.kind in "iu":
            return [int(i) for i in where]
    if isinstance(part, (int, np.integer)) and not isinstance(part, bool):
        return int(part)
    raise TargetError(
        f"A reference is indexed by integers, slices, None, ... and lists of integers. "
        f"Received: {part!r}"
    )


def apply(view: tuple[Any, ...], value: Any) -> Any:
    """The value, seen through each step in turn.

    Raises:
        TargetError: an index does not fit (JAX would clamp it without a word).
    """
    shape(view, tuple(value.shape))
    for step in view:
        if step == TRANSPOSE:
            value = keras.ops.transpose(value)
        else:
            value = _take(value, step)
    return value


def _take(value: Any, step: tuple[Any, ...]) -> Any:
    """Indexes a tensor; what not every backend's own indexing can do goes through `keras.ops`."""
    step = _aligned(step, len(value.shape))
    axis = 0
    for part in step:
        if isinstance(part, list):
            where = [index % value.shape[axis] for index in part]
            value = keras.ops.take(value, where, axis=axis)
        elif isinstance(part, slice) and (part.step or 1) < 0:
            where = list(range(value.shape[axis])[part])
            value = keras.ops.take(value, where, axis=axis)
        axis += part is not None
    plain = tuple(
        slice(None) if isinstance(p, list) or (isinstance(p, slice) and (p.step or 1) < 0) else p
        for p in step
    )
    return value[plain]


def _aligned(step: tuple[Any, ...], ndim: int) -> tuple[Any, ...]:
    """The index with `...` written out."""
    if Ellipsis not in [part for part in step if not isinstance(part, list)]:
        return step
    place = next(i for i, part in enumerate(step) if part is Ellipsis)
    named = sum(part is not None and part is not Ellipsis for part in step)
    return (*step[:place], *[slice(None)] * (ndim - named), *step[place + 1 :])


def shape(view: tuple[Any, ...], of: tuple[int, ...]) -> tuple[int, ...]:
    """The shape that a value of shape `of` has after all steps.

    Raises:
        TargetError: an index does not fit the shape.
    """
    blank = np.broadcast_to(np.empty(()), of)
    for step in view:
        try:
            blank = blank.T if step == TRANSPOSE else blank[step]
        except IndexError as error:
            raise TargetError(
                f"Index {step} does not fit a weight of shape {of}: {error}"
            ) from None
    return blank.shape


def describe(view: tuple[Any, ...]) -> str:
    """The steps as one would write them."""
    return "".join(".T" if step == TRANSPOSE else f"[{_written(step)}]" for step in view)


def _written(step: tuple[Any, ...]) -> str:
    def one(part: Any) -> str:
        if not isinstance(part, slice):
            return "..." if part is Ellipsis else str(part)
        ends = ["" if end is None else str(end) for end in (part.start, part.stop)]
        return ":".join(ends + ([str(part.step)] if part.step is not None else []))

    return ", ".join(one(part) for part in step)


def to_config(view: tuple[Any, ...]) -> list[Any]:
    """The steps as JSON."""

    def one(part: Any) -> Any:
        if isinstance(part, slice):
            return {"slice": [part.start, part.stop, part.step]}
        return "..." if part is Ellipsis else part

    return [step if step == TRANSPOSE else [one(part) for part in step] for step in view]


def from_config(config: list[Any]) -> tuple[Any, ...]:
    """Reads what `to_config` wrote."""

    def one(part: Any) -> Any:
        if isinstance(part, dict):
            return slice(*part["slice"])
        return Ellipsis if part == "..." else part

    return tuple(s if s == TRANSPOSE else tuple(one(part) for part in s) for s in config)
