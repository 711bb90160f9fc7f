"""The engines: each takes a plan and gives readings, a weight at a time, as they come."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

from steelyard.errors import SteelyardError
from steelyard.plan._plan import Plan, Task
from steelyard.plan._work import Readings, Work, one_blas_thread
from steelyard.source import WeightSource

ENGINES = ("auto", "serial", "threads")
# Below so many operations, threads cost more than they bring.
_WORTHWHILE = 3e7


def run(
    plan: Plan,
    source: WeightSource,
    *,
    engine: str = "auto",
    workers: int | None = None,
    memory: float = float("inf"),
) -> Generator[tuple[Task, Readings], None, None]:
    """Measures all that a plan asks for, the costliest first.

    One weight is in memory for each worker. BLAS is kept to one thread meanwhile: as many Python
    threads as there are cores do the same work without getting in each other's way.

    Args:
        plan: What to measure.
        source: What holds the weights. It is read by one thread at a time.
        engine: `"threads"`, `"serial"`, or `"auto"`, which is threads where they pay.
        workers: How many threads; as many as there are cores if not given.
        memory: How many bytes may be used for weights and what is made of them.

    Yields:
        Each task with its readings, as soon as they are there. A weight that cannot be read, or
        is too large, has readings that say so, and the others go on.

    Raises:
        SteelyardError: There is no such engine, or fewer than one worker.
    """
    if engine not in ENGINES:
        known = ", ".join(map(repr, ENGINES))
        raise SteelyardError(f"`engine` is one of {known}. Received: {engine!r}")
    if workers is not None and workers < 1:
        raise SteelyardError(f"`workers` is a number from 1. Received: {workers!r}")
    count = min(workers or cores(), len(plan)) or 1
    tasks = sorted(plan.tasks, key=lambda task: -task.cost(plan.view))
    small = sum(task.cost(plan.view) for task in tasks) < _WORTHWHILE
    one = Work(plan, source, memory)
    with one_blas_thread():
        if engine == "serial" or count == 1 or (engine == "auto" and small):
            for task in tasks:
                yield task, one(task)
        else:
            yield from _threads(tasks, one, count)


def cores() -> int:
    """How many cores this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on every system
        return os.cpu_count() or 1


def _threads(
    tasks: list[Task], worker: Callable[[Task], Readings], count: int
) -> Iterator[tuple[Task, Readings]]:
    waiting = iter(tasks)
    running: dict[Future[Readings], Task] = {}
    pool = ThreadPoolExecutor(count, thread_name_prefix="steelyard")
    try:
        for task in waiting:
            running[pool.submit(worker, task)] = task
            if len(running) < count:
                continue
            yield from _finished(running)
        while running:
            yield from _finished(running)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _finished(running: dict[Future[Readings], Task]) -> Iterator[tuple[Task, Readings]]:
    done, _ = wait(running, return_when=FIRST_COMPLETED)
    for future in done:
        yield running.pop(future), future.result()
