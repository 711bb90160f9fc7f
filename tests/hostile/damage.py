"""Files that broke, and what is no file at all."""

import os
import random
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from tests.hostile.case import EITHER, Case, Refused
from tests.hostile.good import FORMATS, HDF5, good, main_file

_MUTANTS = (8, 3)  # HDF5 is slower


def damage() -> Iterator[Case]:
    for name in FORMATS:
        for what, part in (("empty", 0.0), ("a-third", 0.34), ("most", 0.9), ("last-byte", 1.0)):
            make = partial(_cut, name, part)
            yield Case("damage", name, f"cut-off-{what}", make, Refused())
        yield Case("damage", name, "wrong-magic", partial(_magic, name), Refused())
        for seed in range(_MUTANTS[name in HDF5]):
            yield Case("damage", name, f"bits-{seed}", partial(_bits, name, seed), EITHER)
        for seed in range(2):
            yield Case("damage", name, f"ones-{seed}", partial(_ones, name, seed), EITHER)
        for what in _NO_FILES:
            yield Case("damage", name, what, partial(_none, name, what), Refused())


def _changed(path: Path, data: bytes) -> Path:
    main_file(path).write_bytes(data)
    return path


def _cut(name: str, part: float, folder: Path) -> Path:
    path = good(name, folder)
    data = main_file(path).read_bytes()
    return _changed(path, data[: min(int(len(data) * part), len(data) - 1)])


def _magic(name: str, folder: Path) -> Path:
    path = good(name, folder)
    data = bytearray(main_file(path).read_bytes())
    # The table of a TensorFlow checkpoint has its magic at the end.
    for place in (*range(8), *range(-8, 0)):
        data[place] ^= 0x55
    return _changed(path, bytes(data))


def _bits(name: str, seed: int, folder: Path) -> Path:
    path, chance = good(name, folder), random.Random(seed)
    data = bytearray(main_file(path).read_bytes())
    for _ in range(chance.choice((1, 1, 3))):
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    return _changed(path, bytes(data))


def _ones(name: str, seed: int, folder: Path) -> Path:
    """Some number becomes the largest."""
    path, chance = good(name, folder), random.Random(100 + seed)
    data = bytearray(main_file(path).read_bytes())
    at = chance.randrange(min(len(data), 512) - 8)
    data[at : at + 8] = b"\xff" * 8
    return _changed(path, bytes(data))


def _none(name: str, what: str, folder: Path) -> Path:
    made = folder / "made"
    made.mkdir()
    path = folder / good(name, made).name
    _NO_FILES[what](path)
    return path


def _unreadable(path: Path) -> None:
    path.write_bytes(b"x")
    path.chmod(0)


_NO_FILES = {
    "missing": lambda path: None,
    "folder": os.mkdir,
    "pipe": os.mkfifo,
    "device": lambda path: os.symlink("/dev/zero", path),
    "dangling": lambda path: os.symlink("nowhere", path),
    "loop": lambda path: os.symlink(path.name, path),
    **({"unreadable": _unreadable} if os.geteuid() else {}),  # root may read everything
}
