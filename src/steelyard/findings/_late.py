"""Regularizers and constraints that came after the weight was made."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras

from steelyard.findings._held import is_of_a_framework
from steelyard.findings._subject import Found, Subject, described
from steelyard.live import Substitute, attributes, own_weights, walk

_MEND = {
    "regularizer": (
        "Put it on by `sy.penalize(model, {address!r}, ...)`, or make the layer with "
        "`{attribute}=...` before it is built."
    ),
    "constraint": "Make the layer with `{attribute}=...` before it is built.",
}


def late_regularizers(subject: Subject) -> Iterator[Found]:
    """Regularizers of a built layer that its weight lacks; or of the weight, and not the layer."""
    return _late(subject, "regularizer")


def late_constraints(subject: Subject) -> Iterator[Found]:
    """The same for constraints."""
    return _late(subject, "constraint")


def _late(subject: Subject, kind: str) -> Iterator[Found]:
    for place in subject.places:
        layer = place.layer
        if not layer.built or _rewrites_its_weights(layer):
            continue
        given = {
            name.lstrip("_"): value
            for name, value in attributes(layer).items()
            if name.endswith(f"_{kind}") and name != f"activity_{kind}"
        }
        yield from _without_effect(subject, layer, kind, given)
        yield from _not_in_config(subject, layer, kind, given)


def _rewrites_its_weights(layer: keras.Layer) -> bool:
    """Whether the weights are not what the layer made them: codes, or a base under LoRA."""
    return bool(getattr(layer, "quantization_mode", None) or getattr(layer, "lora_enabled", False))


def _without_effect(
    subject: Subject, layer: keras.Layer, kind: str, given: dict[str, Any]
) -> Iterator[Found]:
    below = [
        found
        for part in walk(layer)
        for _, variable in own_weights(part.layer)
        if (found := getattr(variable, kind, None)) is not None
    ]
    own = dict(own_weights(layer))
    for attribute, value in given.items():
        name = _weight_of(layer, attribute.removesuffix(f"_{kind}"), given)
        if value is None or name is None or any(value is other for other in below):
            continue
        if isinstance(own[name], Substitute) or _same(value, getattr(own[name], kind, None)):
            continue
        if not _is_only_stored(layer, attribute):
            continue
        yield Found(
            subject.address(layer, name),
            f"`{attribute}` of {described(layer)} was set after its weight '{name}' was made, "
            "which does not have it, so it has no effect.",
            _MEND[kind].format(address=subject.address(layer, name), attribute=attribute),
        )


def _not_in_config(
    subject: Subject, layer: keras.Layer, kind: str, given: dict[str, Any]
) -> Iterator[Found]:
    if id(layer) not in subject.remade or layer is subject.model:
        return
    for name, variable in own_weights(layer):
        at_work = getattr(variable, kind, None)
        if at_work is None or isinstance(variable, Substitute):
            continue
        attribute = _attribute_of(layer, name, kind, given)
        if attribute is None or _same(at_work, given[attribute]):
            continue
        yield Found(
            subject.address(layer, name),
            f"Its {kind} was set on the variable of {described(layer)}, whose `{attribute}` is "
            "another, so that it works now, and is gone after a save or a clone.",
            _MEND[kind].format(address=subject.address(layer, name), attribute=attribute),
        )


def _weight_of(layer: keras.Layer, stem: str, given: dict[str, Any]) -> str | None:
    """The weight that `<stem>_regularizer` is for; a depthwise convolution calls it `kernel`."""
    names = {name for name, _ in own_weights(layer)}
    for name in (stem, f"{stem}_kernel"):
        if name in names:
            return name
    alone = "kernel" in names and not any(name.startswith("kernel_") for name in given)
    return "kernel" if alone and stem == "depthwise" else None


def _attribute_of(layer: keras.Layer, name: str, kind: str, given: dict[str, Any]) -> str | None:
    for attribute in given:
        if _weight_of(layer, attribute.removesuffix(f"_{kind}"), given) == name:
            return attribute
    return None


def _same(value: Any, other: Any) -> bool:
    return value is other or bool(_config(value) == _config(other))


def _config(value: Any) -> Any:
    if isinstance(value, (keras.regularizers.Regularizer, keras.constraints.Constraint)):
        try:
            return type(value), value.get_config()
        except NotImplementedError:  # the base class's: this user's class has none
            pass
    return id(value)


def _is_only_stored(layer: keras.Layer, attribute: str) -> bool:
    """Whether nothing but `__init__`, `build` and `get_config` of a user's class reads it.

    A `call` that adds the penalty itself needs none on the variable.
    """
    for kind in type(layer).__mro__:
        if is_of_a_framework(kind):
            continue
        for name, method in vars(kind).items():
            code = getattr(method, "__code__", None)
            if name in ("__init__", "build", "get_config") or code is None:
                continue
            if {attribute, f"_{attribute}"} & set(code.co_names):
                return False
    return True
