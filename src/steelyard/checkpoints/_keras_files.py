"""The way into the files that Keras writes as HDF5: chosen by what is in them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any

from steelyard.checkpoints._bytes import Bytes
from steelyard.checkpoints._hdf5_source import HDF5Source, Held, Oddity, held_in
from steelyard.checkpoints._json import LONGEST, parse_json
from steelyard.checkpoints._keras_layout import (
    CONFIG,
    METADATA,
    WEIGHTS,
    Pieces,
    layout_of,
)
from steelyard.checkpoints._keras_names import names
from steelyard.checkpoints._keras_place import NO_CONFIG, Named, naming_note
from steelyard.checkpoints._keras_rewritten import marked
from steelyard.checkpoints._keras_tree import tree_of
from steelyard.checkpoints._legacy_names import is_legacy, legacy_names
from steelyard.checkpoints._part import Part
from steelyard.checkpoints._worker import MEMORY, SECONDS, Worker
from steelyard.checkpoints._zip import Archive, is_zip
from steelyard.errors import CheckpointError, LimitError

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_PIECE = 1 << 20
_MOST_SHARDS = 1000
_MOST_MEMBERS = 10_000  # Keras writes three, and assets
MOST_DEPTH = 200  # models in models


def open_hdf5_checkpoint(
    path: str | PathLike[str], *, seconds: float = SECONDS, memory: int = MEMORY
) -> HDF5Source:
    """The weights of a `.keras` (file or folder), a `.weights.h5`, its shards, or a legacy `.h5`.

    Nothing is loaded, and no class or function that the file names is looked for. HDF5 is parsed in
    a process of its own.

    Args:
        path: The file, or the folder of an unzipped `.keras`.
        seconds: How long that process may take for an answer.
        memory: How much memory it may take, in bytes.

    Returns:
        The source; its `naming` says how certain each address is, its `findings` what is odd.

    Raises:
        CheckpointError: It is none of these, or damaged.
        LimitError: It asks for more time, memory, depth or members than is allowed.
    """
    if os.path.isdir(path):
        return _of_folder(Path(path), (seconds, memory))
    source = Bytes(path)
    try:
        return _of_file(source, (seconds, memory))
    except BaseException:
        source.close()
        raise


def is_hdf5(source: Bytes) -> bool:
    """Whether a file is HDF5; some put a block of their own before it."""
    at = 0
    while at + 8 <= source.size and at <= 1 << 20:
        if source.read(at, 8) == _SIGNATURE:
            return True
        at = max(512, 2 * at)
    return False


def _of_file(source: Bytes, limits: tuple[float, int]) -> HDF5Source:
    # A zip first: what is stored in it may by chance lie where HDF5 can begin.
    if is_zip(source):
        return _of_archive(source, limits)
    if is_hdf5(source):
        return _source([Part.whole(source)], None, [], limits)
    if source.size and source.read(0, 1) in (b"{", b" ", b"\n"):
        return _of_shards(source, limits)
    what = "is empty" if not source.size else "is neither HDF5, nor zip, nor a JSON map of shards"
    raise CheckpointError(f"{source.path}: no Keras checkpoint: it {what}")


def _of_archive(source: Bytes, limits: tuple[float, int]) -> HDF5Source:
    archive = Archive(source, most=_MOST_MEMBERS)
    if WEIGHTS not in archive.members:
        raise CheckpointError(f"{source.path}: the archive has no member {WEIGHTS!r}")
    message = "a name that leads out of the archive; nothing is extracted"
    odd = [Oddity("zip-name", name, message) for name in archive.outer_names]
    config = None
    if CONFIG in archive.members:
        text = archive.read(CONFIG, LONGEST)
        config = _config(text, f"{source.path}: {CONFIG}", odd)
    files = {name: partial(_pieces, archive, name) for name in archive.members if name != WEIGHTS}
    also = [Part.whole(source)]
    return _source([archive.part(WEIGHTS)], config, odd, limits, also, files)


def _pieces(archive: Archive, name: str) -> Iterator[bytes]:
    part = archive.part(name)
    for at in range(0, part.size, _PIECE):
        yield part.source.read(part.start + at, min(_PIECE, part.size - at))


def _of_folder(folder: Path, limits: tuple[float, int]) -> HDF5Source:
    if not (folder / WEIGHTS).exists():
        raise CheckpointError(f"{folder}: the folder has no file {WEIGHTS!r}")
    odd: list[Oddity] = []
    config = None
    files = {name: partial(_text, folder / name) for name in (METADATA, CONFIG)}
    files = {name: pieces for name, pieces in files.items() if (folder / name).exists()}
    if CONFIG in files:
        with Bytes(folder / CONFIG) as file:
            config = _config(_small(file), file.path, odd)
    weights = [Part.whole(Bytes(folder / WEIGHTS))]
    lost = ""
    if len(os.listdir(folder)) > len(files) + 1:
        lost = "the folder has other files too, which are not read. Zip it, and convert that"
    return _source(weights, config, odd, limits, None, files, lost)


def _text(path: Path) -> Iterator[bytes]:
    with Bytes(path) as file:
        yield _small(file)


def _of_shards(source: Bytes, limits: tuple[float, int]) -> HDF5Source:
    index = parse_json(_small(source), source.path)
    places = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(places, dict):
        raise CheckpointError(f"{source.path}: no Keras checkpoint: JSON without a 'weight_map'")
    shards: dict[str, None] = {}
    for value in places.values():
        shards |= dict.fromkeys(
            str(name) for name in (value if isinstance(value, list) else [value])
        )
    if len(shards) > _MOST_SHARDS:
        raise LimitError(f"{source.path}: {len(shards):,} shards; {_MOST_SHARDS:,} are allowed")
    for name in shards:
        if name != os.path.basename(name) or name in ("", ".", ".."):
            raise CheckpointError(f"{source.path}: the shard {name!r} would lie in another folder")
    source.close()
    return _source([Part.whole(source.beside(name)) for name in shards], None, [], limits)


def _small(source: Bytes) -> bytes:
    if source.size > LONGEST:
        raise LimitError(f"{source.path}: {source.size:,} bytes of JSON; {LONGEST:,} are allowed")
    return source.read(0, source.size)


def _config(text: bytes | str, where: str, odd: list[Oddity]) -> Any:
    """The parsed config; one that cannot be read is said, and the weights are listed without it."""
    try:
        return parse_json(text, where, most_depth=MOST_DEPTH, pythons=True)
    except CheckpointError as error:
        odd.append(Oddity("config", CONFIG, str(error)))
        return None


def _source(
    parts: list[Part],
    config: Any,
    odd: list[Oddity],
    limits: tuple[float, int],
    also: list[Part] | None = None,
    files: Mapping[str, Pieces] | None = None,
    lost: str = "",
) -> HDF5Source:
    workers = [Worker(part, *limits) for part in parts]
    opened = [*parts, *(also or [])]
    try:
        listings = [worker.listing() for worker in workers]
        return source_of(workers, listings, config, odd, opened, files or {}, lost)
    except BaseException:
        for worker in workers:
            worker.close()
        for part in opened:
            part.close()
        raise


def source_of(
    workers: list[Worker],
    listings: list[dict[str, Any]],
    config: Any,
    odd: list[Oddity],
    opened: list[Part],
    files: Mapping[str, Pieces],
    lost: str = "",
) -> HDF5Source:
    """The source of what has been listed.

    Args:
        workers: Who has what open.
        listings: What each of them found.
        config: The parsed config of the model; None without one.
        odd: What is odd so far; gets what else is.
        opened: What to close with the source.
        files: What a `.keras` has beside the weights.
        lost: What else there is, which is not read, as a clause; empty if nothing.
    """
    held: dict[str, Held] = {}
    for worker, listing in zip(workers, listings, strict=True):
        held |= held_in(worker, listing["tensors"])
        if all(row["offset"] is not None for row in listing["tensors"]):
            worker.close()
        odd += [Oddity(*one) for one in listing["odd"]]
    layout = layout_of(listings, odd, files, lost)
    named, config = _named(listings, config, odd)
    named = marked(named, config)
    note = naming_note([one.naming for one in named], NO_CONFIG if config is None else "")
    return HDF5Source(held, named, odd, note, [*workers, *opened], layout)


def _named(
    listings: list[dict[str, Any]], config: Any, odd: list[Oddity]
) -> tuple[list[Named], Any]:
    if len(listings) == 1 and is_legacy(listings[0]):
        text = listings[0]["groups"][""].get("model_config")
        config = _config(text, "model_config", odd) if text else None
        return legacy_names(listings[0], config), config
    root, strays = tree_of(listings)
    odd += [
        Oddity("stray", path, "is no variable of a layer, so it is not listed") for path in strays
    ]
    return names(root, config), config
