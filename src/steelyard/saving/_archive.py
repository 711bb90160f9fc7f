"""A `.keras` file is a zip archive: reading its parts, and writing a file whole or not at all."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

CONFIG = "config.json"
METADATA = "metadata.json"
# The block in the metadata that is ours; Keras reads over it.
NOTES = "steelyard"


def is_archive(path: Any) -> bool:
    """Whether this is the path of a `.keras` file that is there."""
    return str(path).endswith(".keras") and zipfile.is_zipfile(path)


def read_part(path: Any, name: str) -> Any:
    """The JSON value of one part of an archive."""
    with zipfile.ZipFile(path) as archive:
        return json.loads(archive.read(name))


def replace_parts(path: Path, parts: dict[str, Any]) -> None:
    """Puts new JSON values into an archive."""
    new = path.with_name(f"{path.name}.new")
    copy_archive(path, new, parts)
    os.replace(new, path)


def copy_archive(path: Any, new: Path, parts: dict[str, Any]) -> None:
    """Writes an archive anew with other JSON values; the rest is copied as it is, by the piece."""
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(new, "w") as archive:
        for info in old.infolist():
            if info.filename in parts:
                archive.writestr(info.filename, json.dumps(parts[info.filename]))
                continue
            with old.open(info) as source, archive.open(_as_new(info), "w") as target:
                shutil.copyfileobj(source, target, 1 << 20)


def _as_new(info: zipfile.ZipInfo) -> zipfile.ZipInfo:
    new = zipfile.ZipInfo(info.filename, info.date_time)
    new.compress_type, new.external_attr = info.compress_type, info.external_attr
    new.file_size = info.file_size  # so that one above 2 GiB is written as such
    return new


@contextlib.contextmanager
def whole_or_not(path: Path) -> Iterator[Path]:
    """Gives a path beside `path` to write to; what is there takes its place if all goes well.

    The folder of the new file is on the same disk, so that it only has to be renamed. A link is
    followed: what it points at is replaced.
    """
    path = Path(os.path.realpath(path))
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as folder:
        new = Path(folder) / path.name
        yield new
        os.replace(new, path)
