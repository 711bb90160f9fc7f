"""Files as sources of weights, and the way back."""

from steelyard.checkpoints._npz_out import write_npz
from steelyard.checkpoints._open import open_checkpoint
from steelyard.checkpoints._safetensors_out import write_safetensors

WRITERS = {".safetensors": write_safetensors, ".npz": write_npz}

__all__ = ["WRITERS", "open_checkpoint", "write_npz", "write_safetensors"]
