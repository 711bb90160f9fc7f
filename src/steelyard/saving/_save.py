"""`save_model`: Keras's own, with the sharing that Keras loses, and whole or not at all."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import keras

from steelyard.errors import SharingError, SourceError, SteelyardError
from steelyard.live import may_overwrite
from steelyard.saving._archive import (
    CONFIG,
    METADATA,
    NOTES,
    read_part,
    replace_parts,
    whole_or_not,
)
from steelyard.saving._carried import check_carried
from steelyard.saving._config import Config, identifiable, marked_config, mend, shared
from steelyard.saving._notes import VERSION, noted
from steelyard.saving._rebuild import calls_made


def save_model(model: keras.Model, path: str | os.PathLike[str], overwrite: bool = True) -> None:
    """Saves a model as an ordinary `.keras` file, with all that is shared in it.

    Keras's own `save` loses it when a layer is used in two models that are saved together, or in a
    wrapper and outside of it. The file that this function writes also has what was put on built
    variables (`layer.kernel.constraint = …`). `keras.saving.load_model` opens it, too: to it a
    layer that is shared is one as well; only one variable in two layers, and constraints and
    regularizers of built variables, are read by `sy.load_model` alone.

    A file that is there already stays as it is until the new one is complete.

    Args:
        model: the model, with its optimizer if it is compiled.
        path: where to; `.keras` (or `.h5`, Keras's older format).
        overwrite: whether a file that is there may be replaced; otherwise Keras asks on the
            terminal.

    Raises:
        SharingError: something is shared in a way that the file cannot carry.
        SourceError: this is no model.
        SteelyardError: the path ends in neither `.keras` nor `.h5`.
        FileNotFoundError: there is no such folder.
    """
    if not isinstance(model, keras.Model):
        raise SourceError(f"A Keras model is wanted here. Received: {type(model).__name__}.")
    target, parts = Path(path), identifiable(model)
    config = marked_config(model, parts)
    if _is_elsewhere(path) or target.suffix in (".h5", ".hdf5"):
        _check_nothing_is_lost(model, config, parts, path)
    elif target.suffix == ".keras":
        check_carried(model, config)
    else:
        raise SteelyardError(
            f"A model is saved to a path that ends in `.keras` (or `.h5`, Keras's older format). "
            f"Received: {str(path)!r}."
        )
    if _is_elsewhere(path):
        keras.saving.save_model(model, path, overwrite=overwrite)
        return
    if not target.parent.is_dir():
        raise FileNotFoundError(f"There is no folder '{target.parent}' to save '{target.name}' in.")
    if target.exists() and not overwrite and not may_overwrite(str(path)):
        return
    with whole_or_not(target) as new:
        keras.saving.save_model(model, new)
        if target.suffix == ".keras":
            mend(config, parts)
            _complete(new, model, config)


def _complete(path: Path, model: keras.Model, config: Config) -> None:
    """Adds to the file that Keras wrote what it lacks, if it lacks anything."""
    notes, replaced = noted(model), {}
    if config != read_part(path, CONFIG):
        replaced[CONFIG] = config
        notes["weights"], notes["calls"] = len(model.weights), calls_made(model)
    if notes:
        block = {"version": VERSION, **notes}
        replaced[METADATA] = {**read_part(path, METADATA), NOTES: block}
    if replaced:
        replace_parts(path, replaced)


def _is_elsewhere(path: Any) -> bool:
    """Whether a path leads to another machine, where Keras writes by other means."""
    return re.match(r"[a-zA-Z][\w+.-]+://", str(path)) is not None


def _check_nothing_is_lost(model: keras.Model, config: Config, parts: list[Any], path: Any) -> None:
    """Refuses what only a `.keras` file on a disk of this machine can be made to carry."""
    twice = [part for part in shared(config, parts) if getattr(part, "weights", None)]
    notes = noted(model)
    if not twice and not notes:
        return
    what = (
        f"layer '{twice[0].name}', which is shared,"
        if twice
        else f"'{'/'.join(notes['variables'][0][0][0])}', of which a variable is in two layers,"
        if "variables" in notes
        else "a constraint or regularizer of a built variable"
    )
    raise SharingError(
        f"Model '{model.name}' has {what} and '{path}' cannot carry that. Save it as a `.keras` "
        "file on a disk of this machine."
    )
