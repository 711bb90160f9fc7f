"""The header of an npy array; what follows it may be bytes of numbers, and never a pickle."""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np

from steelyard.checkpoints._tensor import Tensor, checked_shape
from steelyard.errors import CheckpointError

MAGIC = b"\x93NUMPY"
# As NumPy itself limits it.
MOST_HEADER = 10_000 + 12

_FIELD = re.compile(
    r"""\s*(["'])(descr|fortran_order|shape)\1\s*:\s*"""
    r"""(?:(["'])([^"']*)\3|(True|False)|\(([\d\s,L]*)\))\s*(,?)\s*"""
)
_NUMBERS = re.compile(r"[<>|=][biufc]\d+")
# Texts, dates, durations, and bytes that mean nothing by themselves.
_NO_NUMBERS = re.compile(r"[<>|=]?[SUVaMm]\d*(\[[^\]]*\])?")


class NpyHeader(NamedTuple):
    """What the header says; `tensor` is None for an array of no numbers."""

    tensor: Tensor | None
    kind: str
    length: int


def npy_header(name: str, data: bytes, where: str) -> NpyHeader:
    """Reads the header of an array.

    Args:
        name: Of the array.
        data: The first bytes of the array, `MOST_HEADER` of them or all.
        where: What it is of, for the errors.

    Raises:
        CheckpointError: It is no array, or one of Python objects, or of several fields.
    """
    text, length = _text(data, where)
    told = _fields(text, where)
    shape = checked_shape(_shape(told["shape"]), where)
    kind = told["descr"]
    if not _NUMBERS.fullmatch(kind):
        if _NO_NUMBERS.fullmatch(kind):
            return NpyHeader(None, kind, length)
        raise CheckpointError(_refused(kind, where))
    try:
        dtype = np.dtype(kind)
    except TypeError as error:
        raise CheckpointError(f"{where}: there is no dtype {kind!r:.50}") from error
    big = ">" if dtype.newbyteorder("=") != dtype else "<"
    order = "F" if told["fortran_order"] == "True" else "C"
    return NpyHeader(Tensor(name, shape, dtype.name, length, order, big), kind, length)


def _text(data: bytes, where: str) -> tuple[str, int]:
    """The text of the header, and where the array begins."""
    if not data.startswith(MAGIC) or len(data) < 12:
        raise CheckpointError(f"{where}: no npy array")
    wide = {1: 2, 2: 4, 3: 4}.get(data[6])
    if wide is None or data[7]:
        raise CheckpointError(f"{where}: npy of version {data[6]}.{data[7]} is not known")
    begin = 8 + wide
    end = begin + int.from_bytes(data[8:begin], "little")
    if end > len(data):
        raise CheckpointError(f"{where}: its header is cut off or longer than {MOST_HEADER:,}")
    # A name of a field may be anything, but arrays with fields are not read.
    return data[begin:end].decode("latin-1"), end


def _fields(text: str, where: str) -> dict[str, str]:
    """The three fields: only they, each once, each of its kind."""
    body = text.strip()
    if "'O'" in body or "|O" in body:
        raise CheckpointError(_refused("|O", where))
    found: dict[str, str] = {}
    at, more = 1, ","
    while more and body[at:].strip() != "}" and (field := _FIELD.match(body, at)):
        key, quoted, truth, numbers, more = field.group(2, 4, 5, 6, 7)
        right = {"descr": quoted, "fortran_order": truth, "shape": numbers}[key]
        if key in found or right is None:
            break
        found[key] = right
        at = field.end()
    if len(found) < 3 or body[0] != "{" or body[at:].strip() != "}":
        raise CheckpointError(f"{where}: its header is no dtype, order and shape: {text:.100}")
    return found


def _shape(text: str) -> tuple[int, ...]:
    # Python 2 wrote 3L.
    parts = [part.strip().removesuffix("L") for part in text.split(",")]
    if parts[-1] == "":
        parts.pop()
    right = all(part.isdecimal() and len(part) < 20 for part in parts)
    return tuple(map(int, parts)) if right else (-1,)


def _refused(kind: str, where: str) -> str:
    if "O" in kind:
        return f"{where}: an array of Python objects; it is a pickle, and was not run"
    return f"{where}: an array of {kind!r:.50} is not read"
