"""Which process of a training this is, where several train one model together."""

from __future__ import annotations

import keras


def rank() -> int:
    """The number of this process among those that train together; 0 for one alone.

    PyTorch's processes are those of its default group, which `DistributedDataParallel` uses.
    """
    if keras.backend.backend() != "torch":
        return 0
    import torch.distributed as processes

    if not (processes.is_available() and processes.is_initialized()):
        return 0
    return int(processes.get_rank())
