"""A Keras file written again: as one of the two kinds that Keras loads, or inside safetensors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeGuard

import numpy as np

from steelyard.checkpoints._flat import unambiguous
from steelyard.checkpoints._hdf5_source import HDF5Source
from steelyard.checkpoints._keras_in_safetensors import KEY, TEXTS, told_of
from steelyard.checkpoints._keras_layout import Layout, check_whole, is_optimizer
from steelyard.checkpoints._keras_out import write_keras, write_weights_h5
from steelyard.checkpoints._safetensors_out import write_safetensors

KERAS_WRITERS = {".keras": write_keras, ".weights.h5": write_weights_h5}
# The stored array at a path of the source, or what takes its place.
ArrayAt = Callable[[str], np.ndarray]
Progress = Callable[[int, int], None]


def is_keras_file(source: object) -> TypeGuard[HDF5Source]:
    """Whether a source is a file of Keras's, and no checkpoint of another kind of a Keras model."""
    return isinstance(source, HDF5Source) and source.layout is not None


def can_be_kept(source: object) -> bool:
    """Whether a source is a Keras file of which a safetensors file can keep all that it has."""
    return is_keras_file(source) and not _layout(source).why_not


def optimizer_paths(source: HDF5Source) -> list[str]:
    """The paths of what the optimizer of a Keras file has."""
    return [path for path in source.paths if is_optimizer(path)]


def copy_keras(
    path: str,
    ending: str,
    source: HDF5Source,
    array: ArrayAt,
    optimizer: bool,
    progress: Progress | None,
) -> None:
    """Writes a Keras file with the structure of another one.

    Args:
        path: The new file.
        ending: Which of `KERAS_WRITERS`.
        source: The other one.
        array: What stands at a path.
        optimizer: Whether the state of the optimizer is kept.
        progress: Told how many arrays are done, and how many there are.

    Raises:
        CheckpointError: Something of the source would be lost, or Keras could not read it; the
            file is there already.
    """
    layout = _layout(source)
    check_whole(layout, path)
    # In one order whatever the source: equal weights give equal files.
    paths = sorted(one for one in source.paths if optimizer or not is_optimizer(one))
    layout = layout if optimizer else layout.without_optimizer()

    def arrays() -> Iterator[tuple[str, np.ndarray]]:
        for done, one in enumerate(paths, 1):
            yield one, array(one)
            if progress:
                progress(done, len(paths))

    KERAS_WRITERS[ending](path, layout, arrays())


def keep_keras(path: str, source: HDF5Source, optimizer: bool, progress: Progress | None) -> None:
    """Writes a safetensors file that can become the Keras file again.

    Args:
        path: The new file.
        source: The Keras file.
        optimizer: Whether the state of the optimizer is kept.
        progress: Told how many arrays are done, and how many there are.

    Raises:
        CheckpointError: A dtype that the format does not have; the file is there already.
    """
    layout = _layout(source) if optimizer else _layout(source).without_optimizer()
    by_path = {stored: address for address, stored in source.stored_path.items()}
    paths = [*by_path, *sorted(one for one in source.paths if one not in by_path)]
    paths = [one for one in paths if optimizer or not is_optimizer(one)]
    files = [name for name in layout.files if name not in TEXTS]
    names = unambiguous([*(by_path.get(one, one) for one in paths), *files])
    weights = dict(zip(names, paths, strict=False))
    text = told_of(layout, weights, dict(zip(names[len(paths) :], files, strict=True)))

    def arrays() -> Iterator[np.ndarray]:
        for done, one in enumerate(paths, 1):
            yield source.raw(one)
            if progress:
                progress(done, len(paths))
        for name in files:
            yield np.frombuffer(b"".join(layout.files[name]()), "uint8")

    write_safetensors(path, names, arrays(), {KEY: text})


def _layout(source: HDF5Source) -> Layout:
    assert source.layout is not None
    return source.layout
