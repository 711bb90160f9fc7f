"""A new file: whole or not at all, and never in the place of another."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from os import PathLike
from typing import BinaryIO

from steelyard.errors import CheckpointError


@contextmanager
def new_file(path: str | PathLike[str]) -> Iterator[BinaryIO]:
    """A file to write to, which gets its name when all is written; on an error nothing is left.

    What has been written can be read back meanwhile, as HDF5 does.

    Raises:
        CheckpointError: There is something of that name, or no such folder.
    """
    path = os.fspath(path)
    folder = os.path.dirname(path) or "."
    if not os.path.isdir(folder):
        raise CheckpointError(f"{path}: there is no folder {folder!r}")
    _refuse(path)
    draft = os.path.join(folder, f".{os.path.basename(path)}.{secrets.token_hex(4)}.part")
    try:
        with open(draft, "x+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        # A link fails where a file of that name has come meanwhile; a rename would replace it.
        try:
            os.link(draft, path)
        except FileExistsError:
            _refuse(path)
        except OSError:  # a file system without links
            _refuse(path)
            os.rename(draft, path)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(draft)


def _refuse(path: str) -> None:
    if os.path.lexists(path):
        raise CheckpointError(f"{path}: is there already; name a new file, or remove it first")
