"""HDF5 parsed in a process of its own: a damaged file can hang or crash it, and nothing else.

One flipped bit can make the HDF5 library loop for ever, or take down the process. So a child parses
the file, under a limit of memory and a deadline, and says in JSON where the weights lie; the bytes
are then read here, by offset.
"""

from __future__ import annotations

import json
import os
import select
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from steelyard.checkpoints._hdf5_reply import understood
from steelyard.checkpoints._part import Part
from steelyard.checkpoints._served import Served
from steelyard.errors import CheckpointError, LimitError

_FOLDER = Path(__file__).parent
# The packages are there, but their `__init__` does not run: the child needs two modules.
_START = """
import sys, types, json
paths, folder, parent = json.loads(sys.argv[1])
sys.path[:] = paths
for name, place in (("steelyard", parent), ("steelyard.checkpoints", folder)):
    sys.modules[name] = package = types.ModuleType(name)
    package.__path__ = [place]
from steelyard.checkpoints._hdf5_child import main
main()
"""
LIMITS = {"count": 200_000, "depth": 64, "ratio": 1000}
SECONDS = 9.0  # so that all ends within ten
MEMORY = 512 << 20
_LONGEST_ANSWER = 128 << 20
_MOST_WAITING = 300.0  # for bytes that come from elsewhere


class Worker:
    """A child process that has a file, or a part of one, open as HDF5.

    Args:
        part: What it reads.
        seconds: How long one answer may take.
        memory: How many bytes it may take besides its code.
    """

    def __init__(self, part: Part, seconds: float = SECONDS, memory: int = MEMORY) -> None:
        self.part, self.seconds, self.memory = part, seconds, memory
        self._child: subprocess.Popen[bytes] | None = None
        self._served: Served | None = None

    def listing(self) -> dict[str, Any]:
        """The groups, datasets and oddities of the file.

        Raises:
            CheckpointError: It is damaged, or crashes the HDF5 library.
            LimitError: It takes too long, or too much memory, or holds too many objects.
        """
        answer = self._ask({"list": True}, time.monotonic() + self.seconds)
        if "listing" not in answer:
            self._fail(CheckpointError, "the process that parses HDF5 gave a wrong answer")
        return answer["listing"]

    def read(self, path: str, most: int, rows: tuple[int, int] | None = None) -> np.ndarray:
        """The bytes of a dataset that are not in one piece, in the order of its entries.

        Args:
            path: In the file.
            most: How many bytes there are.
            rows: From where to where along the first axis; all if not given.
        """
        deadline = time.monotonic() + self.seconds + most / 50e6
        size = self._ask({"read": path, "most": most, "rows": rows}, deadline).get("bytes")
        if size != most:
            raise CheckpointError(f"{self.part.name}: {path}: {size} bytes instead of {most:,}")
        target = np.empty(size, "uint8")
        self._fill(target.data, deadline)
        return target

    def close(self) -> None:
        """Ends the child."""
        child, self._child = self._child, None
        if child is not None:
            child.kill()
            child.wait()
            for pipe in (child.stdin, child.stdout):
                if pipe is not None:
                    pipe.close()
        if self._served is not None:
            self._served.close()

    def _ask(self, question: dict[str, Any], deadline: float) -> dict[str, Any]:
        child = self._child = self._child or self._started()
        try:
            assert child.stdin is not None
            child.stdin.write(json.dumps(question).encode() + b"\n")
            child.stdin.flush()
        except BrokenPipeError:
            pass  # it may have answered before it ended
        head = bytearray(8)
        self._fill(memoryview(head), deadline)
        (length,) = struct.unpack("<Q", head)
        if length > _LONGEST_ANSWER:
            self._fail(LimitError, "lists more than is allowed")
        text = bytearray(length)
        self._fill(memoryview(text), deadline)
        return self._understood(text)

    def _understood(self, text: bytearray) -> dict[str, Any]:
        try:
            answer = understood(text, self.part.name)
        except CheckpointError:
            self.close()
            raise
        if "limit" in answer:
            self._fail(LimitError, answer["limit"])
        if "error" in answer:
            self._fail(CheckpointError, f"no HDF5 that can be read: {answer['error']}")
        return answer

    def _started(self) -> subprocess.Popen[bytes]:
        paths = [os.path.abspath(path) for path in sys.path]
        places = json.dumps([paths, str(_FOLDER), str(_FOLDER.parent)])
        file = self.part.source.fileno()
        elsewhere = file is None
        if file is None:
            self._served = Served(self.part.source)
            file = self._served.there.fileno()
        child = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _START, places],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            pass_fds=[file],
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "HDF5_USE_FILE_LOCKING": "FALSE"},
        )
        setup = {"file": file, "start": self.part.start, "size": self.part.size}
        setup |= {"elsewhere": elsewhere}
        setup |= {"memory": self.memory, "seconds": int(self.seconds) + 3600, **LIMITS}
        assert child.stdin is not None
        child.stdin.write(json.dumps(setup).encode() + b"\n")
        if self._served is not None:
            self._served.there.close()  # it has its own, whose end is seen
        return child

    def _fill(self, target: memoryview, deadline: float) -> None:
        """Waits for so many bytes; a child that ends or goes on for too long is an error."""
        assert self._child is not None and self._child.stdout is not None
        pipe, done = self._child.stdout.fileno(), 0
        while done < len(target):
            while not select.select([pipe], [], [], max(0, self._left(deadline)))[0]:
                if self._left(deadline) <= 0:
                    told = f"takes longer than the {self.seconds:g} seconds allowed"
                    self._fail(LimitError, told)
            got = os.readv(pipe, [target[done : done + (1 << 20)]])
            if got == 0:
                self._fail(CheckpointError, self._how_it_ended())
            done += got

    def _left(self, deadline: float) -> float:
        """For how long the child may go on; what it waited for does not count, within bounds."""
        waited = 0.0 if self._served is None else min(_MOST_WAITING, self._served.waited)
        return deadline + waited - time.monotonic()

    def _how_it_ended(self) -> str:
        assert self._child is not None
        try:
            status = self._child.wait(1)
        except subprocess.TimeoutExpired:
            status = 0
        how = f"signal {-status}" if status < 0 else f"exit status {status}"
        return f"damaged: it makes the HDF5 library break off ({how})"

    def _fail(self, kind: type[CheckpointError], message: str) -> None:
        self.close()
        if self._served is not None and self._served.error is not None:
            raise self._served.error
        raise kind(f"{self.part.name}: {message}")

    def __del__(self) -> None:
        if getattr(self, "_child", None) is not None:
            self.close()
