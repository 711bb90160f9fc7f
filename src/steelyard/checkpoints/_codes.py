"""Quantized weights of a file, scaled back as Keras's layers do it; codes are never values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from steelyard.checkpoints import _einsum
from steelyard.checkpoints._keras_names import Named
from steelyard.errors import QuantizationError

Read = Callable[[str], np.ndarray]

_WEIGHTS = ("kernel", "embeddings", "reverse_embeddings")
_HELPERS = ("_scale", "_zero", "g_idx", "zero_point")


def is_coded(named: Named, dtype: str) -> bool:
    """Whether a variable is not what its layer computes with."""
    mode = named.layer.mode
    if named.name in _WEIGHTS and mode == "float8":
        return True
    if dtype not in ("int8", "uint8", "int4", "uint4") or named.name.endswith(_HELPERS):
        return False
    return bool(mode) or f"{named.name}_scale" in named.beside


def shape_of(named: Named, stored: tuple[int, ...], dtype: str) -> tuple[int, ...]:
    """The shape of the value: that of the codes, but where two of them share a byte."""
    if named.layer.mode != "int4" or not is_coded(named, dtype):
        return stored
    return _shape(named) or stored


def parts_of(named: Named) -> dict[str, str]:
    """The paths of what makes up a weight that is coded, by their names; its own comes first."""
    names = [named.name, f"{named.name}_scale", f"{named.name}_zero", "g_idx"]
    return {name: named.beside[name] for name in names if name in named.beside}


def value_of(named: Named, read: Read) -> np.ndarray:
    """What the layer computes with, in float32.

    Raises:
        QuantizationError: The mode is not known, or the parts do not fit each other.
    """
    mode = named.layer.mode
    if mode is None:
        raise _unknown(
            named,
            "nothing here says in which mode it is quantized: int8 codes and "
            "packed int4 codes look alike, and only the config.json of a .keras tells",
        )
    known = mode in _MODES and f"{named.name}_scale" in named.beside and named.layer.own
    if not known or (mode == "float8" and named.name != "kernel"):
        raise _unknown(named, f"it is quantized in mode {mode!r}, whose way back is not known")
    parts = {name: read(path) for name, path in parts_of(named).items()}
    held = dict(
        zip(
            ("own", "scale"), (parts.pop(named.name), parts.pop(f"{named.name}_scale")), strict=True
        )
    )
    held |= {("zero" if name.endswith("_zero") else "groups"): part for name, part in parts.items()}
    try:
        return np.ascontiguousarray(_MODES[mode](named, held), dtype=_wide(held["scale"]))
    except (ValueError, IndexError, TypeError) as error:
        raise _unknown(named, f"its parts do not fit each other ({error})") from None


def _wide(scale: np.ndarray) -> Any:
    return "float64" if scale.dtype == "float64" else "float32"


def _unknown(named: Named, why: str) -> QuantizationError:
    kind = named.layer.kind or "a layer of unknown class"
    return QuantizationError(
        f"Cannot tell what {named.address!r} ({kind}) is as a value: {why}. "
        f"Read what is stored instead."
    )


# --- The modes -----------------------------------------------------------------------------------


def _int8(named: Named, parts: dict[str, np.ndarray]) -> np.ndarray:
    return _by_channel(named, parts["own"], parts["scale"])


def _int4(named: Named, parts: dict[str, np.ndarray]) -> np.ndarray:
    shape = _shape(named)
    if shape is None:
        raise ValueError("the config does not say the shape of the weight")
    codes = parts["own"]
    flat = named.layer.kind == "EinsumDense" and codes.ndim == 2 != len(shape)
    if flat or (named.layer.kind == "EinsumDense" and parts["scale"].ndim <= 2 == codes.ndim):
        codes = _unpacked(codes, (codes.shape[0], parts["scale"].shape[-1]), None)
    else:
        axis = None
        if named.layer.kind == "EinsumDense":
            axis = _einsum.packed_axis((named.layer.config or {})["equation"])
        codes = _unpacked(codes, shape, axis)
    if "zero" in parts:
        return _by_group(named, codes, parts).reshape(shape)
    if codes.shape != shape:
        return (codes / _float(parts["scale"])).reshape(shape)
    return _by_channel(named, codes, parts["scale"])


def _float8(named: Named, parts: dict[str, np.ndarray]) -> np.ndarray:
    import ml_dtypes

    kind = ml_dtypes.float8_e4m3fn
    most = float(ml_dtypes.finfo(kind).max)
    kernel, scale = _float(parts["own"]), _float(parts["scale"])
    return np.clip(kernel / scale, -most, most).astype(kind).astype(kernel.dtype) * scale


_MODES = {"int8": _int8, "int4": _int4, "float8": _float8}


# --- The layers -----------------------------------------------------------------------------------


def _shape(named: Named) -> tuple[int, ...] | None:
    """The shape that the weight had before it was quantized; None where nothing says."""
    config, build = named.layer.config or {}, named.layer.build
    match named.layer.kind, named.name:
        case "Dense", "kernel":
            inputs = build.get("input_shape")
            size = (inputs[-1] if isinstance(inputs, list) and inputs else None, config["units"])
        case "EinsumDense", "kernel":
            return _einsum.kernel_shape(config, build)
        case "Embedding" | "ReversibleEmbedding", "embeddings":
            size = config.get("input_dim"), config.get("output_dim")
        case "ReversibleEmbedding", "reverse_embeddings":
            size = config.get("output_dim"), config.get("input_dim")
        case _:
            return None
    whole = [n for n in size if isinstance(n, int) and n >= 0]
    return tuple(whole) if len(whole) == len(size) else None


def _by_channel(named: Named, codes: np.ndarray, scale: np.ndarray) -> np.ndarray:
    scale = _float(scale)
    if named.name == "embeddings":
        scale = scale[..., None] if scale.ndim < codes.ndim else scale
    elif named.layer.kind == "EinsumDense":
        equation = (named.layer.config or {}).get("equation")
        if equation is None:
            raise ValueError("the config does not say the equation")
        scale = _einsum.aligned(equation, scale, codes.shape)
    return codes.astype(scale.dtype) / scale


def _by_group(named: Named, codes: np.ndarray, parts: dict[str, np.ndarray]) -> np.ndarray:
    """`(codes - zero) * scale`, with the scale and zero of the group that each code belongs to."""
    axis = -1 if named.name == "embeddings" else 0
    groups = parts["groups"].astype("int32")
    scale = np.take(_float(parts["scale"]), groups, axis=axis)
    zero = np.take(parts["zero"], groups, axis=axis).astype(scale.dtype)
    return (codes.astype(scale.dtype) - zero) * scale


def _float(array: np.ndarray) -> np.ndarray:
    return array if array.dtype == "float64" else array.astype("float32")


def _unpacked(codes: np.ndarray, shape: tuple[int, ...], axis: int | None) -> np.ndarray:
    """Splits each byte into two codes, the lower half first, along the axis that is too short."""
    short = [n for n, size in enumerate(shape) if codes.shape[n] != size]
    axis = short[0] if short else (axis if axis is not None else shape.index(1))
    halves = np.stack([codes & 15, (codes >> 4) & 15], axis=axis + 1)
    halves = ((halves ^ 8) - 8).astype("int8")
    whole = halves.reshape(*codes.shape[:axis], -1, *codes.shape[axis + 1 :])
    found = whole[(slice(None),) * axis + (slice(shape[axis]),)]
    if found.shape != shape:
        raise ValueError(f"codes of shape {found.shape} are no weight of shape {shape}")
    return found
