"""The dtype of a dataset, by the fields of its type in the file: h5py widens narrow floats."""

from __future__ import annotations

from typing import Any

import h5py

# (bytes, bits of the exponent, bits of the mantissa, bias of the exponent)
_FLOATS = {
    (8, 11, 52, 1023): "float64",
    (4, 8, 23, 127): "float32",
    (2, 5, 10, 15): "float16",
    (2, 8, 7, 127): "bfloat16",
    (1, 4, 3, 7): "float8_e4m3fn",
    (1, 5, 2, 15): "float8_e5m2",
}
_COMPLEX = {"float32": "complex64", "float64": "complex128"}


def dtype_name(kind: Any, declared: str) -> tuple[str, str]:
    """The name of a dtype as NumPy and ml_dtypes have it, and its byte order.

    Args:
        kind: The type in the file, a `h5py.h5t.TypeID`.
        declared: The attribute `dtype` of the dataset, which Keras writes; "" without it.

    Returns:
        Two empty strings for what is no number: a string, an opaque block, a compound.
    """
    family = kind.get_class()
    if family == h5py.h5t.OPAQUE and kind.get_size() == 2 and declared == "bfloat16":
        return "bfloat16", "<"
    if family == h5py.h5t.FLOAT:
        return _float(kind)
    if family == h5py.h5t.INTEGER:
        sign = "" if kind.get_sign() else "u"
        bits = 8 * kind.get_size()
        whole = bits in (8, 16, 32, 64) and kind.get_precision() == bits
        return (f"{sign}int{bits}", _order(kind)) if whole else ("", "")
    if family == h5py.h5t.ENUM:
        return ("bool", "<") if kind.dtype == "bool" else ("", "")
    if family == h5py.h5t.COMPOUND and kind.get_nmembers() == 2:
        return _complex(kind)
    return "", ""


def _float(kind: Any) -> tuple[str, str]:
    sign, at, exponent, low, mantissa = kind.get_fields()
    key = (kind.get_size(), exponent, mantissa, kind.get_ebias())
    packed = low == 0 and at == mantissa and sign == mantissa + exponent
    name = _FLOATS.get(key, "") if packed and kind.get_offset() == 0 else ""
    return (name, _order(kind)) if name else ("", "")


def _complex(kind: Any) -> tuple[str, str]:
    parts = [kind.get_member_type(n) for n in range(2)]
    if any(part.get_class() != h5py.h5t.FLOAT for part in parts):
        return "", ""
    (real, order), other = _float(parts[0]), _float(parts[1])
    size = parts[0].get_size()
    tight = kind.get_size() == 2 * size and kind.get_member_offset(1) == size
    right = (real, order) == other and tight and real in _COMPLEX and order == "<"
    return (_COMPLEX[real], "<") if right else ("", "")


def _order(kind: Any) -> str:
    return ">" if kind.get_order() == h5py.h5t.ORDER_BE else "<"
