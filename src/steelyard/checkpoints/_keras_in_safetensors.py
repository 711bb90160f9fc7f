"""A Keras file inside a safetensors file: its arrays by address, all else as a text in the header.

Other readers find named arrays, as in any such file. Here the text makes it the Keras file that it
was: with the same addresses, its codes scaled back, and ready to be written as one again. The text
is that of somebody else; where it does not fit the arrays, it is as if it were not there.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from steelyard.checkpoints._bytes import Bytes
from steelyard.checkpoints._flat import Entry
from steelyard.checkpoints._hdf5_source import HDF5Source, Oddity
from steelyard.checkpoints._json import parse_json
from steelyard.checkpoints._keras_files import MOST_DEPTH, source_of
from steelyard.checkpoints._keras_layout import CONFIG, METADATA, WEIGHTS, Layout
from steelyard.checkpoints._part import Part
from steelyard.checkpoints._tensor import Tensor
from steelyard.checkpoints._worker import LIMITS, Worker
from steelyard.checkpoints._zip import leads_out
from steelyard.errors import CheckpointError, LimitError

KEY = "steelyard"
VERSION = 1
TEXTS = (METADATA, CONFIG)
_LONGEST = 16 << 20


def told_of(layout: Layout, weights: Mapping[str, str], files: Mapping[str, str]) -> str:
    """The text that is written into the header.

    Args:
        layout: Of the Keras file.
        weights: The name of each array and its path in the Keras file.
        files: The name of each array that is what a `.keras` has besides, and what that is called.

    Raises:
        LimitError: It would be longer than is read again.
    """
    texts = {
        name: b"".join(layout.files[name]()).decode() for name in TEXTS if name in layout.files
    }
    told = {"version": VERSION, "groups": dict(layout.groups), "texts": texts}
    told |= {"weights": dict(weights), "files": dict(files)}
    text = json.dumps(told, separators=(",", ":"))
    if len(text) > _LONGEST:
        raise LimitError(
            f"The config and the groups of the source take {len(text):,} bytes; at most "
            f"{_LONGEST:,} are written into the header of a safetensors file"
        )
    return text


def keras_source(file: Bytes, entries: Sequence[Entry], text: str) -> HDF5Source | None:
    """The Keras file that a safetensors file was made of; None where the text does not fit.

    Args:
        file: The open file.
        entries: Its arrays.
        text: What its header has under `KEY`.
    """
    try:
        told = parse_json(text, f"{file.path}: {KEY}", most_depth=8)
        arrays = {entry.tensor.name: entry.tensor for entry in entries}
        if not _fits(told, arrays):
            return None
        odd: list[Oddity] = []
        config = None
        if CONFIG in told["texts"]:
            where = f"{file.path}: {CONFIG}"
            config = parse_json(told["texts"][CONFIG], where, most_depth=MOST_DEPTH, pythons=True)
    except CheckpointError:
        return None
    names = {path: {} if n is None else {"name": n} for path, n in told["groups"].items()}
    rows = [_row(path, arrays[name]) for name, path in told["weights"].items()]
    part = Part.whole(file)
    return source_of(
        [Worker(part)],  # which never starts: all bytes are in one piece
        [{"groups": names, "tensors": rows, "odd": []}],
        config,
        odd,
        [part],
        _files(file, told, arrays),
    )


def _fits(told: Any, arrays: Mapping[str, Tensor]) -> bool:
    """Whether the text is one of ours, and tells of each array that is there."""
    if not isinstance(told, dict) or told.get("version") != VERSION:
        return False
    maps: list[Any] = [told.get(key) for key in ("groups", "weights", "files", "texts")]
    if not all(isinstance(one, dict) for one in maps):
        return False
    groups, weights, files, texts = maps
    paths, members = list(weights.values()), [*files.values(), *texts]
    names = [*paths, *members, *texts.values(), *(n for n in groups.values() if n is not None)]
    return (
        all(isinstance(name, str) for name in names)
        and sorted([*weights, *files]) == sorted(arrays)
        and len(set(paths)) == len(paths)
        and len(groups) + len(paths) <= LIMITS["count"]
        and all(_is_path(path) for path in (*groups, *paths))
        and set(texts) <= set(TEXTS)
        and len({*members, WEIGHTS}) == len(members) + 1
        and not any(leads_out(name) or not name.isprintable() for name in members)
        and all(arrays[name].dtype == "uint8" and len(arrays[name].shape) == 1 for name in files)
    )


def _is_path(path: str) -> bool:
    segments = path.split("/")
    return len(segments) <= LIMITS["depth"] and (not path or not {"", ".", ".."} & set(segments))


def _row(path: str, tensor: Tensor) -> dict[str, Any]:
    size = tensor.nbytes
    row = dict(path=path, shape=list(tensor.shape), dtype=tensor.dtype, order=tensor.byteorder)
    return row | dict(offset=tensor.offset, declared=size, held=size)


def _files(file: Bytes, told: Any, arrays: Mapping[str, Tensor]) -> dict[str, Any]:
    texts = {name: partial(_text, text) for name, text in told["texts"].items()}
    return texts | {
        member: partial(_bytes, file, arrays[name]) for name, member in told["files"].items()
    }


def _text(text: str) -> Iterator[bytes]:
    yield text.encode()


def _bytes(file: Bytes, tensor: Tensor) -> Iterator[bytes]:
    assert tensor.offset is not None
    yield file.read(tensor.offset, tensor.nbytes)
