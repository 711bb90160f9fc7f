"""A file that is a list of named arrays, as a source of weights.

Such a file knows names, shapes and dtypes, and nothing of layers. A name becomes an address:

- One without a slash is split at its dots, as PyTorch writes them: `encoder.proj.weight` is at
  `encoder/proj/weight`.
- One with a slash is taken to be an address already, and its dots stay: `encoder/conv.1/kernel`.
- An empty segment is written `~`: `a..b` is at `a/~/b`.
- Where a second name would come to the same address, it and those after it get `~2`, `~3`, … at
  their end, in the order of the file.

The name in the file stays in `stored_path`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from steelyard.address import nearest
from steelyard.checkpoints._tensor import Tensor, effective
from steelyard.errors import LimitError, UnknownAddressError
from steelyard.records import WeightSpec

MOST_WEIGHTS = 200_000


@dataclass(frozen=True, slots=True)
class Entry:
    """A tensor, and the way to its values.

    Args:
        tensor: What is known without reading it.
        load: Reads it.
        address: Where it should be; by the rule of this module if empty.
        naming: How certain that is: `"exact"` where the file itself says it, `"inferred"`,
            `"unknown"`.
    """

    tensor: Tensor
    load: Callable[[], np.ndarray]
    address: str = ""
    naming: str = "exact"


class Closable(Protocol):
    """An open file, or several."""

    def close(self) -> None:
        """Closes it; after that nothing can be read."""
        ...


class FlatSource:
    """The weights of a file that holds nothing but named arrays.

    All that holds floats counts as trainable, since nothing in such a file says otherwise.

    Args:
        entries: The arrays, in the order of the file.
        files: What they are read from; `close` closes them.
        note: What of the file is not among the weights, and why; empty if nothing.

    Attributes:
        naming: Address → how certain it is: `"exact"`, `"inferred"`, `"unknown"`.
        stored_path: Address → the name in the file.
    """

    def __init__(
        self, entries: Iterable[Entry], files: Sequence[Closable] = (), note: str = ""
    ) -> None:
        entries = list(entries)
        if len(entries) > MOST_WEIGHTS:
            raise LimitError(f"{len(entries):,} weights; at most {MOST_WEIGHTS:,} are listed")
        wanted = [entry.address or address_of(entry.tensor.name) for entry in entries]
        self._entries = dict(zip(unambiguous(wanted), entries, strict=True))
        self._files = files
        self.note = note
        self.naming = {a: entry.naming for a, entry in self._entries.items()}
        self.stored_path = {a: entry.tensor.name for a, entry in self._entries.items()}

    def specs(self) -> Sequence[WeightSpec]:
        """All weights, in the order of the file."""
        return [_spec(address, entry.tensor) for address, entry in self._entries.items()]

    def read(self, address: str) -> np.ndarray:
        """The value, in float32 if the file keeps a narrower float."""
        return effective(self._entry(address).load())

    def stored(self, address: str) -> dict[str, np.ndarray]:
        """The array as the file has it, by the weight's own name."""
        return {address.rpartition("/")[2]: self._entry(address).load()}

    def close(self) -> None:
        """Closes the files; after that nothing can be read."""
        for file in self._files:
            file.close()

    def _entry(self, address: str) -> Entry:
        if address in self._entries:
            return self._entries[address]
        near = " or ".join(map(repr, nearest(address, self._entries)))
        meant = f" Did you mean {near}?" if near else ""
        raise UnknownAddressError(f"There is no weight at {address!r}.{meant}")


def _spec(address: str, tensor: Tensor) -> WeightSpec:
    floats = not tensor.dtype.startswith(("int", "uint", "bool"))
    return WeightSpec(address, tensor.shape, tensor.dtype, trainable=floats, layer="")


def address_of(name: str) -> str:
    """The address that a name should have; see the top of this module."""
    segments = name.split("/" if "/" in name else ".")
    return "/".join(segment or "~" for segment in segments)


def unambiguous(wanted: Sequence[str]) -> list[str]:
    """The same addresses, where none is there twice."""
    taken = set(wanted)
    count: dict[str, int] = {}
    found = []
    for address in wanted:
        count[address] = count.get(address, 0) + 1
        if count[address] > 1:
            address = _free(address, taken, count)
        found.append(address)
    return found


def _free(address: str, taken: set[str], count: dict[str, int]) -> str:
    while (other := f"{address}~{count[address]}") in taken:
        count[address] += 1
    taken.add(other)
    return other


def left_out(some: Sequence[str], why: str, count: int | None = None) -> str:
    """A sentence of a note: which of the file's entries are no weights; empty if all are.

    Args:
        some: Their names, or the first few of them.
        why: In half a sentence.
        count: How many there are, where not all are named.
    """
    return _with_names(f"Not listed, {why}", some, len(some) if count is None else count)


def leading_out(names: Sequence[str]) -> str:
    """A sentence of a note: which names of members are those of an attack; empty if none."""
    return _with_names(
        "Names that lead out of the archive, and were not followed", names, len(names)
    )


def _with_names(what: str, some: Sequence[str], count: int) -> str:
    if not count:
        return ""
    named = ", ".join(f"{name!r:.80}" for name in some[:5])
    more = f" and {count - 5:,} more" if count > 5 else ""
    return f"{what}: {named}{more}."
