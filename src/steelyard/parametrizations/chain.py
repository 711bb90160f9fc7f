"""`Chain`: one parametrization after the other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from keras import ops

from steelyard.errors import ParametrizationError
from steelyard.parametrizations.adapted import as_parametrization
from steelyard.parametrizations.parametrization import Parametrization


@keras.saving.register_keras_serializable(package="steelyard")
class Chain(Parametrization):
    """Parametrizations applied from left to right: each makes its tensor of the last one's.

    What one keeps beside the stored tensor has the number of its place behind its name: the
    mask of `Chain(WeightNorm(), Mask(sparsity=0.5))` is `kernel_mask_1`.

    Args:
        *parametrizations: What to apply: parametrizations, objects with a `forward`, functions.
    """

    def __init__(self, *parametrizations: Any) -> None:
        if not parametrizations:
            raise ParametrizationError("Chain needs a parametrization or more. Received: none.")
        self.parametrizations = [as_parametrization(part) for part in parametrizations]
        several = [(i, name) for i, part in enumerate(self.parametrizations) for name in part.names]
        # The first original of each but the first part is what the part before it gives.
        heads = {(i, part.names[0]) for i, part in enumerate(self.parametrizations) if part.names}
        if several:
            first = self.parametrizations[0].names[:1] or ("stored",)
            rest = [_numbered(name, i) for i, name in several if (i, name) not in heads]
            self.names = (_numbered(first[0], 0), *rest)

    def forward(self, *originals: Any, **state: Any) -> Any:
        """What the last parametrization gives."""
        value = originals[0]
        for i, part, others in self._parts(originals):
            value = part.forward(value, *others, **_of(i, state))
        return value

    @property
    def right_inverse(self) -> Any:
        """From right to left; there is one if all have one, or if one stores several tensors."""
        invertible = [_inverse(part) is not None for part in self.parametrizations]
        if not (all(invertible) or self.names):
            raise AttributeError("A parametrization in this chain has no `right_inverse`.")
        return self._inverted

    def _inverted(self, value: Any) -> Any:
        others: list[Any] = []
        for part in reversed(self.parametrizations):
            # Without one, what is stored is the weight itself, as where it stands alone.
            inverse = _inverse(part)
            value = value if inverse is None else inverse(value)
            if isinstance(value, tuple):
                value, *own = value
                others = [*own, *others]
        return (value, *others) if others else value

    def initial_state(self, *originals: np.ndarray) -> dict[str, np.ndarray]:
        """The states of all, each from what the parametrizations before it make."""
        state: dict[str, np.ndarray] = {}
        value: Any = originals[0]
        for i, part, others in self._parts(originals):
            own = part.initial_state(value, *others)
            state |= {_numbered(name, i): entry for name, entry in own.items()}
            if self._later(i, "initial_state"):
                tensors = [ops.convert_to_tensor(array) for array in (value, *others)]
                value = ops.convert_to_numpy(part.forward(*tensors, **own))
        return state

    def update(self, *originals: Any, **state: Any) -> dict[str, Any]:
        """The next states of all."""
        new: dict[str, Any] = {}
        value = originals[0]
        for i, part, others in self._parts(originals):
            own = _of(i, state)
            changed = part.update(value, *others, **own)
            new |= {_numbered(name, i): entry for name, entry in changed.items()}
            if not self._later(i, "update"):
                break
            value = part.forward(value, *others, **{**own, **changed})
        return new

    def check(self, shape: tuple[int, ...]) -> None:
        """What each says of the shape that it would have to make."""
        for part in reversed(self.parametrizations):
            part.check(shape)
            inverse = _inverse(part)
            if part.names and inverse is not None:
                shape = tuple(inverse(keras.KerasTensor(shape))[0].shape)

    def _parts(self, originals: tuple[Any, ...]) -> Iterator[tuple[int, Parametrization, Any]]:
        """Each parametrization with its place and its originals but the first."""
        rest = list(originals[1:])
        for i, part in enumerate(self.parametrizations):
            count = max(len(part.names) - 1, 0)
            yield i, part, rest[:count]
            rest = rest[count:]

    def _later(self, i: int, method: str) -> bool:
        """Whether a parametrization after this one has a method of its own."""
        base = getattr(Parametrization, method)
        return any(getattr(type(p), method) is not base for p in self.parametrizations[i + 1 :])


def _inverse(part: Parametrization) -> Any:
    return getattr(part, "right_inverse", None)


def _numbered(name: str, i: int) -> str:
    return f"{name}_{i}"


def _of(i: int, state: dict[str, Any]) -> dict[str, Any]:
    """The entries of one place, by their own names."""
    end = f"_{i}"
    return {name.removesuffix(end): entry for name, entry in state.items() if name.endswith(end)}
