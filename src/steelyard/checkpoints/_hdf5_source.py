"""The weights of a Keras file, or of its shards, as a source."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, Protocol

import numpy as np

from steelyard.address import nearest
from steelyard.checkpoints import _codes
from steelyard.checkpoints import _leaf_table as table
from steelyard.checkpoints._axis_letters import axes_of
from steelyard.checkpoints._flat import Closable, in_blocks
from steelyard.checkpoints._keras_layout import Layout
from steelyard.checkpoints._keras_place import Named
from steelyard.checkpoints._tensor import (
    Tensor,
    checked_shape,
    dtype_of,
    effective,
    read_rows,
    read_tensor,
)
from steelyard.checkpoints._worker import LIMITS, Worker
from steelyard.errors import CheckpointError, LimitError, UnknownAddressError
from steelyard.records import WeightSpec


class Oddity(NamedTuple):
    """Something in a file that an honest one does not have, or that was not read.

    Args:
        code: What it is, in a word: `"link"`, `"external"`, `"virtual"`, `"alias"`, `"dtype"`, …
        place: The path in the file.
        message: What is there, as a clause.
    """

    code: str
    place: str
    message: str


class Held(NamedTuple):
    """A dataset, and the process that has its file open."""

    tensor: Tensor
    worker: Worker
    declared: int
    kept: int

    def load(self) -> np.ndarray:
        """The stored array."""
        tensor, part = self.tensor, self.worker.part
        if tensor.size == 0:
            return np.zeros(tensor.shape, dtype_of(tensor.dtype))
        if tensor.offset is not None:
            return read_tensor(part.source, tensor)
        self._check_honest()
        return _array(self.worker.read(tensor.name, self.declared), tensor)

    def rows(self, begin: int, end: int) -> np.ndarray:
        """From one step along the first axis to another."""
        tensor = self.tensor
        if tensor.offset is not None:
            return read_rows(self.worker.part.source, tensor, begin, end)
        self._check_honest()
        part = replace(tensor, shape=(end - begin, *tensor.shape[1:]))
        return _array(self.worker.read(tensor.name, part.nbytes, (begin, end)), part)

    def _check_honest(self) -> None:
        if self.declared > 1 << 20 and self.declared > LIMITS["ratio"] * self.kept:
            raise LimitError(
                f"{self.worker.part.name}: {self.tensor.name} declares {self.declared:,} bytes and "
                f"stores {self.kept:,}; it is not read"
            )


class Loadable(Protocol):
    """An array of a file, and the way to its values: a dataset of HDF5, or what another has."""

    @property
    def tensor(self) -> Tensor:
        """What is known without reading it."""
        ...

    @property
    def load(self) -> Callable[[], np.ndarray]:
        """Reads it."""
        ...

    @property
    def rows(self) -> Callable[[int, int], np.ndarray] | None:
        """Reads from one step along the first axis to another, if it can."""
        ...


class HDF5Source:
    """Lists the weights of files that Keras wrote, and reads one at a time.

    Args:
        held: Every array, by its path.
        named: Those that are weights, in the order of the model.
        findings: What is odd.
        note: What a reader of the list should know.
        parts: What to close.
        layout: What else the file has.

    Attributes:
        naming: Address → how certain it is: `"exact"`, `"inferred"`, `"unknown"`.
        stored_path: Address → the path in the file.
    """

    def __init__(
        self,
        held: Mapping[str, Loadable],
        named: list[Named],
        findings: list[Oddity],
        note: str,
        parts: Sequence[Closable],
        layout: Layout | None = None,
    ) -> None:
        named = [one for one in _unrepeated(named) if one.stored in held]
        self._held, self._parts = held, parts
        self._named = {one.address: one for one in named}
        self.naming = {one.address: one.naming for one in named}
        self.stored_path = {one.address: one.stored for one in named}
        self.findings = tuple(findings)
        self.note = note
        self.layout = layout
        self._specs = tuple(self._spec(one) for one in named)

    def specs(self) -> tuple[WeightSpec, ...]:
        """All weights, each once, in the order of the model as far as the file tells it."""
        return self._specs

    def read(self, address: str) -> np.ndarray:
        """The effective value at an address, as `steelyard.source.WeightSource` says.

        Raises:
            QuantizationError: It is stored as codes whose way back is not known.
            CheckpointError: It is parametrized: what the layer computes with is not in the file.
        """
        named = self._find(address)
        if named.parametrized is not None:
            by = f" by {named.parametrized}" if named.parametrized else ""
            raise CheckpointError(
                f"{address!r} is parametrized{by}, and no code is run here to work its value out. "
                f"Load the model with keras.models.load_model and pass that; `.stored()` gives "
                f"what the file holds."
            )
        if _codes.is_coded(named, self._held[named.stored].tensor.dtype):
            value = _codes.value_of(named, self.raw)
        else:
            value = effective(self.raw(named.stored))
        return _codes.with_lora(named, value, self.raw)

    def blocks(self, address: str, rows: int) -> Iterator[np.ndarray] | None:
        """The value in slices, as `steelyard.source.BlockSource` says; None if it is worked out."""
        named = self._find(address)
        held = self._held[named.stored]
        made = named.parametrized is not None or _codes.lora_of(named)
        if made or _codes.is_coded(named, held.tensor.dtype) or held.rows is None:
            return None
        if not held.tensor.size or not held.tensor.shape:
            return None
        return in_blocks(held.rows, held.tensor.shape[0], rows)

    def stored(self, address: str) -> dict[str, np.ndarray]:
        """The raw arrays that make up a weight, by their names, each in its own dtype."""
        return {name: self.raw(path) for name, path in self.parts(address).items()}

    def parts(self, address: str) -> dict[str, str]:
        """The paths of what makes up a weight, by their names; its own comes first."""
        named = self._find(address)
        parts = {named.name: named.stored}
        if _codes.is_coded(named, self._held[named.stored].tensor.dtype):
            parts = _codes.parts_of(named)
        return parts | _codes.lora_of(named)

    @property
    def paths(self) -> tuple[str, ...]:
        """The paths of all arrays of the file, in its order: weights, and what an optimizer has."""
        return tuple(self._held)

    def close(self) -> None:
        """Closes the files; after that nothing can be read."""
        for part in self._parts:
            part.close()

    def _find(self, address: str) -> Named:
        if (named := self._named.get(address)) is None:
            near = nearest(address, self._named)
            hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
            raise UnknownAddressError(f"No weight has the address {address!r}.{hint}")
        return named

    def raw(self, path: str) -> np.ndarray:
        """The stored array at a path of the file, in native byte order."""
        return self._held[path].load()

    def _spec(self, named: Named) -> WeightSpec:
        tensor, layer = self._held[named.stored].tensor, named.layer
        shape = _codes.shape_of(named, tensor.shape, tensor.dtype)
        return WeightSpec(
            named.address,
            shape,
            tensor.dtype,
            named.trainable,
            table.class_name(layer.kind) if layer.own else layer.kind,
            table.bases(layer.kind) if layer.own else (),
            aliases=named.aliases,
            stored_shape=tensor.shape if shape != tensor.shape else None,
            axes=axes_of(layer, named.name, len(shape)),
        )


def held_in(worker: Worker, rows: list[dict[str, Any]]) -> dict[str, Held]:
    """The datasets that a listing names, checked: what lists a hostile file may be hostile too.

    Raises:
        CheckpointError: One lies outside of the file, or is not as long as its shape says.
    """
    return {row["path"]: _held(worker, row) for row in rows}


def _held(worker: Worker, row: dict[str, Any]) -> Held:
    part, where = worker.part, f"{worker.part.name}: {row['path']}"
    shape, at = checked_shape(row["shape"], where), row["offset"]
    tensor = Tensor(row["path"], shape, row["dtype"], byteorder=row["order"])
    if tensor.nbytes != row["declared"]:
        raise CheckpointError(f"{where}: {row['declared']:,} bytes are no {row['dtype']} {shape}")
    if at is not None and not 0 <= at <= part.size - tensor.nbytes:
        raise CheckpointError(f"{where}: cut off: its values lie beyond the end of the file")
    tensor = replace(tensor, offset=None if at is None else part.start + at)
    return Held(tensor, worker, row["declared"], row["held"])


def _array(raw: np.ndarray, tensor: Tensor) -> np.ndarray:
    kind = dtype_of(tensor.dtype)
    if tensor.byteorder == ">" and kind.itemsize > 1:
        raw = raw.view(f"uint{8 * kind.itemsize}").byteswap()
    return raw.view(kind).reshape(tensor.shape)


def _unrepeated(named: list[Named]) -> list[Named]:
    taken: Counter[str] = Counter()
    result = []
    for one in named:
        taken[one.address] += 1
        count = taken[one.address]
        result.append(one if count == 1 else replace(one, address=f"{one.address}~{count}"))
    return result
