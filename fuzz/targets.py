"""What is fuzzed: each target takes bytes, and nothing but an error of ours may come out of it."""

import json
import struct
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.hostile.good import KERNEL, hdf5, index, keras, legacy, pt, shards
from tests.hostile.tables import MAGIC, block, varint

from fuzz import trees
from steelyard.checkpoints import _keras_files, _worker
from steelyard.checkpoints._bytes import Bytes
from steelyard.checkpoints._json import parse_json
from steelyard.checkpoints._npz import open_npz
from steelyard.checkpoints._object_graph import names_in
from steelyard.checkpoints._orbax import open_orbax
from steelyard.checkpoints._safetensors import open_safetensors
from steelyard.checkpoints._safetensors_index import open_safetensors_index
from steelyard.checkpoints._tensorflow import open_tensorflow
from steelyard.checkpoints._torch import open_torch
from steelyard.checkpoints._zip import Archive
from steelyard.errors import SteelyardError

_FOLDER = Path(tempfile.mkdtemp())  # in the one that `run.py` removes
_MOST_READ = 1 << 22


@dataclass(frozen=True)
class Target:
    """What is done with the bytes, and which hostile files are where it begins.

    Args:
        one: Takes the bytes.
        seeds: Formats of `tests.hostile`, the main files of which are the seeds.
        more: Other seeds.
    """

    one: Callable[[bytes], None]
    seeds: tuple[str, ...] = ()
    more: Callable[[], list[bytes]] = list


def guarded(one: Callable[[bytes], None]) -> Callable[[bytes], None]:
    """An error of ours is an answer, if a terminal may show it."""

    def run(data: bytes) -> None:
        try:
            one(data)
        except SteelyardError as error:
            assert str(error).isprintable(), "an error that a terminal would act on"

    return run


def _file(name: str, data: bytes) -> Path:
    path = _FOLDER / name
    path.write_bytes(data)
    return path


def _read_all(source: Any) -> None:
    try:
        for spec in source.specs():
            assert spec.address
            if spec.nbytes > _MOST_READ:
                continue
            try:
                assert source.read(spec.address).shape == spec.shape
            except SteelyardError as error:
                assert str(error).isprintable()
    finally:
        source.close()


# --- Files as a whole -----------------------------------------------------------------------------


def _opened(name: str, reader: Callable[[Path], Any]) -> Callable[[bytes], None]:
    return lambda data: _read_all(reader(_file(name, data)))


def _zip(data: bytes) -> None:
    with Bytes(_file("x.zip", data)) as file:
        archive = Archive(file)
        assert len(archive.outer_names) <= len(archive.members)
        for name, member in archive.members.items():
            archive.first(member, 100)
            if member.size > _MOST_READ:
                continue
            try:
                archive.read(name, _MOST_READ)
                part = archive.part(name)
            except SteelyardError as error:
                assert str(error).isprintable()
            else:
                if part.source is not file:
                    part.close()


def _json(data: bytes) -> None:
    for pythons in (False, True):
        parse_json(data, "x", pythons=pythons)


def _index(data: bytes) -> None:
    _read_all(open_safetensors_index(index(_FOLDER, data)))


def _pickle(data: bytes) -> None:
    storages = [KERNEL.tobytes(), bytes(64)]
    _read_all(open_torch(_file("x.pt", pt(data, storages=storages))))


def _table(data: bytes) -> None:
    """The block of a table, its checksum and footer made right."""
    whole = _summed(data)
    listing = block([(b"\xff", varint(0) + varint(len(data)))])
    footer = varint(0) + varint(0) + varint(len(whole)) + varint(len(listing) - 5)
    path = _file("t.index", whole + listing + footer.ljust(40, b"\0") + MAGIC)
    _file("t.data-00000-of-00001", KERNEL.tobytes() * 2)
    _read_all(open_tensorflow(path))


def _summed(data: bytes) -> bytes:
    from steelyard.checkpoints._crc32c import masked_crc32c

    body = data + b"\0"
    return body + struct.pack("<I", masked_crc32c(body))


def _graph(data: bytes) -> None:
    names_in(data, "x")


def _orbax(data: bytes) -> None:
    """The names of a checkpoint, and behind two bytes that no text has, what its array is."""
    names, _, array = data.partition(b"\xff\xff")
    folder = _FOLDER / "orbax"
    (folder / "w").mkdir(parents=True, exist_ok=True)
    (folder / "w" / "0.0").write_bytes(KERNEL.tobytes())
    (folder / "w" / ".zarray").write_bytes(array)
    (folder / "_METADATA").write_bytes(names)
    _read_all(open_orbax(folder))


# --- Keras ----------------------------------------------------------------------------------------


class _Told(_worker.Worker):
    """A worker whose answer is what the fuzzer says."""

    answer = b""

    def _ask(self, question: dict[str, Any], deadline: float) -> dict[str, Any]:
        if "read" in question:
            self._fail(_worker.CheckpointError, "is not there")
        return self._understood(bytearray(type(self).answer))


def _told(data: bytes, make: Callable[[], Path]) -> None:
    _Told.answer = data
    kept, _keras_files.Worker = _keras_files.Worker, _Told
    try:
        _read_all(_keras_files.open_hdf5_checkpoint(make()))
    finally:
        _keras_files.Worker = kept


def _reply(data: bytes) -> None:
    _told(data, lambda: _file("x.weights.h5", _HDF5))


_HDF5, _OLD = hdf5(trees.two_layers), legacy(trees.legacy_layers)
_LISTING = json.dumps({"listing": trees.listing(_HDF5)}).encode()
_LEGACY = json.dumps({"listing": trees.listing(_OLD)}).encode()


def _config(data: bytes) -> None:
    _told(_LISTING, lambda: _file("x.keras", keras(data, _HDF5)))


def _legacy(data: bytes) -> None:
    """The config in a whole-model file."""
    found = json.loads(_LEGACY)
    found["listing"]["groups"][""]["model_config"] = data.decode("utf-8", "replace")
    _told(json.dumps(found).encode(), lambda: _file("x.h5", _OLD))


def _shards(data: bytes) -> None:
    _told(_LISTING, lambda: shards(_FOLDER, data, _HDF5))


def _walk(data: bytes) -> None:
    """HDF5 that is made as the bytes say, so that the library is not what breaks."""
    found = trees.listing(trees.grown(data))
    _told(json.dumps({"listing": found}).encode(), lambda: _file("x.weights.h5", trees.grown(data)))


def _replies() -> list[bytes]:
    return [_LISTING, _LEGACY, b'{"error": "x"}', b'{"limit": "x"}', b'{"bytes": 3}']


TARGETS = {
    "zip": Target(_zip, ("keras", "npz", "pt")),
    "hdf5": Target(_opened("x.weights.h5", _keras_files.open_hdf5_checkpoint), ("weights.h5",)),
    "hdf5-reply": Target(_reply, (), _replies),
    "hdf5-walk": Target(_walk, (), trees.seeds),
    "keras-config": Target(_config, ("keras-folder",), trees.configs),
    "keras-shards": Target(_shards, ("shards",)),
    "legacy-h5": Target(_legacy, (), trees.configs),
    "safetensors": Target(_opened("x.safetensors", open_safetensors), ("safetensors",)),
    "safetensors-index": Target(_index, ("safetensors-index",)),
    "npz": Target(_opened("x.npz", open_npz), ("npz", "npy")),
    "pickle": Target(_pickle, (), trees.pickles),
    "pt": Target(_opened("x.pt", open_torch), ("pt",)),
    "tf-index": Target(_opened("t.index", open_tensorflow), ("tensorflow",)),
    "tf-table": Target(_table, (), trees.tables),
    "tf-graph": Target(_graph, (), trees.graphs),
    "orbax": Target(_orbax, ("orbax",), trees.orbaxes),
    "json": Target(_json, ("safetensors-index", "shards"), trees.configs),
}
