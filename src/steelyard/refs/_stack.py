"""Who is saving, training or exporting around the running code.

A layer that writes its config is not told which model is being saved, and a layer that is called
under `fit` is not told which model trains (Keras passes neither). Both stand on the call stack as
the first argument of functions with public names, so that is where they are read: only when a
reference is written out, or found to reach outside the model that reads it; never in a plain call.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import FrameType
from typing import Any

import keras

_WRITING = frozenset({"get_config", "save_own_variables", "__reduce__", "__reduce_ex__"})
_TRAINING = frozenset({"fit", "train_on_batch", "train_step"})
_READING = frozenset({"predict", "predict_on_batch", "evaluate", "test_on_batch"})
_EXPORTING = frozenset({"export", "export_saved_model", "add_endpoint", "track_and_add_endpoint"})
_LOADING = frozenset({"load_model", "_load_model_from_fileobj"})
_MAKING = frozenset({"__init__", "build"})
_ASKING = frozenset({"losses", "get_metrics_result", "test_step"})
_HOSTING = frozenset({"fit", "evaluate", "predict"})
_STATE = ("trainable_variables", "non_trainable_variables")
_SAVING = frozenset({"_save_model_to_fileobj"})
_CALLING = frozenset({"__call__", "call", "build", "stateless_call", "quantized_call"})


def writers() -> list[keras.Layer]:
    """The layers that are being saved, cloned or described around this call, outermost first.

    Looked for up to the first function that runs a model instead: what a callback saves is not
    part of what is training around it.
    """
    found: list[keras.Layer] = []
    for frame in _frames():
        name = frame.f_code.co_name
        if name in _TRAINING | _READING | _CALLING:
            break
        if _package(frame) == "keras" or name in _WRITING:
            found += _layers_in(frame, 1)
    return _unique(reversed(found))


def loading() -> bool:
    """Whether a saved model is being loaded: its values will come from the file."""
    return _keras_runs(_LOADING)


def cloning() -> bool:
    """Whether a model is being cloned: its layers are made anew from their configs."""
    return _keras_runs(frozenset({"clone_model"}))


def _keras_runs(names: frozenset[str]) -> bool:
    return any(frame.f_code.co_name in names and _package(frame) == "keras" for frame in _frames())


def callers() -> list[keras.Layer]:
    """The layers whose `call` or `build` is running, outermost first."""
    return _running(_CALLING)


def trainers() -> list[keras.Layer]:
    """The models that are being trained, outermost first; none while one of them only predicts."""
    for frame in _frames():
        name = frame.f_code.co_name
        if name in _READING or name.startswith("on_"):  # of a callback
            return []
        if name in _TRAINING:
            return _running(_TRAINING)
    return []


def fitting() -> list[keras.Layer]:
    """The models whose training is running, also around a callback."""
    return _running(_TRAINING)


def exporters() -> list[keras.Layer]:
    """The models that are being exported, outermost first."""
    return _running(_EXPORTING)


def making() -> list[keras.Layer]:
    """The layers whose `__init__` or `build` is running: what happens now is part of their code."""
    return _running(_MAKING)


def asking() -> list[keras.Layer]:
    """The models that train, are evaluated, or whose losses or metrics are wanted; outermost first.

    What they ask a layer for is asked outside of its call.
    """
    return _running(_TRAINING | _ASKING)


def values_in_step() -> dict[int, Any]:
    """What the step of training or testing that runs has for variables, by their `id`.

    On JAX the values of a step are arguments and local variables of the functions that take it, and
    stand nowhere else: Keras's own `Metric.result` and the `compute_loss` of a `train_step` that a
    user wrote run without them. In `train_step` they are those after the update, once it is made.
    """
    found: dict[int, Any] = {}
    for frame in _frames():
        if frame.f_code.co_name in _HOSTING:
            break
        for model in _layers_in(frame, 1):
            for name in _STATE:
                values = frame.f_locals.get(name)
                if not isinstance(values, (list, tuple)):
                    continue
                variables = getattr(model, name)
                if len(variables) == len(values):
                    pairs = zip(variables, values, strict=True)
                    found = {id(variable): value for variable, value in pairs} | found
    return found


def save_in_progress() -> int | None:
    """A number for the save of a whole model that is running, config and weights; None if none."""
    for frame in _frames():
        if frame.f_code.co_name in _SAVING and _package(frame) == "keras":
            return id(frame)
    return None


def symbolic_inputs(layer: keras.Layer) -> list[keras.KerasTensor]:
    """The symbolic tensors that `layer` is being called with right now."""
    found: list[keras.KerasTensor] = []
    for frame in _frames():
        if frame.f_code.co_name == "__call__" and layer in _layers_in(frame, 1):
            held = frame.f_locals
            given = [
                held.get("original_args", held.get("args")),
                held.get("original_kwargs", held.get("kwargs")),
                held.get("edges"),
            ]
            found += [x for x in keras.tree.flatten(given) if isinstance(x, keras.KerasTensor)]
    return found


def _running(names: frozenset[str]) -> list[keras.Layer]:
    found: list[keras.Layer] = []
    for frame in _frames():
        if frame.f_code.co_name in names:
            found += _layers_in(frame)
    return _unique(reversed(found))


def _frames() -> Iterator[FrameType]:
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        yield frame
        frame = frame.f_back


def _package(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]


def _layers_in(frame: FrameType, most: int | None = None) -> list[keras.Layer]:
    """The layers among the (first `most`) arguments of the function that runs in a frame."""
    code, held = frame.f_code, frame.f_locals
    values = [held.get(name) for name in code.co_varnames[: code.co_argcount][:most]]
    return [value for value in values if isinstance(value, keras.Layer)]


def _unique(layers: Iterator[keras.Layer]) -> list[keras.Layer]:
    return list({id(layer): layer for layer in layers}.values())
