"""A series of numbers as a word of small bars."""

from __future__ import annotations

import math
from collections.abc import Sequence

_BARS = "▁▂▃▄▅▆▇█"
_MIDDLE = _BARS[3]
_INFINITE = "!"


def sparkline(values: Sequence[float | None], width: int) -> str:
    """As many letters as asked, each as high as its number; the last number is always there.

    A blank is where there is no number, `!` where it is infinite. Of positive numbers that span
    more than fiftyfold the logarithms count. Of several numbers for a letter it is the last.
    """
    shown = [math.nan if value is None else float(value) for value in _sampled(values, width)]
    finite = [value for value in shown if math.isfinite(value)]
    if finite and min(finite) > 0 and max(finite) > 50 * min(finite):
        shown = [math.log(value) if math.isfinite(value) else value for value in shown]
        finite = [value for value in shown if math.isfinite(value)]
    least, most = (min(finite), max(finite)) if finite else (0.0, 0.0)
    return "".join(_bar(value, least, most) for value in shown)


def _sampled(values: Sequence[float | None], width: int) -> list[float | None]:
    count = len(values)
    if count <= width:
        return list(values)
    return [values[(i + 1) * count // width - 1] for i in range(width)]


def _bar(value: float, least: float, most: float) -> str:
    if math.isnan(value):
        return " "
    if math.isinf(value):
        return _INFINITE
    if most == least:
        return _MIDDLE
    # Halves first: the difference of two large numbers may be infinite.
    share = (value / 2 - least / 2) / (most / 2 - least / 2)
    return _BARS[min(len(_BARS) - 1, int(share * len(_BARS)))]
