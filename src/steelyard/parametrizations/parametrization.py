"""`Parametrization`: the base of what makes a used tensor out of stored ones."""

from __future__ import annotations

from typing import Any

from steelyard.parametrizations._config import Configured


class Parametrization(Configured):
    """Stored tensors -> the tensor that the layer uses.

    Subclass it and write `forward`; the rest is optional. What `__init__` takes is noted, so that
    there is no `get_config` to write. Register the class with Keras, so that files with it load.

    A subclass may also define `right_inverse(value)`: the originals, a tensor or a tuple of
    tensors, with `forward(*right_inverse(w)) == w` for each `w` that `forward` can give. It is
    asked once, when a weight is parametrized; without it, what is stored is the weight itself.

    Attributes:
        names: the suffixes of the originals, if `right_inverse` gives several: `("v", "g")`.

    Example:
        >>> import keras, steelyard as sy
        >>> @keras.saving.register_keras_serializable(package="mine")
        ... class Symmetric(sy.parametrizations.Parametrization):
        ...     def forward(self, value):
        ...         return (value + keras.ops.transpose(value)) / 2
    """

    names: tuple[str, ...] = ()

    def forward(self, *originals: Any, **state: Any) -> Any:
        """The tensor that the layer uses; pure, and differentiable in the originals.

        Args:
            *originals: The stored tensors.
            **state: The state by name; in a training call, with all that `update` gave.
        """
        raise NotImplementedError(f"{type(self).__name__} needs a `forward`.")

    def initial_state(self, *originals: Any) -> dict[str, Any]:
        """What is kept beside the originals and not trained, by name; worked out on the host.

        Args:
            *originals: The stored tensors as NumPy arrays.
        """
        return {}

    def update(self, *originals: Any, **state: Any) -> dict[str, Any]:
        """The next state, asked once at the start of each call in training, and never else.

        What bears a name of `initial_state` is kept. Anything else is handed to the `forward` of
        the same call and forgotten.
        """
        return {}

    def check(self, shape: tuple[int, ...]) -> None:
        """Says no, by a `SteelyardError`, to a weight that has the wrong shape."""
