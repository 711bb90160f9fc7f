"""What is found to go wrong in training: readings held against limits."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from difflib import get_close_matches
from typing import NamedTuple

from steelyard.errors import SteelyardError
from steelyard.metrics import sides
from steelyard.records import Finding, Reading, WeightSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """From where on a number is a finding; None never.

    Each is looked at where its metric is measured.

    Args:
        exploding_update: An `update_ratio` above it.
        vanishing_update: An `update_ratio` below it, of a weight that training moves.
        exploding_gradient: A `gradient_norm` above it.
        vanishing_gradient: A `gradient_norm` below it.
        dead_units: A share of `dead_units` above it.
        rank_collapse: An `effective_rank` or `numerical_rank` below this share of the full rank.
    """

    exploding_update: float | None = 1.0
    vanishing_update: float | None = 1e-8
    exploding_gradient: float | None = 1e4
    vanishing_gradient: float | None = 1e-10
    dead_units: float | None = 0.5
    rank_collapse: float | None = 0.05


def limits_of(told: Mapping[str, float | None] | None) -> Limits:
    """The limits that a user gave by name, and the usual ones.

    Raises:
        SteelyardError: There is no such limit, or it is no number.
    """
    names = [field.name for field in fields(Limits)]
    for name, value in (told or {}).items():
        if name not in names:
            near = get_close_matches(str(name), names, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise SteelyardError(f"There is no limit {name!r}.{hint} There are {', '.join(names)}.")
        if value is not None and not isinstance(value, int | float):
            raise SteelyardError(f"The limit {name!r} is a number or None. Received: {value!r}")
    return Limits(**(told or {}))


class _Rule(NamedTuple):
    limit: str
    code: str
    metrics: tuple[str, ...]
    of: Callable[[float, WeightSpec], float]
    above: bool
    said: str
    fix: str


def _itself(value: float, spec: WeightSpec) -> float:
    return value


def _of_units(value: float, spec: WeightSpec) -> float:
    """The share of the output units."""
    sizes = [n for n, axis in zip(spec.shape, spec.axes, strict=False) if axis == "o"]
    units = math.prod(sizes) if sizes else spec.shape[-1]
    return value / units if units else 0.0


def _of_full_rank(value: float, spec: WeightSpec) -> float:
    """The share of the most that there can be."""
    axes = spec.axes if len(spec.axes) == len(spec.shape) else ""
    _, high, wide = sides(spec.shape, axes, "flat")
    return value / min(high, wide) if min(high, wide) else 1.0


_RULES = (
    _Rule(
        *("exploding_update", "exploding-update", ("update_ratio",), _itself, True),
        "it changed by {value:.3g} times its own norm since the reading before",
        "Lower the learning rate, clip the gradient, or warm up.",
    ),
    _Rule(
        *("vanishing_update", "vanishing-update", ("update_ratio",), _itself, False),
        "it changed by only {value:.3g} of its own norm since the reading before",
        "Look whether a gradient reaches it, and whether the learning rate has run out.",
    ),
    _Rule(
        *("exploding_gradient", "exploding-gradient", ("gradient_norm",), _itself, True),
        "the norm of its gradient is {value:.3g}",
        "Clip the gradient, or lower the learning rate.",
    ),
    _Rule(
        *("vanishing_gradient", "vanishing-gradient", ("gradient_norm",), _itself, False),
        "the norm of its gradient is {value:.3g}",
        "Look at the layers between it and the loss: saturated or dead activations.",
    ),
    _Rule(
        *("dead_units", "dead-units", ("dead_units",), _of_units, True),
        "{value:.0%} of its output units have no weight but 0",
        "Make the layer smaller, or its penalty or pruning weaker.",
    ),
    _Rule(
        *("rank_collapse", "rank-collapse", ("effective_rank", "numerical_rank"), _of_full_rank),
        False,
        "its rank is {value:.1%} of what its shape could have",
        "Look at weight decay and at what collapses its inputs.",
    ),
)


class Watch:
    """Holds readings against limits, and tells what is new.

    A finding is told when it begins, and again only after it had ended.

    Args:
        limits: The limits.
        specs: The weights that are measured.
    """

    def __init__(self, limits: Limits, specs: Iterable[WeightSpec]) -> None:
        self._limits = asdict(limits)
        self._specs = {spec.address: spec for spec in specs}
        self._on: set[tuple[str, str]] = set()

    def look(self, readings: Iterable[Reading], step: int) -> list[Finding]:
        """The findings that begin with these readings."""
        now = {(found.code, found.address): found for found in self._found(readings, step)}
        new = [found for key, found in now.items() if key not in self._on]
        self._on = set(now)
        return new

    def _found(self, readings: Iterable[Reading], step: int) -> Iterator[Finding]:
        for reading in readings:
            for rule in _RULES:
                limit = self._limits[rule.limit]
                if reading.metric not in rule.metrics or limit is None:
                    continue
                if reading.value is None or not math.isfinite(float(reading)):
                    continue
                spec = self._specs[reading.address]
                value = rule.of(float(reading), spec)
                beyond = value > limit if rule.above else value < limit
                if beyond and (rule.above or spec.trainable):
                    said = rule.said.format(value=value)
                    sign = ">" if rule.above else "<"
                    message = f"At step {step:,} {said} ({rule.limit} {sign} {limit:g})."
                    yield Finding(rule.code, reading.address, message, rule.fix, step)
