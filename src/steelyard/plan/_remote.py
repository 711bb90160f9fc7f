"""What happens where a worker is: the opener arrives, the weights are read there."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache

from steelyard.errors import SteelyardError
from steelyard.plan._plan import Plan, Task
from steelyard.plan._work import Readings, Work, one_blas_thread
from steelyard.source import WeightSource

Opener = Callable[[], WeightSource]

# Beside what is allowed for weights: code, and what libraries keep for themselves.
_BESIDE = 256 << 20


def packed(opener: Opener, plan: Plan, memory: float) -> bytes:
    """All that a worker must know once.

    Raises:
        SteelyardError: The opener cannot be sent.
    """
    try:
        return pickle.dumps((opener, Plan((), plan.view, plan.compat), memory))
    except Exception as error:
        raise SteelyardError(
            f"Other processes open the source themselves, and this one cannot be sent to them "
            f"({error}). Pass the path of a file, or take engine='threads'."
        ) from error


def measured(told: bytes, tasks: Sequence[Task]) -> list[Readings]:
    """The readings of some tasks, one after the other."""
    try:
        work = _opened(told)
    except Exception as error:
        why = f"it cannot be opened by the worker: {type(error).__name__}: {error}"
        return [Plan(()).without(task, "failed", why) for task in tasks]
    with one_blas_thread(), _limited(work.budget.total):
        return [work(task) for task in tasks]


@lru_cache(1)
def _opened(told: bytes) -> Work:
    opener, plan, memory = pickle.loads(told)
    return Work(plan, opener(), memory)


@contextmanager
def _limited(memory: float) -> Iterator[None]:
    """Asking for far more memory than allowed is a `MemoryError` for the while, not the end."""
    try:
        import resource

        with open("/proc/self/statm") as file:
            now = int(file.read().split()[5]) * resource.getpagesize()
    except (ImportError, OSError):  # a system that has neither
        yield
        return
    before = resource.getrlimit(resource.RLIMIT_DATA)
    most = now + 1.5 * memory + _BESIDE
    if most < 1 << 62 and (before[0] == resource.RLIM_INFINITY or most < before[0]):
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_DATA, (int(most), before[1]))
    try:
        yield
    finally:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_DATA, before)


def version() -> str:
    """Which version of this library a worker has."""
    found: str = sys.modules[__name__.partition(".")[0]].__version__
    return found
