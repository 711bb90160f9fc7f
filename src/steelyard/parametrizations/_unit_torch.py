"""Units of a given length on torch, whose autograd would go over the weight twice as often.

The other backends compile the formula of `weight_norm.py`, and lose nothing by it.
"""

from __future__ import annotations

import functools
from typing import Any


def with_lengths(v: Any, lengths: Any, inner: tuple[int, ...]) -> Any:
    """`lengths · v / ‖v‖`, and zeros where `v` is zero.

    Args:
        v: The directions, float32 or float64.
        lengths: As `v`, but of length 1 along `inner`.
        inner: The axes that one unit runs over.
    """
    return _function().apply(v, lengths, inner)[0]


@functools.cache
def _function() -> Any:
    """The function with its gradient; a class that can be made only where torch is."""
    import torch

    def normed(v: Any, inverse: Any, inner: tuple[int, ...]) -> tuple[Any, Any]:
        """Each unit over its largest entry, and its norm then; 1 for zeros."""
        scaled = v * inverse
        squares = torch.square(scaled).sum(inner, keepdim=True)
        return scaled, torch.sqrt(torch.where(squares > 0, squares, squares + 1.0))

    class WithLengths(torch.autograd.Function):
        """`lengths · v / ‖v‖`; its gradient in v is perpendicular to v."""

        generate_vmap_rule = True

        @staticmethod
        def forward(v: Any, lengths: Any, inner: tuple[int, ...]) -> tuple[Any, ...]:
            largest = torch.amax(torch.abs(v), inner, keepdim=True)
            # Squares of 1e-20 or 1e20 do not exist in float32.
            inverse = 1.0 / torch.where(largest > 0, largest, 1.0)
            scaled, norm = normed(v, inverse, inner)
            return scaled * (lengths / norm), scaled, norm, inverse

        @staticmethod
        def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Any, ...]) -> None:
            ctx.inner = inputs[2]
            ctx.mark_non_differentiable(*output[1:])
            ctx.save_for_backward(*inputs[:2], *output[1:])

        @staticmethod
        def backward(ctx: Any, gradient: Any, *_: Any) -> tuple[Any, ...]:
            v, lengths, scaled, norm, inverse = ctx.saved_tensors
            if torch.is_grad_enabled():  # this gradient has a gradient: by v, not by what was kept
                scaled, norm = normed(v, inverse, ctx.inner)
            along = (gradient * scaled).sum(ctx.inner, keepdim=True) / norm
            by_entry = lengths * inverse / norm
            # Not by `addcmul`, which takes ten times as long where a factor is broadcast.
            return gradient * by_entry - scaled * (by_entry * along / norm), along, None

    return WithLengths
