"""What a parametrization stores to begin with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from steelyard.errors import SubstituteError
from steelyard.live import (
    Substitute,
    computed_now,
    in_shape_inference,
    initialize_later,
    is_initialized,
    own_dtype,
    read,
    to_numpy,
)
from steelyard.parametrizations import Parametrization


class Start:
    """What a parametrization stores to begin with, worked out once.

    Inside a traced `build` a variable has no value yet: it is then worked out when it gets one.
    """

    def __init__(self, parametrization: Parametrization, variable: Any, value: Any = None) -> None:
        self._parametrization = parametrization
        self._variable = variable
        self._value = value
        self._before: Any = None
        self._originals: list[np.ndarray] | None = None
        self.is_known = (
            value is not None or isinstance(variable, Substitute) or is_initialized(variable)
        )
        if value is None and self.is_known:
            with own_dtype(), computed_now():
                self._value = to_numpy(reading(variable))

    def originals(self) -> list[np.ndarray]:
        """The stored arrays that give the value."""
        if self._originals is None:
            self._originals = _originals(self._parametrization, self._value)
        return self._originals

    def state(self) -> dict[str, np.ndarray]:
        """What is kept beside them."""
        return initial_state(self._parametrization, self.originals())

    def result(self) -> np.ndarray:
        """What they give."""
        originals, state = self.originals(), self.state()
        with computed_now():
            tensors = [ops.convert_to_tensor(array) for array in originals]
            kept = {key: ops.convert_to_tensor(array) for key, array in state.items()}
            return to_numpy(self._parametrization.forward(*tensors, **kept))

    def _example(self) -> Start:
        """The same for a made-up value of the same shape."""
        shape = tuple(self._variable.shape)
        array = np.random.default_rng(0).normal(size=shape).astype("float32")
        return Start(self._parametrization, None, array)

    def shapes(self) -> list[tuple[int, ...]]:
        """The shapes of the stored arrays."""
        known = self if self.is_known else self._example()
        return [tuple(array.shape) for array in known.originals()]

    def state_now(self) -> dict[str, np.ndarray]:
        """What is kept beside them; of a made-up value where there is none yet."""
        return (self if self.is_known else self._example()).state()

    def settle(self, variable: keras.Variable | None) -> None:
        """Stores the first array in the layer's own variable."""
        if not self.is_known:
            stays = variable is not None
            initialize_later(self._variable, lambda value: self._arrived(value, stays))
        elif variable is not None and hasattr(self._parametrization, "right_inverse"):
            if isinstance(variable, Substitute):
                self._keep_base(variable)
                return
            self._before = self._value
            variable.assign(self.originals()[0])

    def _keep_base(self, variable: Substitute) -> None:
        """What is borrowed, or worked out already, is not this one's to change."""
        if not np.allclose(self.originals()[0], self._value, rtol=1e-4, atol=1e-6):
            raise SubstituteError(
                f"Weight '{variable.name}' of layer '{variable.layer_name}' is tied or "
                "parametrized already, and this parametrization would store another value in its "
                f"place. Make it independent first: `sy.bake(layer, '{variable.name}')`."
            )

    def undo(self) -> None:
        """Gives the layer's own variable its value back."""
        if self._before is not None:
            self._variable.assign(self._before)

    def _arrived(self, value: Any, stays: bool) -> Any:
        if in_shape_inference():  # a stand-in, like any value now
            return value
        self._value = to_numpy(value)
        return ops.convert_to_tensor(self.originals()[0], dtype=value.dtype) if stays else value

    def first(self, make: Callable[[], np.ndarray]) -> Callable[..., Any]:
        """The initializer of an added variable; a stand-in while Keras only works out shapes."""

        def initializer(shape: Any, dtype: Any = None) -> Any:
            if in_shape_inference():
                return ops.ones(shape, dtype=dtype)
            return ops.convert_to_tensor(make(), dtype=dtype)

        return initializer


def _originals(parametrization: Parametrization, value: np.ndarray) -> list[np.ndarray]:
    inverse = getattr(parametrization, "right_inverse", None)
    if inverse is None:
        return [value]
    with computed_now():
        found = inverse(ops.convert_to_tensor(value))
        found = found if isinstance(found, (list, tuple)) else [found]
        return [to_numpy(ops.convert_to_tensor(array)) for array in found]


def initial_state(
    parametrization: Parametrization, originals: list[np.ndarray]
) -> dict[str, np.ndarray]:
    """What is kept beside the stored arrays, by name."""
    with computed_now():
        return dict(parametrization.initial_state(*originals))


def reading(variable: keras.Variable) -> Any:
    """The value of what is stored, which may be worked out itself."""
    return variable.value if isinstance(variable, Substitute) else read(variable)
