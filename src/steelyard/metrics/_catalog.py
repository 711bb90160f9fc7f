"""The catalog: each metric is a pure function with a row that says what it means."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable
from typing import Any, get_type_hints

import numpy as np

from steelyard.errors import UnknownMetricError
from steelyard.metrics._answer import Answer
from steelyard.metrics._matrix import Matrices, matrices
from steelyard.metrics._spectrum import Largest, Spectrum, largest_of, spectrum_of
from steelyard.metrics._units import Units, units_of
from steelyard.metrics._values import Values, values_of
from steelyard.records import Metric


class Gradient(np.ndarray):
    """The type of the argument of a metric that takes the gradient of a weight."""


# What a metric takes, and how that is made of an array.
PREPARATIONS: dict[type, tuple[str, Callable[..., Any]]] = {
    Values: ("values", values_of),
    Units: ("units", units_of),
    Matrices: ("matrix", matrices),
    Largest: ("largest", largest_of),
    Spectrum: ("spectrum", spectrum_of),
}
GROUPS = (
    *("health", "values", "norms", "spectral", "powerlaw", "bulk", "random", "comparison"),
    "training",
)
# What no weight alone has: another weight, or a gradient.
BESIDE = ("pair", "gradient")
# Cheap, and what tells first that something is wrong.
DEFAULT = ("l2_norm", "max_abs", "mean", "std", "zero_fraction", "nan_count", "inf_count")

_ROWS: dict[str, Metric] = {}
_FUNCTIONS: dict[str, Callable[..., Any]] = {}


def metric(
    group: str,
    unit: str = "1",
    range: str = "(-inf, inf)",
    source: str = "",
    in_graph: bool = False,
    on_demand: bool = False,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Enter a function in the catalog; what it needs is the type of its first argument.

    The function that comes out takes an array, or what has been prepared of one.
    """

    def enter(function: Callable[..., Any]) -> Callable[..., Any]:
        name = function.__name__
        first = next(iter(get_type_hints(function).values()))
        beside = "gradient" if first is Gradient else "pair"
        needs, prepare = PREPARATIONS.get(first, (beside, None))
        summary = (function.__doc__ or "").strip().splitlines()[0]
        _ROWS[name] = Metric(name, group, unit, range, needs, source, summary, in_graph, on_demand)
        _FUNCTIONS[name] = function
        if prepare is None:
            return function

        @functools.wraps(function)
        def public(array: Any, xp: Any = np, **told: Any) -> Any:
            return plain(function(prepare(array, xp, **told)))

        return public

    return enter


def plain(answer: Any) -> Any:
    """The value alone; NaN where there is none."""
    if not isinstance(answer, Answer):
        return answer
    return math.nan if answer.value is None else answer.value


def catalog() -> list[Metric]:
    """All metrics, group by group, each with its unit, range, source and meaning."""
    return sorted(_ROWS.values(), key=lambda row: GROUPS.index(row.group))


def in_graph() -> tuple[str, ...]:
    """The names of those that tensors of a graph give too."""
    return tuple(row.name for row in catalog() if row.in_graph)


def function(name: str) -> Callable[..., Any]:
    """The function of a metric, which takes what `needs` names and may give an `Answer`."""
    return _FUNCTIONS[name]


def chosen(metrics: str | Iterable[str] | None, *, training: bool = False) -> tuple[Metric, ...]:
    """The rows of metrics and groups by name, each once, in the order asked.

    Args:
        metrics: Names of metrics or groups; None for a cheap default. A group brings all of its
            metrics but those on demand; `"all"` all groups.
        training: Whether a group brings those that compare or take a gradient as well.

    Raises:
        UnknownMetricError: There is none of that name; names the nearest.
    """
    names = DEFAULT if metrics is None else (metrics,) if isinstance(metrics, str) else metrics
    rows: dict[str, Metric] = {}
    for name in names:
        for row in _named(name, training):
            rows.setdefault(row.name, row)
    if not rows:
        raise UnknownMetricError(f"No metric was asked for. There are: {', '.join(_ROWS)}.")
    return tuple(rows.values())


def _named(name: str, training: bool) -> list[Metric]:
    if name in _ROWS:
        return [_ROWS[name]]
    if name in GROUPS or name == "all":
        return [
            row
            for row in catalog()
            if name in (row.group, "all") and not row.on_demand
            if training or row.needs not in BESIDE
        ]
    from difflib import get_close_matches

    near = get_close_matches(str(name), [*_ROWS, *GROUPS], n=3, cutoff=0.5)
    hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
    raise UnknownMetricError(
        f"There is no metric {name!r}.{hint} There are the groups {', '.join(GROUPS)}, and the "
        f"metrics {', '.join(_ROWS)}."
    )
