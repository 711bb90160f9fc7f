"""Hostile files of every format, made anew by each run of the tests: see `ROWS` and `FORMATS`.

None is kept in the repository: they are made in a second, some cannot be kept at all (pipes,
devices, files of 100 MB that take a page on the disk), and a folder of working attacks is nothing
that a clone should bring along. The same ones are the seeds of `fuzz/`.

    python -m tests.hostile FOLDER      makes them all
"""

from collections.abc import Iterator
from pathlib import Path

from tests.hostile import configs, damage, flats, hdf5s, jsons, names, pickles, values, zips
from tests.hostile.case import Case, Listed, Refused
from tests.hostile.good import FORMATS, HDF5, ZIPS

__all__ = ["FORMATS", "ROWS", "Case", "Listed", "Refused", "all_cases", "make"]

_CONFIGS = configs.WITH_CONFIG
_JSON = (*_CONFIGS, "shards", "safetensors", "safetensors-index", "orbax")
# The attacks, and the formats that each applies to.
ROWS = {
    "code": _CONFIGS,
    "paths": (*_CONFIGS, "shards", "safetensors-index", "tensorflow", "orbax"),
    "links": HDF5,
    "bombs": FORMATS,
    "zip": ZIPS,
    "json": _JSON,
    "pickle": ("npz", "npy", "pt"),
    "names": tuple(name for name in FORMATS if name != "npy"),  # which has no names
    "damage": FORMATS,
    "values": FORMATS,
}


def all_cases() -> Iterator[Case]:
    """Every hostile file, in the order of the rows."""
    yield from configs.code()
    yield from configs.paths()
    yield from hdf5s.links()
    yield from hdf5s.bombs()
    yield from flats.bombs()
    yield from zips.zips()
    yield from jsons.jsons()
    yield from pickles.pickles()
    yield from names.names()
    yield from damage.damage()
    yield from values.values()


def make(case: Case, root: Path) -> Path:
    """Makes the file of a case below a folder, with the bait beside it."""
    folder = root / case.id
    folder.mkdir(parents=True)
    outside = root / "outside"
    outside.mkdir(exist_ok=True)
    (outside / "secret").write_bytes(b"a secret " * 100)
    return case.make(folder)
