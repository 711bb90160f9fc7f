"""Which reader a path is for: said by what is in it, not by its ending."""

from __future__ import annotations

import os
from importlib import import_module
from os import PathLike
from typing import NamedTuple

from steelyard.checkpoints._bytes import Bytes, is_there
from steelyard.errors import CheckpointError
from steelyard.source import WeightSource
from steelyard.urls import on_disk


class Format(NamedTuple):
    """A format: who knows it, and who opens it; a module is loaded when it is asked.

    Args:
        name: As people call it.
        module: Which file of this room reads it.
        is_it: The name of the function that looks at the first bytes and the path.
        open_it: The name of the function that opens it.
        open_few: The file, and in it the name of the function, that opens it for who knows already
            which weights there are and reads few of them; None where that is no quicker.
    """

    name: str
    module: str
    is_it: str
    open_it: str
    open_few: tuple[str, str] | None = None


# Asked in this order; Keras's own come last, since they say best what is wrong with a file.
FORMATS = (
    Format("safetensors", "_safetensors", "is_safetensors", "open_safetensors"),
    Format(
        "safetensors by an index",
        "_safetensors_index",
        "is_safetensors_index",
        "open_safetensors_index",
        ("_safetensors_few", "few_of"),
    ),
    Format("PyTorch", "_torch", "is_torch", "open_torch"),
    Format("NumPy", "_npz", "is_npz", "open_npz"),
    Format("TensorFlow", "_tensorflow", "is_tensorflow", "open_tensorflow"),
    Format("Orbax", "_orbax", "is_orbax", "open_orbax"),
)
_HEAD = 4096


def open_checkpoint(path: str | PathLike[str], *, few: bool = False) -> WeightSource:
    """The weights of a file of any known format. Nothing that it names is run or imported.

    Args:
        path: A `.keras` file or folder, `.weights.h5` (or its map of shards), legacy `.h5`,
            safetensors (or its index), `.npz`, `.npy`, PyTorch's `.pt` or `.bin`, a TensorFlow
            checkpoint or SavedModel, the folder of an Orbax checkpoint. Or the URL of a file, of
            which no more is fetched than is read; what it names lies beside it.
        few: Whether it is known already which weights there are, and few of them are read.

    Raises:
        CheckpointError: It is none of these, or damaged; says what and where.
        LimitError: It asks for more time, memory, depth or members than is allowed.
    """
    path = on_disk(path)
    head = b""
    if not os.path.isdir(path) and is_there(path):
        with Bytes(path) as file:
            head = file.read(0, min(_HEAD, file.size))
    for row in FORMATS:
        module = import_module(f"steelyard.checkpoints.{row.module}")
        if getattr(module, row.is_it)(head, path):
            source: WeightSource | None = None
            if few and row.open_few is not None:
                name, function = row.open_few
                source = getattr(import_module(f"steelyard.checkpoints.{name}"), function)(path)
            return source or getattr(module, row.open_it)(path)
    if not is_there(path):
        raise CheckpointError(f"{os.fspath(path)}: there is no such file")
    from steelyard.checkpoints._keras_files import open_hdf5_checkpoint

    return open_hdf5_checkpoint(path)
