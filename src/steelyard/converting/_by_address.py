"""Named arrays: the addresses and values of weights, and nothing else of where they came from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from steelyard.converting._mapped import Map, Progress, mapped
from steelyard.errors import AddressError
from steelyard.selection import Rename, Weight, Weights, renamed

if TYPE_CHECKING:
    import numpy as np


def write_by_address(
    path: str,
    ending: str,
    selection: Weights,
    map: Map | None,
    rename: Rename | None,
    progress: Progress | None,
) -> None:
    """Writes the weights of a selection, each as one array under its address or new name."""
    from steelyard.checkpoints import WRITERS

    names = _names(selection, rename)
    kept = [weight for weight in selection if weight.address in names]

    def arrays() -> Iterator[np.ndarray]:
        for done, weight in enumerate(kept, 1):
            yield _array(weight, map)
            if progress:
                progress(done, len(kept))

    WRITERS[ending](path, [names[weight.address] for weight in kept], arrays())


def _names(selection: Weights, rename: Rename | None) -> dict[str, str]:
    """What each weight is called in the file; those that are left out are not there."""
    pairs = renamed(selection.addresses, rename)
    names = {address: name for address, name in pairs.items() if name is not None}
    taken: dict[str, str] = {}
    for address, name in names.items():
        if name in taken:
            raise AddressError(f"{taken[name]!r} and {address!r} would both be called {name!r}.")
        taken[name] = address
    return names


def _array(weight: Weight, map: Map | None) -> np.ndarray:
    parts = weight.stored()
    array = next(iter(parts.values())) if len(parts) == 1 else weight.numpy()
    return array if map is None else mapped(map, weight, array)
