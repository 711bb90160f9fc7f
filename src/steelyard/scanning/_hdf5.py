"""HDF5: links and datasets that lead elsewhere, and the configs in its attributes."""

from __future__ import annotations

from typing import Any

from steelyard.checkpoints import Worker
from steelyard.errors import CheckpointError
from steelyard.scanning._keras_objects import scan_json
from steelyard.scanning._piece import Piece
from steelyard.scanning._report import Report
from steelyard.scanning._strings import is_obeyed, shown

SIGNATURE = b"\x89HDF\r\n\x1a\n"
_MEMORY = 256 << 20
_CODES = {
    "external": "hdf5-external-storage",
    "virtual": "hdf5-virtual-dataset",
    "alias": "hdf5-alias",
    "bomb": "hdf5-bomb",
}
_SAYS = {
    "hdf5-external-link": "A link to another file, not followed.",
    "hdf5-soft-link": "A link by name, not followed.",
    "hdf5-external-storage": "Its values are bytes of another file, which was not opened.",
    "hdf5-virtual-dataset": "It is made up of other datasets, which were not opened.",
    "hdf5-alias": "It is another name of an object that was there before.",
}
_CONFIGS = ("model_config", "training_config")


def is_hdf5(piece: Piece) -> bool:
    """Whether it is HDF5; some put a block of their own before it."""
    at = 0
    while at + 8 <= piece.size and at <= 1 << 20:
        if piece.read(at, 8) == SIGNATURE:
            return True
        at = max(512, 2 * at)
    return False


def scan_hdf5(piece: Piece, report: Report) -> str:
    """Notes what a file of HDF5 has; it is parsed in a process of its own.

    Raises:
        CheckpointError: It is damaged.
        LimitError: It takes too much time or memory, or holds too many objects.
    """
    report.check()
    worker = Worker(piece.part, report.left, _MEMORY)
    try:
        listing = worker.listing()
    finally:
        worker.close()
    for kind, path, message in listing["odd"]:
        if code := _code(kind, message):
            report.add(code, piece, path, _SAYS.get(code, f"It {message}."))
    _names(listing, piece, report)
    for name in _CONFIGS:
        if text := listing["groups"].get("", {}).get(name):
            _config(piece, report, text, name)
    return "HDF5"


def _code(kind: str, message: str) -> str:
    if kind == "link":
        return "hdf5-external-link" if "external" in message else "hdf5-soft-link"
    return _CODES.get(kind, "")


def _config(piece: Piece, report: Report, text: str, name: str) -> None:
    try:
        scan_json(piece, report, text.encode("utf-8", "surrogatepass"), f"attribute {name}: $")
    except CheckpointError as error:
        report.add_error(error, piece, f"attribute {name}")


def _names(listing: dict[str, Any], piece: Piece, report: Report) -> None:
    for path in [*listing["groups"], *(row["path"] for row in listing["tensors"])]:
        if is_obeyed(path):
            report.add("terminal-escape", piece, shown(path), f"The name {shown(path)} is there.")
