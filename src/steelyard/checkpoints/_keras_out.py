"""Writing what Keras loads: the groups and names of another file, and values as they come.

The file is HDF5 as Keras writes it: one piece of bytes for each variable, bfloat16 marked by an
attribute. In a `.keras` all else is as it was, byte for byte.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from operator import itemgetter
from os import PathLike
from typing import Any

import numpy as np

from steelyard.checkpoints._keras_layout import CONFIG, METADATA, WEIGHTS, Layout, check_whole
from steelyard.checkpoints._new_file import new_file
from steelyard.errors import CheckpointError

# With it, equal weights give equal files.
_WHEN = (1980, 1, 1, 0, 0, 0)
_PIECE = 1 << 20
# What Keras reads as it was written; of float8 it, or h5py, makes nothing or something else.
_DTYPES = ("bool", *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)))
_DTYPES += ("bfloat16", "float16", "float32", "float64", "complex64", "complex128")


def write_weights_h5(
    path: str | PathLike[str], layout: Layout, arrays: Iterable[tuple[str, np.ndarray]]
) -> None:
    """Writes a `.weights.h5`; `model.load_weights` reads it.

    Args:
        path: The new file.
        layout: The groups that it gets.
        arrays: The path in the file and the stored array of each variable, one in memory at a time.

    Raises:
        CheckpointError: A dtype that Keras cannot read there; the file is there already.
    """
    check_whole(layout, os.fspath(path))
    with new_file(path) as file:
        _write_hdf5(file, layout, arrays)


def write_keras(
    path: str | PathLike[str], layout: Layout, arrays: Iterable[tuple[str, np.ndarray]]
) -> None:
    """Writes a `.keras` file; `keras.models.load_model` reads it.

    HDF5 is not written in one go, and a zip is: so the weights are in a file without a name first.

    Args:
        path: The new file.
        layout: The groups that it gets, and what is beside the weights.
        arrays: The path in the file and the stored array of each variable, one in memory at a time.

    Raises:
        CheckpointError: There is no config; a dtype that Keras cannot read; the file is there.
    """
    where = os.fspath(path)
    check_whole(layout, where)
    if CONFIG not in layout.files:
        raise CheckpointError(
            f"{where}: a .keras file has the config of its model, and the source has none. "
            f"Write .weights.h5, or build the model, load the source into it, and save that."
        )
    with new_file(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        with tempfile.TemporaryFile(dir=os.path.dirname(where) or ".") as weights:
            _write_hdf5(weights, layout, arrays)
            weights.seek(0)
            _add(archive, METADATA, layout)
            _add(archive, CONFIG, layout)
            with _member(archive, WEIGHTS) as inside:
                shutil.copyfileobj(weights, inside, _PIECE)
        for name in layout.files:
            if name not in (METADATA, CONFIG):
                _add(archive, name, layout)


def _add(archive: zipfile.ZipFile, name: str, layout: Layout) -> None:
    if name in layout.files:
        with _member(archive, name) as inside:
            for piece in layout.files[name]():
                inside.write(piece)


def _member(archive: zipfile.ZipFile, name: str) -> Any:
    return archive.open(zipfile.ZipInfo(name, _WHEN), "w", force_zip64=True)


def _write_hdf5(file: Any, layout: Layout, arrays: Iterable[tuple[str, np.ndarray]]) -> None:
    import h5py

    with h5py.File(file, "w") as root:
        for path, name in sorted(layout.groups.items(), key=itemgetter(0)):
            with _in_words(path):
                group = root.require_group(path) if path else root
                if name is not None:
                    group.attrs["name"] = name
        for path, array in arrays:
            _check_dtype(path, array)
            with _in_words(path):
                data = root.create_dataset(path, data=array)
                if array.dtype.name == "bfloat16":
                    data.attrs["dtype"] = "bfloat16"
            del array  # before the next one is read


@contextlib.contextmanager
def _in_words(path: str) -> Iterator[None]:
    """What the HDF5 library cannot do, such as two things at one place, as an error of ours."""
    try:
        yield
    except (ValueError, TypeError, RuntimeError) as error:
        raise CheckpointError(f"{path}: HDF5 cannot hold this: {error}") from error


def _check_dtype(path: str, array: np.ndarray) -> None:
    if array.dtype.name not in _DTYPES:
        raise CheckpointError(
            f"{path}: Keras reads no {array.dtype.name} from its files. It reads "
            f"{', '.join(_DTYPES)}."
        )
