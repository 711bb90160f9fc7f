"""What a load or a clone leaves out of the layers that it makes anew from their configs."""

from __future__ import annotations

import types
from collections.abc import Iterator
from typing import Any

import keras

from steelyard.findings._held import is_of_a_framework
from steelyard.findings._subject import Found, Subject, described
from steelyard.live import (
    attributes,
    children,
    is_auto_named,
    is_remade_from_layers,
    own_weights,
    place_of,
    walk,
)


def adopted_layers(subject: Subject) -> Iterator[Found]:
    """Layers that are attributes of a functional model, and not in its graph."""
    for place in subject.places:
        model = place.layer
        if id(model) not in subject.remade or not is_remade_from_layers(model):
            continue
        in_graph = {id(weight) for layer in model.layers for weight in layer.weights}
        listed = {id(layer) for layer in model.layers}
        for name, layer in children(model):
            alone = any(id(weight) not in in_graph for weight in layer.weights)
            if id(layer) not in listed and alone:
                yield _adopted(subject, model, name, described(layer))
        for name, variable in own_weights(model):
            if id(variable) not in in_graph:
                yield _adopted(subject, model, name, f"Variable '{variable.path}'")


def _adopted(subject: Subject, model: keras.Layer, name: str, what: str) -> Found:
    return Found(
        subject.address(model, name),
        f"{what} is an attribute of '{model.name}' and not in its graph: it is trained and written "
        "to a file, and a loaded or cloned model does not have it.",
        "Call it in the graph, or write the model as a subclass of `keras.Model` that makes it in "
        "`__init__`.",
    )


def lost_names(subject: Subject) -> Iterator[Found]:
    """Layers whose config does not have the name that their user gave them."""
    for layer, config in _configs_of_users(subject):
        if "name" not in config and not is_auto_named(layer):
            yield Found(
                subject.address(layer),
                f"The config of {described(layer)} has no `name`, so a loaded or cloned model "
                "names it anew, and its weights have other addresses.",
                "Take `**kwargs` in `__init__`, by this very name, and hand them to `super()`; "
                "begin a `get_config` of your own with `super().get_config()`.",
            )


def lost_flags(subject: Subject) -> Iterator[Found]:
    """Frozen layers and variables that a loaded model trains again."""
    for layer, config in _configs_of_users(subject):
        if not layer.trainable and layer.weights and "trainable" not in config:
            yield _flag(subject.address(layer), f"The config of {described(layer)} has no")
    for place in subject.places:
        layer = place.layer
        if layer is subject.model or id(layer) not in subject.remade or _is_changed(layer):
            continue
        if not is_of_a_framework(type(layer)) or not layer.trainable:
            continue
        for name, variable in own_weights(layer):
            kept = place_of(layer, variable)
            if kept is not None and kept[0] and not variable.trainable:
                yield _flag(
                    subject.address(layer, name),
                    f"It is frozen by its own flag; the config of {described(layer)} has only one",
                )


def _flag(address: str, what: str) -> Found:
    return Found(
        address,
        f"{what} `trainable`, so that a loaded or cloned model trains it again.",
        "Freeze the layer (`layer.trainable = False`), whose config must have the flag "
        "(`super().get_config()`, `**kwargs` in `__init__`); or freeze again after loading.",
    )


def _is_changed(layer: keras.Layer) -> bool:
    return bool(getattr(layer, "quantization_mode", None) or getattr(layer, "lora_enabled", False))


def _configs_of_users(subject: Subject) -> Iterator[tuple[keras.Layer, dict[str, Any]]]:
    for place in subject.places:
        layer = place.layer
        if layer is subject.model or id(layer) not in subject.remade:
            continue
        if is_of_a_framework(type(layer)):
            continue
        try:
            config = layer.get_config()
        # Whatever it raises: saving the model raises it too, and loudly.
        except Exception:
            continue
        if isinstance(config, dict):
            yield layer, config


def unsafe_lambdas(subject: Subject) -> Iterator[Found]:
    """Layers whose config has a Python lambda."""
    for place in subject.places:
        layer = place.layer
        # Only Keras's own layers are known to write their attributes out.
        if id(layer) not in subject.remade or not type(layer).__module__.startswith("keras."):
            continue
        for name, value in attributes(layer).items():
            if isinstance(value, types.FunctionType) and value.__name__ == "<lambda>":
                yield Found(
                    subject.address(layer),
                    f"`{name.lstrip('_')}` of {described(layer)} is a lambda: a file of this model "
                    "loads only with `safe_mode=False`, which runs any code in it, or not at all.",
                    "Write a layer class, or a named function with "
                    "`keras.saving.register_keras_serializable()`.",
                )
                break


def unbuilt_layers(subject: Subject) -> Iterator[Found]:
    """Layers of a built model that never made their weights."""
    if not subject.model.built:
        return
    for place in subject.places[1:]:
        layer = place.layer
        if (
            layer.built
            or not _makes_weights(layer)
            or any(not part.layer.built for part in walk(layer)[1:])
        ):
            continue
        parents = subject.parents.get(id(layer), [])
        if any(not parent.built or is_of_a_framework(type(parent)) for parent in parents):
            continue
        if not any(_declares_its_output(above) for above in subject.above(layer)):
            yield Found(
                subject.address(layer),
                f"{described(layer)} is part of a built model and has made no weights: nothing "
                "has called it, so that it is neither trained nor saved.",
                "Call it in `call`, build it in `build`, or leave it out.",
            )


def _declares_its_output(layer: keras.Layer) -> bool:
    """Whether Keras can put a layer into a graph without having run its `call`."""
    names = ("compute_output_shape", "compute_output_spec")
    return any(
        name in vars(kind)
        for kind in type(layer).__mro__
        if not is_of_a_framework(kind)
        for name in names
    )


_MAKE_NONE = (keras.Layer.build, keras.Model.build, keras.Sequential.build)


def _makes_weights(layer: keras.Layer) -> bool:
    module = type(layer).__module__
    return type(layer).build not in _MAKE_NONE and not module.startswith("steelyard")
