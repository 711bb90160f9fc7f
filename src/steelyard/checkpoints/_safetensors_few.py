"""Some weights of an index of safetensors, for who knows already which there are: a worker."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from steelyard.checkpoints._bytes import Bytes
from steelyard.checkpoints._flat import FlatSource, address_of
from steelyard.checkpoints._safetensors import tensors_of
from steelyard.checkpoints._safetensors_index import Shelf, through, weight_map_of
from steelyard.errors import UnknownAddressError
from steelyard.records import WeightSpec

if TYPE_CHECKING:
    from os import PathLike

    import numpy as np


class FewOf:
    """The weights that an index names; a file is opened when one of its weights is asked for.

    That each worker of hundreds reads the headers of thousands of files would take longer than
    most of what they measure.

    Args:
        index: The index, which may be closed.
        weight_map: Which weight is in which file.
        addresses: The name of each weight, by its address.
    """

    note = ""

    def __init__(self, index: Bytes, weight_map: dict[str, str], addresses: dict[str, str]) -> None:
        self._index, self._weight_map, self._addresses = index, weight_map, addresses
        self._shelf = Shelf()
        self._opened: dict[str, FlatSource] = {}

    def specs(self) -> Sequence[WeightSpec]:
        """All weights, for which all files are opened."""
        shards = sorted(set(self._weight_map.values()))
        return [spec for shard in shards for spec in self._file(shard).specs()]

    def read(self, address: str) -> np.ndarray:
        """The value, in float32 if the file keeps a narrower float."""
        return self._holder(address).read(address)

    def blocks(self, address: str, rows: int) -> Iterator[np.ndarray] | None:
        """The value in slices, as `steelyard.source.BlockSource` says."""
        return self._holder(address).blocks(address, rows)

    def stored(self, address: str) -> dict[str, np.ndarray]:
        """The array as the file has it, by the weight's own name."""
        return self._holder(address).stored(address)

    def close(self) -> None:
        """Closes the files; after that nothing can be read."""
        self._shelf.close()

    def _holder(self, address: str) -> FlatSource:
        if address not in self._addresses:
            raise UnknownAddressError(f"There is no weight at {address!r}.")
        return self._file(self._weight_map[self._addresses[address]])

    def _file(self, shard: str) -> FlatSource:
        if shard not in self._opened:
            file = self._index.beside(shard)
            self._shelf.add(file)
            entries, _, _ = tensors_of(file)
            here = [one for one in entries if self._weight_map.get(one.tensor.name) == shard]
            self._opened[shard] = FlatSource(through(self._shelf, file, one) for one in here)
        return self._opened[shard]


def few_of(path: str | PathLike[str]) -> FewOf | None:
    """The weights of an index without looking at its files.

    None where two names come to one address: then what is where takes the order in all files.
    """
    with Bytes(path) as index:
        weight_map = weight_map_of(index)
    addresses = {address_of(name): name for name in weight_map}
    return FewOf(index, weight_map, addresses) if len(addresses) == len(weight_map) else None
