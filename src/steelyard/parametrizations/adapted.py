"""Whatever a user hands in, as a `Parametrization`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from steelyard.errors import ParametrizationError
from steelyard.parametrizations.parametrization import Parametrization


def as_parametrization(given: Any) -> Parametrization:
    """A parametrization from one, from any object with a `forward`, or from a function.

    Raises:
        ParametrizationError: it is none of these.
    """
    if isinstance(given, Parametrization):
        return given
    if isinstance(given, keras.Layer):
        raise ParametrizationError(
            f"Layer '{given.name}' ({type(given).__name__}) is no parametrization, since it may "
            "have weights of its own. Hand over a function of the value."
        )
    if callable(getattr(given, "forward", None)) and not isinstance(given, type):
        has_inverse = callable(getattr(given, "right_inverse", None))
        return AdaptedInverse(given) if has_inverse else Adapted(given)
    if callable(given) and not isinstance(given, type):
        return AdaptedFunction(given)
    if isinstance(given, type):
        raise ParametrizationError(
            f"A parametrization is an object, and this is the class {given.__name__} itself: write "
            f"{given.__name__}(…)."
        )
    raise ParametrizationError(
        "A parametrization is an object with a method `forward`, or a function, from the stored "
        f"tensor to the one that is used. Received an object of type {type(given).__name__}: "
        f"{given!r}."
    )


def as_given(parametrization: Parametrization) -> Any:
    """What the user handed in."""
    if isinstance(parametrization, AdaptedFunction):
        return parametrization.function
    return parametrization.given if isinstance(parametrization, Adapted) else parametrization


@keras.saving.register_keras_serializable(package="steelyard")
class AdaptedFunction(Parametrization):
    """A function of the stored tensor."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self.function = function

    def forward(self, value: Any) -> Any:
        """What the function gives."""
        return self.function(value)


@keras.saving.register_keras_serializable(package="steelyard")
class Adapted(Parametrization):
    """An object that has a `forward`, and of the rest of the protocol what it has."""

    def __init__(self, given: Any) -> None:
        self.given = given
        self.names = tuple(getattr(given, "names", ()))

    def forward(self, *originals: Any, **state: Any) -> Any:
        """What the object's own `forward` gives."""
        return self.given.forward(*originals, **state)

    def initial_state(self, *originals: np.ndarray) -> dict[str, np.ndarray]:
        """What the object's own method gives, if it has one."""
        own = getattr(self.given, "initial_state", super().initial_state)
        return own(*originals)

    def update(self, *originals: Any, **state: Any) -> dict[str, Any]:
        """What the object's own method gives, if it has one."""
        own = getattr(self.given, "update", super().update)
        return own(*originals, **state)

    def check(self, shape: tuple[int, ...]) -> None:
        """What the object's own method says, if it has one."""
        getattr(self.given, "check", super().check)(shape)


@keras.saving.register_keras_serializable(package="steelyard")
class AdaptedInverse(Adapted):
    """An object that has a `forward` and a `right_inverse`."""

    def right_inverse(self, value: Any) -> Any:
        """What the object's own `right_inverse` gives."""
        return self.given.right_inverse(value)
