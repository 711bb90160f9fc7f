"""`load_model`: Keras's own, and what is shared or was put on variables comes back."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import keras

from steelyard.errors import SharingError
from steelyard.live import safe_mode as mode
from steelyard.saving._archive import CONFIG, METADATA, NOTES, copy_archive, is_archive, read_part
from steelyard.saving._notes import VERSION, Notes, put_back
from steelyard.saving._rebuild import calls_made, rebuilt

# Before, Keras waits for ever for a call that does not come, should the numbers of calls be wrong.
_GIVES_UP = tuple(map(int, keras.__version__.split(".")[:2])) >= (3, 15)


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
    if "calls" in notes:
        model = _shared(path, notes, custom_objects, now, safe_mode)
    else:
        model = keras.saving.load_model(path, custom_objects, compile=now, safe_mode=safe_mode)
    with keras.saving.custom_object_scope(custom_objects or {}), mode(safe_mode):
        put_back(model, notes)
        if later and (config := read_part(path, CONFIG).get("compile_config")):
            model.compile_from_config(config)
            model.load_weights(str(path))
    return model


def _notes(path: Any) -> Notes:
    notes: Notes = read_part(path, METADATA).get(NOTES, {}) if is_archive(path) else {}
    if notes and notes.get("version") != VERSION:
        raise SharingError(
            f"'{path}' was written by a newer Steelyard. Update it: `pip install -U steelyard`."
        )
    return notes


def _shared(
    path: Any, notes: Notes, custom_objects: dict[str, Any] | None, compile: bool, safe_mode: bool
) -> keras.Model:
    """A model with layers that Keras's own `save` would not keep shared."""
    try:
        if _GIVES_UP:
            model = keras.saving.load_model(path, custom_objects, compile, safe_mode)
            if _is_as_noted(model, notes):
                return model
    except (ValueError, LookupError):
        pass  # What is wrong with more than the calls is wrong in what follows, too.
    with keras.saving.custom_object_scope(custom_objects or {}), mode(safe_mode):
        ready = rebuilt(read_part(path, CONFIG))
    model = _filled(path, ready, custom_objects, compile, safe_mode)
    if not _is_as_noted(model, notes):
        raise SharingError(
            f"'{path}' was saved with {notes['weights']} weights in {notes['calls']} calls of "
            f"layers by model. Made of it by Keras {keras.__version__} were {len(model.weights)} "
            f"in {calls_made(model)}. Load it with the Keras that saved it, and tell us."
        )
    return model


def _is_as_noted(model: keras.Model, notes: Notes) -> bool:
    return len(model.weights) == notes["weights"] and calls_made(model) == notes["calls"]


def _filled(
    path: Any, ready: keras.Model, custom_objects: Any, compile: bool, safe_mode: bool
) -> keras.Model:
    """Has Keras load all of a file but the model itself, which it takes from us."""

    class Ready:
        @classmethod
        def from_config(cls, config: Any) -> keras.Model:
            return ready

    name = "Steelyard>Ready"
    config = {**read_part(path, CONFIG), "class_name": name, "registered_name": name, "config": {}}
    with tempfile.TemporaryDirectory() as folder:
        copied = Path(folder) / "model.keras"
        copy_archive(path, copied, {CONFIG: config})
        known = {**(custom_objects or {}), name: Ready}
        return keras.saving.load_model(copied, known, compile=compile, safe_mode=safe_mode)
