"""A Dask cluster: one that runs already, or one of processes here for the while."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from steelyard.errors import MissingDependencyError, SteelyardError
from steelyard.plan._batches import Batch
from steelyard.plan._crew import Lost
from steelyard.plan._work import Readings

_SECONDS = 10


class Dask:
    """The workers of a cluster, each thread with a batch at a time.

    Dask starts what ends anew, and repeats what a lost worker had in hand; a batch over which it
    gave up is lost. No more batches are sent than there are workers: what kills its worker would
    take down with it all that wait there.

    Args:
        address: Of the scheduler; none for a cluster of this machine.
        count: How many workers a cluster of this machine has.

    Raises:
        MissingDependencyError: Dask is not installed.
        SteelyardError: There is no cluster, no worker in it, or none with this library.
    """

    # While one worker is started anew, the others may have what it would have had.
    shares_fate = True

    def __init__(self, address: str | None, count: int) -> None:
        self._library = _library()
        self.is_local = address is None
        self._cluster: Any = None
        self._running: dict[Any, Batch] = {}
        self._told = b""
        if address is None:
            self._cluster = self._library.LocalCluster(
                n_workers=count,
                threads_per_worker=1,
                dashboard_address="127.0.0.1:0",
                memory_limit=0,  # `_remote` limits each task, and ends none
                host="127.0.0.1",
            )
        self._client = self._connected(address)
        try:
            self._check(address or "of this machine")
        except BaseException:
            self.close()
            raise
        workers = self._workers()
        self.size = sum(worker["nthreads"] for worker in workers)
        self.memory = min(
            (worker["memory_limit"] or float("inf")) / worker["nthreads"] for worker in workers
        )

    def tell(self, told: bytes) -> None:
        """What goes along with each batch. Not scattered: that would be lost with its workers."""
        self._told = told

    def is_free(self) -> bool:
        """Whether one of them has nothing to do."""
        return len(self._running) < self.size

    def give(self, batch: Batch) -> None:
        """Hands a batch to the cluster."""
        from steelyard.plan._remote import measured

        future = self._client.submit(measured, self._told, batch.tasks, pure=False)
        self._running[future] = batch

    def finished(self) -> Iterator[tuple[Batch, list[Readings] | Lost]]:
        """Waits until at least one batch is done, and gives all that are."""
        try:
            done, _ = self._library.wait(list(self._running), return_when="FIRST_COMPLETED")
        except Exception as error:
            raise SteelyardError(
                f"The Dask scheduler is gone: {type(error).__name__}: {error}"
            ) from error
        for future in done:
            batch = self._running.pop(future)
            yield batch, self._answer(future)
            future.release()

    def close(self) -> None:
        """Leaves the cluster, and ends it if it was started here."""
        with suppress(Exception):
            self._client.cancel(list(self._running), force=True)
        for thing in (self._client, self._cluster):
            if thing is not None:
                thing.close()

    def _answer(self, future: Any) -> list[Readings] | Lost:
        if future.status == "finished":
            found: list[Readings] = future.result()
            return found
        error = future.exception() if future.status == "error" else None
        if error is None or isinstance(error, self._library.KilledWorker):
            return Lost(f"Dask gave up on it ({error or future.status})")
        raise SteelyardError(f"Dask: {type(error).__name__}: {error}") from error

    def _connected(self, address: str | None) -> Any:
        try:
            return self._library.Client(self._cluster or address, timeout=_SECONDS)
        except (OSError, ValueError) as error:
            raise SteelyardError(f"No Dask scheduler answers at {address!r}: {error}") from error

    def _check(self, where: str) -> None:
        """A batch that no worker could ever take would wait for ever."""
        try:
            self._client.wait_for_workers(1, timeout=_SECONDS)
        except TimeoutError as error:
            raise SteelyardError(f"The Dask cluster {where} has no worker.") from error
        from steelyard.plan._remote import version

        try:
            there = set(self._client.run(version).values())
        except Exception as error:
            raise SteelyardError(
                f"The workers of the Dask cluster {where} cannot load steelyard, which must be "
                f"installed there too: {type(error).__name__}: {error}"
            ) from error
        if there != {version()}:
            raise SteelyardError(
                f"The workers of the Dask cluster {where} have steelyard {', '.join(there)}, and "
                f"this is {version()}: their readings might differ."
            )

    def _workers(self) -> list[dict[str, Any]]:
        return list(self._client.scheduler_info(n_workers=-1)["workers"].values())


def _library() -> Any:
    try:
        import distributed
    except ImportError as error:
        raise MissingDependencyError(
            "engine='dask' needs Dask, which is not installed: pip install 'steelyard[dask]'"
        ) from error
    return distributed
