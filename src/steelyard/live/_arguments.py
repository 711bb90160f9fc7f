"""What a constructor was given, by name: enough to write down an object and make it again."""

from __future__ import annotations

import inspect
from typing import Any


def arguments_given(cls: type, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """The arguments of `__init__` by name, as they were given; those of `*args` as a list."""
    signature = signature_of(cls)
    try:
        bound = signature.bind(None, *args, **kwargs)
    except TypeError:
        return {}  # `__init__` itself is about to say what is wrong
    given = dict(list(bound.arguments.items())[1:])
    for name, parameter in signature.parameters.items():
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            given |= given.pop(name, {})
        elif parameter.kind is inspect.Parameter.VAR_POSITIONAL and name in given:
            given[name] = list(given[name])
    return given


def signature_of(cls: type) -> inspect.Signature:
    """The signature of a constructor, with `self`."""
    return inspect.signature(cls.__init__)  # type: ignore[misc] # of the class itself, not of one
