"""Processes of this machine: Python's own, started afresh, so that nothing else is needed."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from multiprocessing.connection import Connection, wait

from steelyard.plan._batches import Batch
from steelyard.plan._crew import Lost
from steelyard.plan._work import Readings

# Not by `multiprocessing`: it would run the caller's script once more in each process.
_START = """
import sys, json
sys.path[:] = json.loads(sys.argv[2])
from steelyard.plan._processes import serve
serve(int(sys.argv[1]))
"""


class Processes:
    """So many processes, each with a batch at a time.

    Args:
        count: How many.
        told: What each is told once, `_remote.packed`.
    """

    shares_fate = False

    def __init__(self, count: int, told: bytes) -> None:
        self._told = told
        self._lanes = [_Lane() for _ in range(count)]

    def is_free(self) -> bool:
        """Whether one of them has nothing to do."""
        return any(lane.batch is None for lane in self._lanes)

    def give(self, batch: Batch) -> None:
        """Hands a batch to one of them, which is started if it is not there."""
        lane = next(lane for lane in self._lanes if lane.batch is None)
        lane.batch = batch
        # If it ended meanwhile, that is seen when its answer is waited for.
        with suppress(BrokenPipeError, ConnectionResetError):
            lane.connection(self._told).send(batch.tasks)

    def finished(self) -> Iterator[tuple[Batch, list[Readings] | Lost]]:
        """Waits until at least one batch is done, and gives all that are."""
        lanes = {lane.connection(self._told): lane for lane in self._lanes if lane.batch}
        ready = wait(lanes)
        for connection in [one for one in lanes if one in ready]:
            lane = lanes[connection]
            batch, lane.batch = lane.batch, None
            assert batch is not None
            found: list[Readings] | Lost
            try:
                found = connection.recv()
            except (EOFError, ConnectionResetError):
                found = Lost(lane.end())
            yield batch, found

    def close(self) -> None:
        """Ends all of them, whatever they are doing."""
        for lane in self._lanes:
            lane.end(signal.SIGKILL)


class _Lane:
    """The place of a process; another one takes it if it ends."""

    def __init__(self) -> None:
        self.batch: Batch | None = None
        self._child: subprocess.Popen[bytes] | None = None
        self._connection: Connection | None = None

    def connection(self, told: bytes) -> Connection:
        """The way to the process, which is started if there is none."""
        if self._connection is None:
            self._start()
            assert self._connection is not None
            self._connection.send_bytes(told)
        return self._connection

    def _start(self) -> None:
        here, there = socket.socketpair()
        paths = json.dumps([os.path.abspath(path) for path in sys.path])
        with there:
            self._child = subprocess.Popen(
                [sys.executable, "-c", _START, str(there.fileno()), paths],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
                pass_fds=[there.fileno()],
                start_new_session=True,  # Ctrl-C is for the one who started it
            )
        self._connection = Connection(here.detach())

    def end(self, by: int | None = None) -> str:
        """Waits for the end of the process, or brings it about; says how it ended."""
        if self._connection is None or self._child is None:
            return ""
        self._connection.close()
        if by is not None:
            self._child.send_signal(by)
        status = self._child.wait()
        self._connection = self._child = None
        return f"signal {-status}" if status < 0 else f"exit status {status}"


def serve(number: int) -> None:
    """What such a process does: batches, until nobody asks any more."""
    from steelyard.plan._remote import measured

    connection = Connection(number)
    # Until whoever asked is gone.
    with suppress(EOFError, BrokenPipeError, ConnectionResetError):
        told = connection.recv_bytes()
        while True:
            connection.send(measured(told, connection.recv()))
