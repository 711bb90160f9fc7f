"""A plain function in the place of a parametrization."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from steelyard.errors import SubstituteError


@keras.saving.register_keras_serializable(package="steelyard")
class Function:
    """A parametrization by a function of the stored value."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self.function = function

    def forward(self, value: Any) -> Any:
        """What the function makes of the stored value."""
        return self.function(value)

    def get_config(self) -> dict[str, Any]:
        """The function by its name, as Keras writes it."""
        return {"function": keras.saving.serialize_keras_object(self.function)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Function:
        """Reads what `get_config` wrote."""
        return cls(keras.saving.deserialize_keras_object(config["function"]))

    def __repr__(self) -> str:
        return f"<function {getattr(self.function, '__name__', self.function)}>"


def as_parametrization(given: Any) -> Any:
    """What a user hands over as a parametrization, as an object with `forward`.

    Raises:
        SubstituteError: it is none.
    """
    if isinstance(given, type):
        raise SubstituteError(
            f"A parametrization is an object, and this is the class {given.__name__} itself: write "
            f"{given.__name__}(…)."
        )
    if isinstance(given, keras.Layer):
        raise SubstituteError(
            f"Layer '{given.name}' ({type(given).__name__}) is no parametrization, since it may "
            "have weights of its own. Hand over a function of the value."
        )
    if callable(getattr(given, "forward", None)):
        return given
    if callable(given):
        return Function(given)
    raise SubstituteError(
        "A parametrization is one of `sy.parametrizations`, a function of the stored value, or an "
        f"object with a method `forward`. Received an object of type {type(given).__name__}."
    )
