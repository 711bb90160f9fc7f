"""`Configured`: an object that Keras can write down and make again, with nothing to write."""

from __future__ import annotations

import inspect
from typing import Any, Self

import keras

from steelyard.live import arguments_given, signature_of

_SEVERAL = inspect.Parameter.VAR_POSITIONAL


class Configured:
    """Notes the arguments of its constructor, and is made again from them."""

    _arguments: dict[str, Any]

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Notes the arguments, which `get_config` writes down, before `__init__` runs."""
        made = super().__new__(cls)
        made._arguments = arguments_given(cls, args, kwargs)
        return made

    def get_config(self) -> dict[str, Any]:
        """The arguments of `__init__` as they were given."""
        written = keras.saving.serialize_keras_object
        return {
            name: keras.tree.map_structure(written, value)
            for name, value in self._arguments.items()
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """An object from what `get_config` wrote."""
        config = {name: _read(value) for name, value in config.items()}
        several = [n for n, p in _parameters(cls).items() if p.kind is _SEVERAL]
        args = config.pop(several[0], []) if several else []
        return cls(*args, **config)

    def __repr__(self) -> str:
        """The call that makes it."""
        several = {n for n, p in _parameters(type(self)).items() if p.kind is _SEVERAL}
        given = [
            ", ".join(map(repr, value)) if name in several else f"{name}={value!r}"
            for name, value in self._arguments.items()
        ]
        return f"{type(self).__name__}({', '.join(given)})"


def _parameters(cls: type) -> dict[str, inspect.Parameter]:
    return dict(signature_of(cls).parameters)


def _read(value: Any) -> Any:
    if isinstance(value, dict) and {"class_name", "config"} <= set(value):
        return keras.saving.deserialize_keras_object(value)
    if isinstance(value, dict):
        return {key: _read(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_read(item) for item in value]
    return value
