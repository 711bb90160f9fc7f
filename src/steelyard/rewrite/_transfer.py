"""Carrying values over, so that all that was changed can be put back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

from steelyard.errors import SteelyardError
from steelyard.live import LiveSource, Undo, bring_back, own_variables, stored, substitutes
from steelyard.records import Change
from steelyard.rewrite._fit import cast_from, fitted, is_float
from steelyard.rewrite._match import Pair, change, parts
from steelyard.selection import Weight


class _Reading(NamedTuple):
    """What was read of a weight before others were changed."""

    value: np.ndarray
    stored: dict[str, np.ndarray]


class Transfer:
    """Copies pairs, one value at a time, and can undo it.

    A part of another weight (a LoRA factor, a scale) is set before that one, whose value depends
    on it. Where a part cannot be set, the whole is set to go with what the part has.

    Args:
        pairs: What goes where.
        wholes: For each part the weight that it is a part of, by their addresses in the target.

    Attributes:
        said: What became of each weight, by its address in the target; "skipped" of one that
            cannot take its value.
    """

    def __init__(self, pairs: list[Pair], wholes: dict[str, str]) -> None:
        self.said: dict[str, Change] = {}
        self._pairs = pairs
        self._wholes = wholes
        self._before = _Before()
        self._ahead: dict[str, _Reading] = {}

    def run(self) -> None:
        """Copies all pairs. After an error, `put_back` must follow."""
        for weight in (w for pair in self._pairs for w in (pair.target, pair.source)):
            if isinstance(weight.source, LiveSource):
                layer, name, variable = weight.source.find(weight.address)
                bring_back(layer, stored(layer, name, variable).values())
        self._read_ahead()
        for whole, inside in self._groups():
            self._copy_group(whole, inside)

    def put_back(self) -> None:
        """Gives each weight what it had, bit for bit."""
        self._before.put_back()

    def _read_ahead(self) -> None:
        """Reads what would be overwritten before its turn: source and target may share layers."""
        changing = {id(v) for pair in self._pairs for v in _touched(pair.target)}
        for pair in self._pairs:
            if any(id(variable) in changing for variable in _touched(pair.source)):
                reading = _Reading(pair.source.numpy(), pair.source.stored())
                self._ahead[pair.target.address] = reading

    def _groups(self) -> Iterator[tuple[Pair, list[Pair]]]:
        """Each weight with those of its parts that are copied as well."""
        inside: dict[str, list[Pair]] = {pair.target.address: [] for pair in self._pairs}
        alone: list[Pair] = []
        for pair in self._pairs:
            inside.get(self._wholes.get(pair.target.address, ""), alone).append(pair)
        for pair in alone:
            yield pair, inside[pair.target.address]

    def _copy_group(self, whole: Pair, inside: list[Pair]) -> None:
        said = [self._copy(pair) for pair in inside]
        end = self._copy(whole, inside)
        for pair, one in zip(inside, said, strict=True):
            if one.kind == "skipped" != end.kind:
                one = change(pair, "merged", f"{one.reason}; {end.address!r} was set to go with it")
            self.said[one.address] = one
        self.said[end.address] = end

    def _copy(self, pair: Pair, inside: Iterable[Pair] = ()) -> Change:
        """Sets one weight, or tells why it cannot be set."""
        how = ""
        try:
            value = self._value(pair)
            self._before.add(pair.target)
            if not self._copy_as_stored(pair, value):
                _set(pair.target, value)
                how = _how(pair, value, inside)
        except SteelyardError as error:
            return change(pair, "skipped", str(error))
        return change(pair, pair.kind, how)

    def _value(self, pair: Pair) -> np.ndarray:
        ahead = self._ahead.get(pair.target.address)
        return pair.source.numpy() if ahead is None else ahead.value

    def _copy_as_stored(self, pair: Pair, value: np.ndarray) -> bool:
        """Copies what is stored, if both store the weight alike and that gives the same value.

        The only way to copy codes; and exact where LoRA or a parametrization lies between what is
        stored and what is computed with.
        """
        held = parts(pair.target)
        if not _is_composed(pair.target, held):
            return False
        ahead = self._ahead.get(pair.target.address)
        given = pair.source.stored() if ahead is None else ahead.stored
        if _kinds(given) != _kinds(held):
            return False
        # A LoRA factor is a weight of its own, to be copied or not; a scale makes no sense alone.
        names = list(held) if _are_codes(pair.target, value) else list(held)[:1]
        before = Undo()
        for name in names:
            before.keep(held[name])
            held[name].assign(given[name])
        if np.array_equal(pair.target.numpy(), value, equal_nan=True):
            return True
        before.put_back()
        return False


class _Before:
    """What some weights held, to be put back."""

    def __init__(self, weights: Iterable[Weight] = ()) -> None:
        self._undo = Undo()
        self._values: dict[str, tuple[Weight, np.ndarray]] = {}
        for weight in weights:
            self.add(weight)

    def add(self, weight: Weight) -> None:
        """Notes what a weight holds; the first time counts."""
        for variable in _touched(weight):
            self._undo.keep(variable)
        if not isinstance(weight.source, LiveSource) and weight.address not in self._values:
            self._values[weight.address] = (weight, weight.numpy())

    def put_back(self) -> None:
        """Gives each what it held."""
        self._undo.put_back()
        for weight, value in self._values.values():
            weight.assign(value)


def _touched(weight: Weight) -> list[Any]:
    """The variables that change when the weight is set."""
    held = list(parts(weight).values())
    if isinstance(weight.source, LiveSource):
        layer, _, _ = weight.source.find(weight.address)
        if substitutes(layer):  # a parametrization may keep more than the weight is made of
            held += own_variables(layer)
    return held


def _is_composed(weight: Weight, held: dict[str, Any]) -> bool:
    """Whether more than one variable, or a parametrization, makes up the weight."""
    if len(held) > 1:
        return True
    if not isinstance(weight.source, LiveSource):
        return False
    layer, name, _ = weight.source.find(weight.address)
    return name in substitutes(layer)


def _kinds(held: dict[str, Any]) -> list[tuple[str, str, tuple[int, ...]]]:
    return [(name, str(part.dtype), tuple(part.shape)) for name, part in held.items()]


def _are_codes(target: Weight, value: np.ndarray) -> bool:
    """Whether the target stores codes that stand for floats."""
    if is_float(target.dtype) or not is_float(value.dtype.name):
        return False
    return is_float(target.numpy().dtype.name)


def _set(target: Weight, value: np.ndarray) -> None:
    if _are_codes(target, value):
        target.assign(value)  # which says why not
    else:
        target.assign(fitted(value, target.shape, target.dtype))


def _how(pair: Pair, value: np.ndarray, inside: Iterable[Pair]) -> str:
    """What was done besides copying; empty where nothing was."""
    own = {id(one.target.variable) for one in inside}
    others = [name for name, part in list(parts(pair.target).items())[1:] if id(part) not in own]
    beside = f"set to give this value with its {' and '.join(others)}" if others else ""
    cast = cast_from(value, pair.source.dtype, pair.target.dtype)
    return "; ".join(filter(None, (cast, beside)))
