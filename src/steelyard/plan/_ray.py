"""A Ray cluster: one that runs already, or one of processes here for the while."""

from __future__ import annotations

import os
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import urlsplit

from steelyard.errors import MissingDependencyError, SteelyardError
from steelyard.plan._batches import Batch
from steelyard.plan._crew import Lost
from steelyard.plan._remote import measured, version
from steelyard.plan._work import Readings

_SECONDS = 10
_TRIES = 3
_STORE = 100 << 20  # readings are small
_LONGEST = 24  # the path of a socket has 107 bytes, and Ray wants most of them
# As on systems for which Ray makes no clusters: all that it starts listens to this machine only.
_ALONE = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}


class Ray:
    """The workers of a cluster, one for each of its CPUs, each with a batch at a time.

    Ray starts what ends anew. It is told to repeat nothing: `_crew` does, and knows who is to
    blame, since each batch has a process of its own.

    Args:
        address: `ray://…` of a cluster. Without one it is that to which this process is connected,
            or that of `RAY_ADDRESS`, or one of this machine for the while.
        count: How many workers one of this machine has.

    Raises:
        MissingDependencyError: Ray is not installed.
        SteelyardError: There is no cluster, no CPU in it, or none with this library.
    """

    shares_fate = False

    def __init__(self, address: str | None, count: int) -> None:
        self._running: dict[Any, Batch] = {}
        self._told = b""
        self._kept: tempfile.TemporaryDirectory[str] | None = None
        self._library = _library()
        self._is_ours = not self._library.is_initialized()
        if address and not self._is_ours:
            raise SteelyardError(
                f"This process is connected to a Ray cluster already, and Ray knows one at a time: "
                f"take engine='ray' for that one, or call ray.shutdown() before {address!r}."
            )
        address = address or os.environ.get("RAY_ADDRESS")
        self.is_local = self._is_ours and address is None
        where = f"at {address!r}" if address else "that runs here"
        if self.is_local:
            self._start(count)
        elif self._is_ours:
            _connect(self._library, str(address))
        try:
            nodes = self._nodes(where)
            self._check(nodes, where)
        except BaseException:
            self.close()
            raise
        self.size = sum(int(node["CPU"]) for node in nodes)
        self.memory = min(node.get("memory", float("inf")) / int(node["CPU"]) for node in nodes)

    def tell(self, told: bytes) -> None:
        """What goes along with each batch."""
        self._told = told
        self._measured = self._library.remote(max_retries=0, num_cpus=1)(measured)

    def is_free(self) -> bool:
        """Whether one of them has nothing to do."""
        return len(self._running) < self.size

    def give(self, batch: Batch) -> None:
        """Hands a batch to the cluster."""
        self._running[self._measured.remote(self._told, batch.tasks)] = batch

    def finished(self) -> Iterator[tuple[Batch, list[Readings] | Lost]]:
        """Waits until at least one batch is done, and gives those that are."""
        try:
            done, _ = self._library.wait(list(self._running), num_returns=1)
        except Exception as error:
            raise SteelyardError(
                f"The Ray cluster is gone: {type(error).__name__}: {error}"
            ) from error
        for future in done:
            yield self._running.pop(future), self._answer(future)

    def close(self) -> None:
        """Leaves the cluster, and ends it if it was started here."""
        with suppress(Exception):
            for future in self._running:
                self._library.cancel(future, force=True)
        if self._is_ours:
            self._library.shutdown()
        if self._kept is not None:
            self._kept.cleanup()

    def _answer(self, future: Any) -> list[Readings] | Lost:
        errors = self._library.exceptions
        try:
            found: list[Readings] = self._library.get(future)
        except (errors.RayTaskError, errors.RuntimeEnvSetupError) as error:
            raise SteelyardError(f"Ray: {_first_line(error)}") from error
        except errors.RayError as error:
            return Lost(f"Ray says {type(error).__name__}")
        return found

    def _start(self, count: int) -> None:
        with _alone():
            self._library.init(
                address="local",
                _temp_dir=self._folder(),
                num_cpus=count,
                object_store_memory=_STORE,
                log_to_driver=False,
                logging_level="ERROR",
            )
        at = {node["NodeManagerAddress"] for node in self._library.nodes()}
        if not at <= {"127.0.0.1", "::1"}:
            self.close()
            raise SteelyardError(
                f"This version of Ray makes a cluster that other machines reach, at "
                f"{', '.join(map(str, at))}. If that is meant, call ray.init() before."
            )

    def _folder(self) -> str | None:
        """Where Ray keeps its sockets and logs meanwhile; where that would be too long, its own."""
        if len(tempfile.gettempdir()) > _LONGEST:
            return None
        self._kept = tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True)
        return self._kept.name

    def _nodes(self, where: str) -> list[dict[str, Any]]:
        """What each machine with a CPU has; a batch without one would wait for ever."""
        for _ in range(10):
            alive = [node for node in self._library.nodes() if node["Alive"]]
            found = [
                node["Resources"] | {"id": node["NodeID"]}
                for node in alive
                if node["Resources"].get("CPU", 0) >= 1
            ]
            if found:
                return found
            time.sleep(_SECONDS / 10)
        raise SteelyardError(f"The Ray cluster {where} has no CPU for a worker.")

    def _check(self, nodes: list[dict[str, Any]], where: str) -> None:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy as On

        asked = self._library.remote(num_cpus=0, max_retries=1)(version)
        try:
            told = [asked.options(scheduling_strategy=On(n["id"], soft=False)) for n in nodes]
            there = set(self._library.get([one.remote() for one in told], timeout=60))
        except Exception as error:
            raise SteelyardError(
                f"The workers of the Ray cluster {where} cannot load steelyard, which must be "
                f"installed there too: {_first_line(error)}"
            ) from error
        if there != {version()}:
            raise SteelyardError(
                f"The workers of the Ray cluster {where} have steelyard {', '.join(there)}, and "
                f"this is {version()}: their readings might differ."
            )


def _library() -> Any:
    try:
        import ray
        import ray.exceptions
    except ImportError as error:
        raise MissingDependencyError(
            "engine='ray' needs Ray, which is not installed: pip install 'steelyard[ray]'"
        ) from error
    return ray


def _connect(library: Any, address: str) -> None:
    try:
        if address.startswith("ray://"):  # Ray itself would try for half a minute
            parts = urlsplit(address)
            place = (parts.hostname or "", parts.port or 10001)
            socket.create_connection(place, timeout=_SECONDS).close()
        _init(library, address)
    except ImportError as error:
        raise MissingDependencyError(
            f"A Ray cluster at {address!r} needs Ray's client: pip install 'steelyard[ray]'"
        ) from error
    except Exception as error:
        raise SteelyardError(
            f"No Ray cluster answers at {address!r}: {_first_line(error)}"
        ) from error


def _init(library: Any, address: str) -> None:
    """Connects; a client server that did not start in time, on a busy machine, may the next one."""
    for left in reversed(range(_TRIES)):
        try:
            library.init(address, log_to_driver=False, logging_level="ERROR")
            return
        except ConnectionAbortedError:
            if not left:
                raise
            library.shutdown()


@contextmanager
def _alone() -> Iterator[None]:
    """What Ray starts meanwhile is for this machine only, and reports to nobody."""
    # It has looked at the environment when it was imported; what it starts looks anew.
    from ray._private import ray_constants

    told = {"RAY_USAGE_STATS_ENABLED": "0"} | os.environ | _ALONE
    before, clusters = dict(os.environ), getattr(ray_constants, "ENABLE_RAY_CLUSTER", None)
    os.environ.update(told)
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = clusters
        for name in told.keys() - before.keys():
            del os.environ[name]
        os.environ.update(before)


def _first_line(error: Exception) -> str:
    told = [line for line in str(error).splitlines() if line.strip()]
    return (told[-1] if type(error).__name__ == "RayTaskError" else told[0])[:300] if told else ""
