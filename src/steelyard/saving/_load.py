"""`load_model`: Keras's own, and what is shared or was put on variables comes back."""

from __future__ import annotations

import os
from typing import Any

import keras

from steelyard.errors import SharingError
from steelyard.live import safe_mode as mode
from steelyard.saving._archive import CONFIG, METADATA, NOTES, is_archive, read_part
from steelyard.saving._notes import VERSION, Notes, put_back


def load_model(
    path: str | os.PathLike[str],
    custom_objects: dict[str, Any] | None = None,
    compile: bool = True,
    safe_mode: bool = True,
) -> keras.Model:
    """Loads a model that `sy.save_model`, or Keras's own `save`, wrote.

    Args:
        path: whatever `keras.saving.load_model` opens.
        custom_objects: classes and functions by name that are not registered with Keras.
        compile: whether to compile the model, with its optimizer's state, if it was saved so.
        safe_mode: whether to refuse Python lambdas.

    Returns:
        The model. What was one layer, or one variable, is one again.

    Raises:
        SharingError: the file says that something is shared that the loaded model does not have.
        ValueError: Keras cannot open this; the message is Keras's.
    """
    notes = _notes(path)
    # An optimizer has slots for the variables that there are when it is made.
    later = compile and "variables" in notes
    now = compile and not later
    model = keras.saving.load_model(path, custom_objects, compile=now, safe_mode=safe_mode)
    with keras.saving.custom_object_scope(custom_objects or {}), mode(safe_mode):
        put_back(model, notes)
        if later and (config := read_part(path, CONFIG).get("compile_config")):
            model.compile_from_config(config)
            model.load_weights(str(path))
    if notes and len(model.weights) != notes.get("weights", len(model.weights)):
        raise SharingError(
            f"'{path}' was saved with {notes['weights']} weights, and {len(model.weights)} were "
            f"made of it by Keras {keras.__version__}: it puts models together in another way than "
            "the Keras that saved it. Load it with that version, and tell us."
        )
    return model


def _notes(path: Any) -> Notes:
    notes: Notes = read_part(path, METADATA).get(NOTES, {}) if is_archive(path) else {}
    if notes and notes.get("version") != VERSION:
        raise SharingError(
            f"'{path}' was written by a newer Steelyard. Update it: `pip install -U steelyard`."
        )
    return notes
