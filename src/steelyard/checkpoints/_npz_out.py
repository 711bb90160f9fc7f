"""Writing npz: a stored zip of npy members, a weight at a time."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable
from os import PathLike

import numpy as np

from steelyard.checkpoints._new_file import new_file
from steelyard.errors import CheckpointError

# With it, equal weights give equal files.
_WHEN = (1980, 1, 1, 0, 0, 0)


def write_npz(
    path: str | PathLike[str], names: Iterable[str], arrays: Iterable[np.ndarray]
) -> None:
    """Writes arrays as they come; `numpy.load` reads the file.

    Args:
        path: The new file.
        names: Of all arrays, in their order.
        arrays: As many arrays, one in memory at a time.

    Raises:
        CheckpointError: A dtype that NumPy itself does not have, such as bfloat16; the file is
            there already.
    """
    with new_file(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        arrays = iter(arrays)
        for name in names:
            array = next(arrays)
            if array.dtype.kind not in "biufc" or array.dtype.isbuiltin != 1:
                raise CheckpointError(
                    f"{name}: npz keeps no {array.dtype.name}; write safetensors, or pass map= "
                    f"and make it float32"
                )
            member = zipfile.ZipInfo(f"{name}.npy", _WHEN)
            with archive.open(member, "w", force_zip64=True) as inside:
                np.lib.format.write_array(inside, np.ascontiguousarray(array), allow_pickle=False)
            del array  # before the next one is read; `zip` would keep it as well
