"""What is said of two weights that are one by address."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from steelyard import metrics as measures
from steelyard.compare._difference import Difference, difference, difference_in_blocks
from steelyard.compare._lockstep import in_lockstep
from steelyard.compare._pairing import Couple
from steelyard.records import Change, Metric

Numbers = tuple[tuple[str, float], ...]


def change(
    couple: Couple,
    kind: str,
    reasons: Iterable[str] = (),
    amount: float | None = None,
    numbers: Numbers = (),
) -> Change:
    """The entry of a couple."""
    first, second = couple.first, couple.second
    return Change(
        couple.address,
        kind,
        couple.source,
        "; ".join(filter(None, reasons)),
        None if second is None else second.shape,
        None if first is None else first.shape,
        None if second is None else second.dtype,
        None if first is None else first.dtype,
        amount,
        numbers,
    )


def compared(couple: Couple, metrics: Sequence[Metric]) -> Change:
    """Reads both weights of a couple, side by side, and says how they differ."""
    first, second = couple.first, couple.second
    assert first is not None and second is not None
    if first.size != second.size:
        return change(couple, "reshaped", [_reshaped(couple), stored(couple)])
    try:
        blocks = None if metrics else in_lockstep(first, second)
        found = None if blocks is None else difference_in_blocks(blocks)
        if found is None:
            a, b = first.numpy(), second.numpy()
            found = difference(a, b)
        if first.shape != second.shape:
            return _regrouped(couple, found)
        if found.equal:
            return change(couple, "unchanged", [_equal(couple, found)], 0.0)
        more = list(_measured(a, b, found, metrics)) if metrics else []
    except Exception as error:  # one weight must not end the others
        reason = f"could not be compared: {type(error).__name__}: {error}"
        return change(couple, "failed", [reason])
    numbers = dict(_numbers(found)) | {row.name: value for row, value in more if value is not None}
    reasons = [*_reasons(found), *_words(more), stored(couple)]
    return change(couple, "changed", reasons, found.amount, tuple(numbers.items()))


def stored(couple: Couple, start: str = "") -> str:
    """In what dtype, if that is another one."""
    first, second = couple.first, couple.second
    if first is None or second is None or first.dtype == second.dtype:
        return ""
    return f"{start}stored as {second.dtype} instead of {first.dtype}"


def _regrouped(couple: Couple, found: Difference) -> Change:
    if found.equal:
        reasons = [f"{_reshaped(couple)}, the same numbers in the same order", stored(couple)]
        return change(couple, "reshaped", reasons, 0.0)
    return change(couple, "reshaped", [f"{_reshaped(couple)}, with other numbers", stored(couple)])


def _reshaped(couple: Couple) -> str:
    assert couple.first is not None and couple.second is not None
    return f"shape {couple.second.shape} instead of {couple.first.shape}"


def _equal(couple: Couple, found: Difference) -> str:
    if said := stored(couple, "the same values, "):
        return said
    return "" if found.in_bits else "equal as numbers, not bit for bit"


def _numbers(found: Difference) -> Iterator[tuple[str, float]]:
    yield "max_abs_difference", found.largest
    if not math.isnan(found.cosine):
        yield "cosine", found.cosine


def _reasons(found: Difference) -> Iterator[str]:
    if found.apart:
        yield f"{_entries(found.apart)} NaN or infinite in one and not the same in the other"
    if found.skipped:
        yield f"without {_entries(found.skipped)} NaN or infinite, and the same in both"
    others = "elsewhere " if found.apart else ""
    words = [f"{others}max abs difference {found.largest:.3g}"]
    if math.isinf(found.amount) and not found.apart:
        words.append("all 0 in the first")
    elif math.isnan(found.cosine):
        words.append("all 0 in one of them")
    else:
        words.append(f"cosine {found.cosine:.6g}")
    yield ", ".join(words)


def _entries(number: int) -> str:
    return "1 entry that is" if number == 1 else f"{number:,} entries that are"


def _measured(
    a: np.ndarray, b: np.ndarray, found: Difference, metrics: Iterable[Metric]
) -> Iterator[tuple[Metric, float | None]]:
    """Of each metric its value; None where there is none."""
    known = dict(_numbers(found)) | dict.fromkeys(
        ("relative_distance", "update_ratio"), found.amount
    )
    for row in metrics:
        if row.name in known:
            yield row, known[row.name]
        elif found.apart or found.skipped or a.ndim < 2:
            yield row, None
        else:
            yield row, _value(row, a, b)


def _value(row: Metric, a: np.ndarray, b: np.ndarray) -> float | None:
    try:
        value = float(getattr(measures, row.name)(a, b))
    except (np.linalg.LinAlgError, ArithmeticError):
        return None
    return value if math.isfinite(value) else None


def _words(more: Iterable[tuple[Metric, float | None]]) -> Iterator[str]:
    for row, value in more:
        name = row.name.replace("_", " ")
        unit = "" if row.unit in ("1", "w") else f" {row.unit}"
        if value is None:
            yield f"no {name} here"
        elif row.name not in ("max_abs_difference", "cosine"):
            yield f"{name} {value:.3g}{unit}"
