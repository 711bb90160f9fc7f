"""Arrays of NumPy: numbers, or Python objects in a pickle."""

from __future__ import annotations

import re

from steelyard.errors import CheckpointError
from steelyard.scanning._pickles import scan_pickles
from steelyard.scanning._piece import Piece
from steelyard.scanning._report import Report

MAGIC = b"\x93NUMPY"
_MOST_HEADER = 1 << 20
_OBJECTS = re.compile(r"""["'][<>|=]?O\d*["']|object""")


def holds_objects(head: bytes) -> tuple[bool, int]:
    """Whether an array is one of Python objects, by its header, and where the header ends.

    Raises:
        CheckpointError: The bytes are no header, or not all of it.
    """
    wide = {1: 2, 2: 4, 3: 4}.get(head[6] if len(head) > 6 else 0)
    if wide is None:
        raise CheckpointError("an array of NumPy of a version that is not known")
    end = 8 + wide + int.from_bytes(head[8 : 8 + wide], "little")
    if end > min(len(head), _MOST_HEADER):
        raise CheckpointError("the header of an array of NumPy is cut off or too long")
    return _OBJECTS.search(head[8 + wide : end].decode("latin-1")) is not None, end


def scan_array(piece: Piece, report: Report) -> str:
    """Notes an array of Python objects, and what is in its pickle."""
    objects, end = holds_objects(piece.read(0, _MOST_HEADER))
    if objects:
        report.add("object-array", piece, "", "An array of Python objects, which is a pickle.")
        scan_pickles(piece, report, end)
    return "an array of NumPy"
