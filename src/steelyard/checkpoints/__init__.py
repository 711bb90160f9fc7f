"""Files as sources of weights, and the way back."""

from steelyard.checkpoints._bytes import Bytes
from steelyard.checkpoints._npz_out import write_npz
from steelyard.checkpoints._open import open_checkpoint
from steelyard.checkpoints._part import Part
from steelyard.checkpoints._protobuf import fields
from steelyard.checkpoints._safetensors_out import write_safetensors
from steelyard.checkpoints._worker import Worker

WRITERS = {".safetensors": write_safetensors, ".npz": write_npz}

__all__ = [
    "WRITERS",
    "Bytes",
    "Part",
    "Worker",
    "fields",
    "open_checkpoint",
    "write_npz",
    "write_safetensors",
]
