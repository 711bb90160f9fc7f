"""The process that parses HDF5: it gets an open file and questions, and gives plain answers.

It may be driven into an endless loop or a crash by what it reads; whoever started it
(`_worker.py`) survives that. It imports NumPy and h5py only.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import resource
import socket
import struct
import sys
from collections.abc import Callable
from typing import Any

import h5py
import numpy as np

from steelyard.checkpoints._hdf5 import Excess, Listing

_PIECE = 8 << 20


class Window(io.RawIOBase):
    """A part of an open file as a file of its own, for h5py to seek and read in."""

    def __init__(self, read: Callable[[Any, int], int], start: int, size: int) -> None:
        self._read, self._start, self._size, self._at = read, start, size, 0

    def readable(self) -> bool:
        """It can be read."""
        return True

    def seekable(self) -> bool:
        """It can be sought in."""
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        """Goes to a place, as of any file."""
        self._at = offset + (0, self._at, self._size)[whence]
        return self._at

    def tell(self) -> int:
        """The present place."""
        return self._at

    def readinto(self, target: Any) -> int:
        """Fills a buffer as far as there are bytes."""
        view = memoryview(target).cast("B")[: max(0, self._size - self._at)]
        done = 0
        while done < len(view) and (got := self._read(view[done:], self._start + self._at)):
            done += got
            self._at += got
        return done


def _reader(file: int, elsewhere: bool) -> Callable[[Any, int], int]:
    """What fills a buffer from a place on: of an open file, or by asking who started this."""
    if not elsewhere:
        return lambda view, at: os.preadv(file, [view], at)
    line = socket.socket(fileno=file)

    def asked(view: Any, at: int) -> int:
        view = view[:_PIECE]
        line.sendall(struct.pack("<QQ", at, len(view)))
        done = 0
        while done < len(view):
            got = line.recv_into(view[done:])
            if not got:
                raise OSError("no more bytes come")
            done += got
        return done

    return asked


def main() -> None:
    """Answers one question a line, until there are no more."""
    setup = json.loads(sys.stdin.buffer.readline())
    _limit(setup["memory"], setup["seconds"])
    out = sys.stdout.buffer
    try:
        read = _reader(setup["file"], setup["elsewhere"])
        window = Window(read, setup["start"], setup["size"])
        root = h5py.File(window, "r")
    except MemoryError:
        return _answer(out, {"limit": "it asks for more memory than is allowed"})
    except Exception as error:
        return _answer(out, {"error": _first_line(error)})
    for line in sys.stdin.buffer:
        question = json.loads(line)
        try:
            if "read" in question:
                _read(out, root[question["read"]], question["most"], question["rows"])
            else:
                _answer(out, {"listing": Listing(root, setup).run()})
        except Excess as error:
            _answer(out, {"limit": str(error)})
        except (MemoryError, RecursionError):
            _answer(out, {"limit": "it asks for more memory than is allowed"})
        except Exception as error:
            _answer(out, {"error": _first_line(error)})


def _limit(memory: int, seconds: int) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for which, most in ((resource.RLIMIT_DATA, memory), (resource.RLIMIT_CPU, seconds)):
        hard = resource.getrlimit(which)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        with contextlib.suppress(OSError, ValueError):  # not every system has each of them
            resource.setrlimit(which, (most, most))


def _read(out: Any, data: Any, most: int, rows: list[int] | None) -> None:
    """Sends a dataset that is not in one piece: its values in the file's dtype, slice by slice."""
    begin, end = rows or (0, data.shape[0] if data.shape else 1)
    places = _slices(data, begin, end)
    length = data.shape[0] if data.shape else 1
    size = data.size // max(1, length) * (end - begin) * data.id.get_type().get_size()
    if size > most:
        raise Excess(f"{data.name} takes {size:,} bytes, and {most:,} are allowed")
    _answer(out, {"bytes": size})
    for place in places:
        out.write(_raw(data, place).data)
    out.flush()


def _raw(data: Any, place: slice) -> np.ndarray:
    """The bytes of a slice as they are in the file: nothing is widened on the way."""
    kind = data.id.get_type()
    shape = (place.stop - place.start, *data.shape[1:]) if data.shape else ()
    target = np.empty(shape, f"V{kind.get_size()}")
    space, memory = data.id.get_space(), h5py.h5s.create(h5py.h5s.SCALAR)
    if shape:
        space.select_hyperslab((place.start, *(0 for _ in shape[1:])), shape)
        memory = h5py.h5s.create_simple(shape)
    data.id.read(memory, space, target, kind)
    return target.reshape(-1).view("u1")


def _slices(data: Any, begin: int, end: int) -> list[slice]:
    if not data.shape:
        return [slice(0, 1)]
    row = data.size // max(1, data.shape[0]) * data.id.get_type().get_size()
    step = max(1, _PIECE // max(1, row))
    starts = range(begin, end, step) if row else ()
    return [slice(i, min(i + step, end)) for i in starts]


def _answer(out: Any, answer: dict[str, Any]) -> None:
    text = json.dumps(answer).encode()
    out.write(struct.pack("<Q", len(text)) + text)
    out.flush()


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:300]
