"""`convert`: the weights of anything that has some, in a new file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from os import PathLike, fspath
from typing import TYPE_CHECKING, Any

from steelyard.errors import AddressError, CheckpointError, SteelyardError
from steelyard.opening import weights
from steelyard.selection import Rename, Weight, Weights, renamed

if TYPE_CHECKING:
    import numpy as np

Map = Callable[[Weight, "np.ndarray"], Any]


def convert(
    source: Any,
    out: str | PathLike[str],
    *,
    select: Any = "**",
    map: Map | None = None,
    rename: Rename | None = None,
) -> None:
    """Write weights to a new file, one at a time.

    A weight is written as it is stored, bit for bit, where it is one array; under LoRA, or as
    codes with scales, its effective value is written, in float32.

    Args:
        source: What `sy.weights` opens: a file, a model, a selection.
        out: The new file; its ending says which format: `.safetensors` or `.npz`.
        select: Which weights, as `Weights.select` reads it.
        map: A function of a weight and its array that gives the array to write.
        rename: What the addresses become in the file, as `copy_weights` takes it.

    Raises:
        CheckpointError: The file is there already, or the format cannot hold a weight; then
            nothing is written.
        AddressError: Two weights would get one name.

    Example:
        >>> import keras, steelyard as sy, tempfile, os
        >>> layer = keras.layers.Dense(2, name="dense")
        >>> layer.build((None, 3))
        >>> path = os.path.join(tempfile.mkdtemp(), "dense.safetensors")
        >>> sy.convert(layer, path, map=lambda weight, array: array.astype("float16"))
        >>> os.path.exists(path)
        True
    """
    path = fspath(out)
    selection = weights(source).select(select)
    names = _names(selection, rename)
    kept = [weight for weight in selection if weight.address in names]
    arrays = (_checked(weight, _written(weight, map)) for weight in kept)
    _writer(path)(path, [names[weight.address] for weight in kept], arrays)


def _writer(path: str) -> Callable[[str, Iterable[str], Iterator[np.ndarray]], None]:
    from steelyard.checkpoints import WRITERS

    for ending, write in WRITERS.items():
        if path.lower().endswith(ending):
            return write
    known = ", ".join(WRITERS)
    raise CheckpointError(f"{path}: the ending says the format, one of {known}")


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


def _written(weight: Weight, map: Map | None) -> np.ndarray:
    parts = weight.stored()
    array = next(iter(parts.values())) if len(parts) == 1 else weight.numpy()
    return array if map is None else map(weight, array)


def _checked(weight: Weight, array: Any) -> np.ndarray:
    import numpy as np

    if not isinstance(array, np.ndarray):
        raise SteelyardError(
            f"`map` gives the array to write; for {weight.address!r} it gave a "
            f"{type(array).__name__}."
        )
    return array
