"""The frozen things that travel from one room to another."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class WeightSpec:
    """What is known of a weight without reading it.

    Args:
        address: Where it is: `"encoder/proj/kernel"`.
        shape: The shape of its effective value: a kernel packed as int4 shows the shape that the
            layer computes with.
        dtype: The dtype of what is stored, such as `"float32"`, `"bfloat16"` or `"int8"`.
        trainable: Whether training moves it.
        layer: The class name of the layer that holds it.
        layer_bases: That class and its bases as dotted names, where the source knows them.
        aliases: Other addresses that lead to it, because a layer that is shared has several.
        stored_shape: The shape of what is stored, where it differs from `shape`.
    """

    address: str
    shape: tuple[int, ...]
    dtype: str
    trainable: bool
    layer: str
    layer_bases: tuple[str, ...] = field(default=(), repr=False)
    aliases: tuple[str, ...] = field(default=(), repr=False)
    stored_shape: tuple[int, ...] | None = field(default=None, repr=False)

    @property
    def size(self) -> int:
        """How many parameters it has."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """How many bytes it takes as stored; scales of codes are weights of their own."""
        shape = self.shape if self.stored_shape is None else self.stored_shape
        return (math.prod(shape) * _bits(self.dtype) + 7) // 8


def _bits(dtype: str) -> int:
    """The width of one element; the first number in a dtype's name says it (`float8_e4m3fn`)."""
    width = re.search(r"\d+", dtype)
    return int(width[0]) if width else 8  # "bool"


@dataclass(frozen=True, slots=True)
class Borrowing:
    """Who borrows which weight from whom.

    Args:
        holder: The address of the layer that borrows.
        target: The address of the weight that it borrows.
        is_bound: Whether the reference has found its weight.
        reason: Why not; empty where it has.
    """

    holder: str
    target: str
    is_bound: bool
    reason: str = ""

    def __str__(self) -> str:
        state = "bound" if self.is_bound else f"not bound: {self.reason or 'nobody looked yet'}"
        return f"{self.holder} borrows {self.target} ({state})"
