"""What a selection can ask of a weight, each condition with the words for when nothing meets it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from steelyard.address import Pattern
from steelyard.errors import AddressError, PatternError
from steelyard.records import WeightSpec
from steelyard.selection._table import count

Patterns = str | Pattern | Iterable[str | Pattern]
Layers = type | str | tuple[type | str, ...]
Dtypes = Any  # a name, a class such as `numpy.float32`, or a tuple of these


class Condition(NamedTuple):
    """One condition, how the user wrote it, and what a weight has in its place."""

    text: str
    holds: Callable[[WeightSpec], bool]
    found: Callable[[WeightSpec], object] | None = None

    def missed(self, specs: Sequence[WeightSpec]) -> str:
        """`"dtype='int8' (there: 'float32')"`."""
        if self.found is None:
            return self.text
        there = list(dict.fromkeys(map(self.found, specs)))
        shown = ", ".join(map(repr, there[:5])) + (", …" if len(there) > 5 else "")
        return f"{self.text} (there: {shown})"


def on_spec(
    *,
    layer: Layers | None,
    trainable: bool | None,
    dtype: Dtypes | None,
    ndim: int | None,
    min_size: int | None,
    where: Callable[[WeightSpec], bool] | None,
) -> Iterator[Condition]:
    """The conditions that were given, in the order in which they are asked."""
    if layer is not None:
        layers = layer if isinstance(layer, tuple) else (layer,)
        tests = [_held_by(one) for one in layers]
        names = ", ".join(one if isinstance(one, str) else one.__name__ for one in layers)
        yield Condition(
            f"layer={names}", lambda spec: any(test(spec) for test in tests), lambda s: s.layer
        )
    if trainable is not None:
        yield Condition(f"trainable={trainable}", lambda spec: spec.trainable is bool(trainable))
    if dtype is not None:
        dtypes = [_dtype_name(one) for one in (dtype if isinstance(dtype, tuple) else (dtype,))]
        text = f"dtype={' or '.join(map(repr, dtypes))}"
        yield Condition(text, lambda spec: spec.dtype in dtypes, lambda spec: spec.dtype)
    if ndim is not None:
        yield Condition(f"ndim={ndim}", lambda s: len(s.shape) == ndim, lambda s: len(s.shape))
    if min_size is not None:
        yield Condition(f"min_size={min_size}", lambda s: s.size >= min_size, lambda s: s.size)
    if where is not None:
        yield Condition("where(weight) true", where)


def parse(given: Patterns) -> tuple[Pattern, ...]:
    """One pattern or several, each parsed."""
    several = (given,) if isinstance(given, str | Pattern) else given
    if not isinstance(several, Iterable):
        return (Pattern(given),)  # which says what a pattern is
    patterns = tuple(one if isinstance(one, Pattern) else Pattern(one) for one in several)
    if not patterns:
        raise PatternError("There is no pattern to match. Write '**' for all weights.")
    return patterns


def matched(number: int, patterns: Sequence[Pattern]) -> str:
    """`"3 weights match '**/kernel'"`."""
    verb = "matches" if number == 1 else "match"
    return f"{count(number, 'weight')} {verb} {' or '.join(repr(p.text) for p in patterns)}"


def _held_by(layer: type | str) -> Callable[[WeightSpec], bool]:
    if isinstance(layer, str):
        return lambda spec: spec.layer == layer
    if not isinstance(layer, type):
        raise AddressError(
            f"`layer` takes a layer class or the name of one, such as keras.layers.Dense or "
            f"'Dense'. Received: {layer!r} (of type {type(layer).__name__})"
        )
    dotted = f"{layer.__module__}.{layer.__qualname__}"

    def holds(spec: WeightSpec) -> bool:
        if spec.layer_bases:
            return dotted in spec.layer_bases
        return spec.layer == layer.__name__

    return holds


def _dtype_name(dtype: Any) -> str:
    return dtype.__name__ if isinstance(dtype, type) else str(dtype)
