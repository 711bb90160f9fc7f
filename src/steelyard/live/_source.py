"""A live Keras model as a source of weights."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

import keras
import numpy as np

from steelyard.address import nearest
from steelyard.errors import SourceError, UnknownAddressError
from steelyard.live import _quantized
from steelyard.live._arrays import raw, to_numpy, view
from steelyard.live._assign import assign, is_coded
from steelyard.live._axes import axes_of
from steelyard.live._blocks import in_blocks
from steelyard.live._effective import effective, is_worked_out, stored
from steelyard.live._keras import own_dtype
from steelyard.live._substitute import Substitute, same_as
from steelyard.live._walk import Path, Place, own_weights, walk
from steelyard.records import Borrowing, WeightSpec


class LiveSource:
    """The weights of a model or layer, by address, as they are when they are asked for.

    Addresses are relative to `root`, whose own name is left out. Nothing is kept of the weights'
    values, and reading changes none.

    Args:
        root: A Keras model or layer.

    Attributes:
        note: Which layers had no weights yet when `specs` was last asked, as a sentence.
        also: What layers compute with but do not store, and no listed weight is: tied with a
            transform, or of low rank. Not listed, since it is stored elsewhere; read by address.
    """

    def __init__(self, root: keras.Layer) -> None:
        self.root = root
        self.note = ""
        self.also: tuple[WeightSpec, ...] = ()
        self._holders: dict[str, _Holder] = {}

    def specs(self) -> tuple[WeightSpec, ...]:
        """All weights, each once, in the order of the model. Reads no values.

        Raises:
            SourceError: If there are none because nothing is built yet.
        """
        places = walk(self.root)
        rows, also = _rows(places)
        unbuilt = _unbuilt(places)
        if not rows and (unbuilt or not self.root.built):
            raise SourceError(_not_built(self.root, unbuilt))
        self.note = f"Not built yet, so not listed: {_some(unbuilt)}." if any(unbuilt) else ""
        listed = [*rows, *also]
        self._holders = {row.address: _Holder(row.layer, row.name) for row in listed}
        bases = {kind: _dotted_bases(kind) for kind in {type(row.layer) for row in listed}}
        trains = self.root.trainable
        self.also = tuple(_spec(row, trains, bases) for row in also)
        return tuple(_spec(row, trains, bases) for row in rows)

    def read(self, address: str) -> np.ndarray:
        """The effective value at an address, as `steelyard.source.WeightSource` says."""
        with own_dtype():
            return to_numpy(effective(*self._find(address)))

    def view(self, address: str) -> np.ndarray:
        """The same as `read`, without a copy where there is a way.

        It may share the weight's memory: it is to be let go before training goes on.
        """
        with own_dtype():
            return view(effective(*self._find(address)))

    def blocks(self, address: str, rows: int) -> Iterator[np.ndarray] | None:
        """The value in slices, as `steelyard.source.BlockSource` says; None if it is worked out."""
        layer, name, variable = self._find(address)
        with own_dtype():
            if not variable.shape or is_worked_out(layer, name, variable):
                return None
            return in_blocks(variable.value, rows)

    def stored(self, address: str) -> dict[str, np.ndarray]:
        """The raw arrays that make up a weight, by their names, each in its own dtype."""
        return {name: raw(part) for name, part in stored(*self._find(address)).items()}

    def links(self) -> list[Borrowing]:
        """Who borrows which weight from whom."""
        # There can only be a reference if the room of references is open, and it is above this one.
        refs = sys.modules.get("steelyard.refs")
        return [] if refs is None else list(refs.references(self.root))

    def variable(self, address: str) -> keras.Variable:
        """The variable at an address."""
        return self._find(address)[2]

    def assign(self, address: str, value: Any) -> None:
        """Change a weight so that its effective value becomes `value`, as `_assign.assign` says."""
        assign(address, *self._find(address), value)

    def find(self, address: str) -> tuple[keras.Layer, str, keras.Variable]:
        """The layer that holds a weight itself, its own name for it, and the variable of today."""
        return self._find(address)

    def _find(self, address: str) -> tuple[keras.Layer, str, keras.Variable]:
        """The layer at an address, its own name for the weight, and the variable of today.

        `quantize` and `enable_lora` replace variables; the layer and the name stay.
        """
        for holder in (self._holders.get(address), None):
            if holder is None:
                self.specs()
                holder = self._holders.get(address)
            if holder is not None:
                for name, variable in own_weights(holder.layer):
                    if name == holder.name:
                        return holder.layer, name, variable
        near = nearest(address, self._holders)
        hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
        raise UnknownAddressError(f"No weight has the address {address!r}.{hint}")


# --- Listing -------------------------------------------------------------------------------------


class _Holder(NamedTuple):
    layer: keras.Layer
    name: str


class _Row(NamedTuple):
    address: str
    layer: keras.Layer
    name: str
    variable: keras.Variable
    aliases: tuple[str, ...]


def _rows(places: list[Place]) -> tuple[list[_Row], list[_Row]]:
    """One row for each variable, at the layer that made it; other ways to it are aliases.

    A weight that is tied as it is to a listed one is another way to it. What a layer computes with
    and no listed weight is comes beside.
    """
    paths = _all_paths(places)
    taken: Counter[str] = Counter()
    rows: dict[int, list[_Row]] = {}
    for place in places:
        for name, variable in own_weights(place.layer):
            address, *aliases = ["/".join((*path, name)) for path in paths[place.path]]
            taken[address] += 1
            if taken[address] > 1:
                address, aliases = f"{address}~{taken[address]}", []
            row = _Row(address, place.layer, name, variable, tuple(aliases))
            rows.setdefault(id(variable), []).append(row)
    also = []
    for key, same in list(rows.items()):
        if isinstance(same[0].variable, Substitute):
            del rows[key]
            other = id(same_as(same[0].variable))
            if other in rows:
                rows[other] += same
            else:
                also += same
    return [_merged(same) for same in rows.values()], also


def _merged(same: list[_Row]) -> _Row:
    first = same[0] if len(same) == 1 else next(filter(_is_maker, same), same[0])
    others = [a for row in same if row is not first for a in (row.address, *row.aliases)]
    return first._replace(aliases=(*first.aliases, *others)) if others else first


def _spec(row: _Row, trains: bool, bases: dict[type, tuple[str, ...]]) -> WeightSpec:
    shape, own = _shape(row), tuple(row.variable.shape)
    return WeightSpec(
        row.address,
        shape,
        row.variable.dtype,
        trains and row.variable.trainable,
        type(row.layer).__name__,
        bases[type(row.layer)],
        row.aliases,
        own if own != shape else None,
        axes_of(row.layer, row.name, len(shape)),
    )


def _is_maker(row: _Row) -> bool:
    """Whether the layer made the variable, rather than being handed it."""
    return bool(row.variable.path == f"{row.layer.path}/{row.variable.name}")


_MOST_PATHS = 32


def _all_paths(places: list[Place]) -> dict[Path, list[Path]]:
    """For each layer, by its path, all paths to it: that one first, then at most 31 more."""
    if not any(place.aliases for place in places):
        return {place.path: [place.path] for place in places}
    ways = {place.path: (place.path, *place.aliases) for place in places}
    known: dict[Path, list[Path]] = {(): [()]}

    def paths_to(path: Path) -> list[Path]:
        if path not in known:
            known[path] = [path]  # in case a layer holds one that holds it
            found = [(*up, way[-1]) for way in ways[path] for up in paths_to(way[:-1])]
            known[path] = list(dict.fromkeys([path, *found]))[:_MOST_PATHS]
        return known[path]

    return {place.path: paths_to(place.path) for place in places}


def _shape(row: _Row) -> tuple[int, ...]:
    """The shape of the effective value, without working the value out."""
    layer, variable = row.layer, row.variable
    if not is_coded(layer, variable) or not _quantized.is_known(layer, variable):
        return tuple(variable.shape)
    if layer.quantization_mode not in _PACKED:
        return tuple(variable.shape)
    if (shape := getattr(layer, "original_kernel_shape", None)) is not None:
        return tuple(shape)
    parts = _quantized.parts(layer, variable)
    if "scale" not in parts:  # to be calibrated yet
        return tuple(parts["own"].shape)
    layout = _quantized._known_layout(layer, variable)
    return tuple(layout.shape(layer, parts["own"], parts["scale"]))


_PACKED = ("int4", "gptq", "awq")  # the modes that may put two codes in a byte


def _dotted_bases(kind: type) -> tuple[str, ...]:
    return tuple(f"{base.__module__}.{base.__qualname__}" for base in kind.__mro__)


_MAKE_NO_WEIGHTS = (keras.Layer.build, keras.Model.build, keras.Sequential.build)


def _unbuilt(places: list[Place]) -> list[Path]:
    """The layers that would make weights of their own if they were built, the innermost ones."""
    found: dict[Path, None] = {}
    for place in places:
        if not place.layer.built and type(place.layer).build not in _MAKE_NO_WEIGHTS:
            for end in range(len(place.path)):
                found.pop(place.path[:end], None)
            found[place.path] = None
    return list(found)


def _not_built(root: keras.Layer, unbuilt: list[Path]) -> str:
    what = f"{type(root).__name__} {root.name!r}"
    parts = "" if not any(unbuilt) else f" Not built in it: {_some(unbuilt)}."
    return (
        f"{what} is not built yet, so it has no weights.{parts} "
        f"Call it once on data, or give it its input shape: .build(input_shape)."
    )


def _some(paths: list[Path], most: int = 10) -> str:
    shown = [repr("/".join(path)) for path in paths if path]
    more = f" and {len(shown) - most:,} more" if len(shown) > most else ""
    return ", ".join(shown[:most]) + more
