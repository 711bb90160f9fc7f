"""The engines: each takes a plan and gives readings, a weight at a time, as they come."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

from steelyard.errors import SteelyardError
from steelyard.plan._batches import batches
from steelyard.plan._crew import Cluster, Crew, over
from steelyard.plan._plan import Plan, Task
from steelyard.plan._processes import Processes
from steelyard.plan._remote import Opener, packed
from steelyard.plan._work import Readings, Work, one_blas_thread

ENGINES = ("auto", "serial", "threads", "processes", "dask", "ray")
# Below so many operations, threads cost more than they bring.
_WORTHWHILE = 3e7


def run(
    plan: Plan,
    opener: Opener,
    *,
    engine: str = "auto",
    workers: int | None = None,
    memory: float = float("inf"),
) -> Generator[tuple[Task, Readings], None, None]:
    """Measures all that a plan asks for, the costliest first.

    One weight is in memory for each worker. BLAS is kept to one thread meanwhile: as many workers
    as there are cores do the same work without getting in each other's way.

    Args:
        plan: What to measure.
        opener: Gives what holds the weights. It is what travels to other processes, each of which
            opens for itself; in threads, one at a time reads.
        engine: `"threads"`, `"serial"`, `"processes"`, `"dask"`, `"ray"`, the address of a Dask
            scheduler or of a Ray cluster (`ray://…`), or `"auto"`, which is threads where they pay.
        workers: How many; as many as there are cores if not given. A cluster has its own.
        memory: How many bytes may be used for weights and what is made of them: by all workers of
            this machine, by each worker of a cluster.

    Yields:
        Each task with its readings, as soon as they are there. A weight that cannot be read, or
        is too large, has readings that say so, and the others go on.

    Raises:
        SteelyardError: There is no such engine, or fewer than one worker; or the source cannot be
            opened in other processes.
    """
    here = stays_here(engine)
    if workers is not None and workers < 1:
        raise SteelyardError(f"`workers` is a number from 1. Received: {workers!r}")
    if not plan.tasks:
        return
    count = min(workers or cores(), len(plan)) or 1
    tasks = sorted(plan.tasks, key=lambda task: -task.cost(plan.view))
    if not here:
        yield from _elsewhere(plan, tasks, opener, engine, count, memory)
        return
    small = sum(task.cost(plan.view) for task in tasks) < _WORTHWHILE
    one = Work(plan, opener(), memory)
    with one_blas_thread():
        if engine == "serial" or count == 1 or (engine == "auto" and small):
            for task in tasks:
                yield task, one(task)
        else:
            yield from _threads(tasks, one, count)


def stays_here(engine: str) -> bool:
    """Whether an engine works in this process, so that the source need not be opened again.

    Raises:
        SteelyardError: There is no such engine.
    """
    if engine not in ENGINES and "://" not in engine:
        known = ", ".join(map(repr, ENGINES))
        raise SteelyardError(
            f"`engine` is one of {known}, or the address of a Dask scheduler, such as "
            f"'tcp://10.0.0.1:8786', or of a Ray cluster, 'ray://10.0.0.1:10001'. "
            f"Received: {engine!r}"
        )
    return engine in ("auto", "serial", "threads")


def _elsewhere(
    plan: Plan, tasks: list[Task], opener: Opener, engine: str, count: int, memory: float
) -> Iterator[tuple[Task, Readings]]:
    """In other processes: each has its share of the memory."""
    if engine == "processes":
        told = packed(opener, plan, memory / count)
        crew: Crew = Processes(count, told)
        return over(crew, plan, batches(tasks, plan.view, count))
    packed(opener, plan, memory)  # before a cluster is started for nothing
    cluster = _cluster(engine, count)
    share = memory / count if cluster.is_local else memory
    cluster.tell(packed(opener, plan, min(share, cluster.memory)))
    return over(cluster, plan, batches(tasks, plan.view, cluster.size))


def _cluster(engine: str, count: int) -> Cluster:
    address = engine if "://" in engine else None
    if engine.startswith("ray"):
        from steelyard.plan._ray import Ray

        return Ray(address, count)
    from steelyard.plan._dask import Dask

    return Dask(address, count)


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
