"""`convert`: the weights of anything that has some, in a new file."""

from __future__ import annotations

import sys
import tempfile
from os import PathLike, fspath, path
from typing import Any

from steelyard.converting._by_address import write_by_address
from steelyard.converting._keras_file import is_kept, write_kept, write_keras
from steelyard.converting._mapped import Map, Progress
from steelyard.errors import CheckpointError, SteelyardError
from steelyard.opening import weights
from steelyard.selection import Rename


def convert(
    source: Any,
    out: str | PathLike[str],
    *,
    select: Any = "**",
    map: Map | None = None,
    rename: Rename | None = None,
    progress: Progress | None = None,
) -> None:
    """Write weights to a new file, one at a time.

    The ending of `out` says the format. The file gets its name when it is complete; nothing that
    is there already is ever replaced, and on an error nothing is left behind.

    - `.keras`, `.weights.h5`: what Keras loads. The source is a Keras file too, or a safetensors
      file that was made of one. All of it is kept as it is stored: config, compile config, names,
      optimizer, the codes and scales of quantized layers. `map` replaces what `select` chooses.
    - `.safetensors`: of a Keras file, without `select`, `map` and `rename`, all that it is: each
      array as it is stored, by address, the optimizer's too, and the rest in the header, so that
      it can become a `.keras` again without loss. Otherwise the selected weights by address: each
      as it is stored, bit for bit, where it is one array; under LoRA, or as codes with scales,
      its effective value, in float32.
    - `.npz`: the selected weights by address.

    Args:
        source: What `sy.weights` opens: a file, a model, a selection. A live model is written to
            `.weights.h5` by Keras itself; for a `.keras` there is `sy.save_model`.
        out: The new file.
        select: Which weights, as `Weights.select` reads it.
        map: A function of a weight and its array that gives the array to write: of the same
            shape, if Keras is to load it, and of any dtype that the format has. The array is what
            is stored; of a parametrized weight, what the parametrization takes. Where several are
            stored (codes and a scale, LoRA), it is the effective value. That cannot be taken
            apart again: for a Keras file, the function must give that very array back, and what
            is stored stays.
        rename: What the addresses become in the file, as `copy_weights` takes it. A Keras file
            keeps its names; `{"optimizer": None}` leaves the state of the optimizer out.
        progress: Told, after each array, how many are done and how many there are.

    Raises:
        CheckpointError: The file is there already, or the format cannot hold a weight, or the
            source lacks what a Keras file needs; then nothing is written.
        AddressError: Two weights would get one name.
        ShapeMismatchError: `map` gave another shape for a weight of a Keras file.

    Example:
        >>> import keras, steelyard as sy, tempfile, os
        >>> layer = keras.layers.Dense(2, name="dense")
        >>> layer.build((None, 3))
        >>> path = os.path.join(tempfile.mkdtemp(), "dense.safetensors")
        >>> sy.convert(layer, path, map=lambda weight, array: array.astype("float16"))
        >>> os.path.exists(path)
        True
    """
    target = fspath(out)
    ending = _ending(target)
    if ending in _KERAS and _is_live(source):
        _of_model(source, target, ending, (select, map, rename) == ("**", None, None))
        return
    found = weights(source)
    try:
        selection = found if select == "**" else found.select(select)
        if ending in _KERAS:
            write_keras(target, ending, selection, map, rename, progress)
        elif ending == ".safetensors" and is_kept(selection, map, rename):
            write_kept(target, selection, rename, progress)
        else:
            write_by_address(target, ending, selection, map, rename, progress)
    finally:
        if isinstance(source, str | PathLike) and hasattr(found.source, "close"):
            found.source.close()


_KERAS = (".keras", ".weights.h5")
_ENDINGS = (".safetensors", ".npz", *_KERAS)


def _ending(target: str) -> str:
    for ending in _ENDINGS:
        if target.lower().endswith(ending):
            return ending
    raise CheckpointError(f"{target}: the ending says the format, one of {', '.join(_ENDINGS)}")


def _is_live(source: Any) -> bool:
    keras = sys.modules.get("keras")
    return keras is not None and isinstance(source, keras.Layer)


def _of_model(model: Any, target: str, ending: str, plain: bool) -> None:
    """A live model is written by Keras, to a folder that is gone afterwards, and copied."""
    if ending == ".keras" or not plain or not hasattr(model, "save_weights"):
        raise SteelyardError(
            f"{target}: a live model has no file whose structure could be kept. Save it with "
            f"sy.save_model(model, 'model.keras') first, and convert that file."
        )
    folder = path.dirname(target) or "."
    if not path.isdir(folder) or path.lexists(target):
        what = "is there already; name a new file" if path.isdir(folder) else "there is no folder"
        raise CheckpointError(f"{target}: {what}")
    with tempfile.TemporaryDirectory(prefix=".steelyard-", dir=folder) as draft:
        model.save_weights(path.join(draft, "model.weights.h5"))
        convert(path.join(draft, "model.weights.h5"), target)
