"""Files as sources of weights, and the way back."""

from steelyard.checkpoints._bytes import Bytes
from steelyard.checkpoints._keras_copy import (
    KERAS_WRITERS,
    can_be_kept,
    copy_keras,
    is_keras_file,
    keep_keras,
    optimizer_paths,
)
from steelyard.checkpoints._npz_out import write_npz
from steelyard.checkpoints._open import open_checkpoint
from steelyard.checkpoints._part import Part
from steelyard.checkpoints._protobuf import fields
from steelyard.checkpoints._safetensors_out import write_safetensors
from steelyard.checkpoints._worker import Worker

WRITERS = {".safetensors": write_safetensors, ".npz": write_npz}

__all__ = [
    "KERAS_WRITERS",
    "WRITERS",
    "Bytes",
    "Part",
    "Worker",
    "can_be_kept",
    "copy_keras",
    "fields",
    "is_keras_file",
    "keep_keras",
    "open_checkpoint",
    "optimizer_paths",
    "write_npz",
    "write_safetensors",
]
