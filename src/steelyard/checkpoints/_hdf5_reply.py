"""What the process that parses HDF5 says, checked: what reads a hostile file may have become so."""

from __future__ import annotations

import json
from typing import Any

from steelyard.errors import CheckpointError

_BITS = (8, 16, 32, 64)
_DTYPES = {
    *("float64", "float32", "float16", "bfloat16", "float8_e4m3fn", "float8_e5m2", "bool"),
    *("complex64", "complex128", *(f"{sign}int{n}" for sign in ("", "u") for n in _BITS)),
}


def understood(text: bytes | bytearray, where: str) -> dict[str, Any]:
    """An answer: a listing, the length of what follows, an error, or a limit.

    Raises:
        CheckpointError: It is none of these.
    """
    try:
        told = json.loads(text)
    except (ValueError, RecursionError):
        told = None
    if not isinstance(told, dict) or not _is_answer(told):
        raise CheckpointError(f"{where}: the process that parses HDF5 gave a wrong answer")
    return told


def _is_answer(told: dict[str, Any]) -> bool:
    match told:
        case {"listing": {"groups": dict() as groups, "tensors": list() as rows, "odd": list(odd)}}:
            right = all(map(_is_group, groups.values())) and all(map(_is_tensor, rows))
            return right and "" in groups and all(map(_is_odd, odd))
        case {"bytes": int(count)}:
            return count >= 0
        case {"limit": str()} | {"error": str()}:
            return True
    return False


def _is_group(attributes: Any) -> bool:
    return isinstance(attributes, dict) and all(map(_is_attribute, attributes, attributes.values()))


def _is_attribute(name: str, held: Any) -> bool:
    if name == "others":  # how many there are besides
        return _is_size(held)
    return _are_texts(held) if name in ("layer_names", "weight_names") else isinstance(held, str)


def _is_tensor(row: Any) -> bool:
    match row:
        case {"path": str(), "shape": list(), "dtype": str(dtype), "order": "<" | ">"}:
            at, sizes = row.get("offset", ""), map(row.get, ("declared", "held", "others"))
            right = dtype in _DTYPES and (at is None or type(at) is int)
            return right and all(map(_is_size, sizes))
    return False


def _is_odd(one: Any) -> bool:
    return _are_texts(one) and len(one) == 3


def _are_texts(held: Any) -> bool:
    return isinstance(held, list) and all(isinstance(text, str) for text in held)


def _is_size(held: Any) -> bool:
    return type(held) is int and held >= 0
