"""The way in: whatever holds weights becomes a selection of them."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from os import PathLike
from typing import Any

from steelyard.errors import SourceError
from steelyard.selection import Weights
from steelyard.source import WeightSource
from steelyard.urls import is_url, on_disk


def weights(source: Any, pattern: str = "**") -> Weights:
    """The weights of a model, layer, file or other source, by address.

    Args:
        source: A Keras model or layer (addresses are relative to it); the path of a checkpoint:
            `.keras`, `.weights.h5`, `.h5`, safetensors, `.npz`, PyTorch's, TensorFlow's or Orbax's;
            the URL of such a file (`https://`, `s3://`, …), of which no more is fetched than is
            read; or any object that keeps the protocol `steelyard.source.WeightSource`. Nothing
            that a file names is run or imported, or fetched if it does not lie beside it.
        pattern: Which of them, as `Weights.select` reads it.

    Returns:
        The selection. Nothing is read until a weight is asked for its values.

    Raises:
        SourceError: If `source` holds no weights, or none yet because it is not built.
        CheckpointError: If a file cannot be read; says what and where.
        UnknownAddressError: If the pattern matches nothing.
    """
    selection = _open(source)
    return selection if pattern == "**" else selection.select(pattern)


@dataclass(frozen=True)
class Opener:
    """Opens a source where it is called: what travels to another process is a path.

    Args:
        source: The path of a checkpoint; or an object that keeps the protocol, which must travel
            itself, as its pickle.
    """

    source: Any

    def __call__(self) -> WeightSource:
        """What holds the weights, of which a worker reads some."""
        if isinstance(self.source, str):
            from steelyard.checkpoints import open_checkpoint

            return open_checkpoint(self.source, few=True)
        return weights(self.source).source


def opener(source: Any) -> Opener:
    """What opens `source` in another process.

    Raises:
        SourceError: It lives in this process: a model, or a selection.
    """
    if isinstance(source, str | PathLike):
        return Opener(source if is_url(source) else os.path.abspath(on_disk(source)))
    keras = sys.modules.get("keras")
    if isinstance(source, Weights) or (keras is not None and isinstance(source, keras.Layer)):
        raise SourceError(
            f"Other processes open the source themselves, and a {type(source).__name__} lives in "
            f"this one. Pass the path of a file (and `select`), or take engine='threads'."
        )
    return Opener(source)


def _open(source: Any) -> Weights:
    if isinstance(source, Weights):
        return source
    # A Keras object can only be here if Keras is; a file or another source needs none.
    keras = sys.modules.get("keras")
    if keras is not None and isinstance(source, keras.Layer):
        from steelyard.live import LiveSource

        live = LiveSource(source)
        specs = live.specs()
        return Weights(live, specs, live.note, live.also)
    if isinstance(source, str | PathLike):
        from steelyard.checkpoints import open_checkpoint

        source = open_checkpoint(source)
    if isinstance(source, WeightSource) and not isinstance(source, type):
        return Weights(source, note=getattr(source, "note", ""))
    raise SourceError(_why_not(source, keras))


def _why_not(source: Any, keras: Any) -> str:
    """What was handed in instead of a source, and what to hand in."""
    kind = source if isinstance(source, type) else type(source)
    what = f"Received: {kind.__module__}.{kind.__qualname__}"
    if isinstance(source, type):
        return f"A class holds no weights; pass an instance of it. {what} (the class itself)"
    if isinstance(source, list | tuple | dict | set):
        return f"Pass the model that holds the layers, or one layer at a time. {what}"
    if keras is not None:
        if isinstance(source, keras.KerasTensor):
            return f"A symbolic tensor holds no weights; pass the model or the layer. {what}"
        if isinstance(source, keras.Variable):
            return f"This is a weight itself; pass the model or layer that holds it. {what}"
        if isinstance(source, keras.optimizers.Optimizer):
            return f"An optimizer holds no weights of layers; pass the model it trains. {what}"
    return f"Weights come from a Keras model or layer, or from a `WeightSource`. {what}"
