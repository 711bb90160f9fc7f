"""Whether anybody opens a file: seen by the kernel, whichever process and library does it."""

import ctypes
import os
import sys
from pathlib import Path

_OPENED = 0x20  # IN_OPEN
_NOT_BLOCKING = 0x800


class Watch:
    """Watches files; elsewhere than on Linux it sees nothing."""

    def __init__(self) -> None:
        self._paths: dict[int, Path] = {}
        self._file = -1
        if sys.platform == "linux":
            self._library = ctypes.CDLL(None)
            self._file = self._library.inotify_init1(_NOT_BLOCKING)

    def add(self, path: Path) -> None:
        """Watches a file from now on."""
        if self._file >= 0 and path not in self._paths.values():
            number = self._library.inotify_add_watch(self._file, os.fsencode(path), _OPENED)
            self._paths[number] = path

    def seen(self) -> list[str]:
        """Which files were opened since the last time."""
        try:
            events = os.read(self._file, 1 << 16) if self._file >= 0 else b""
        except BlockingIOError:
            return []
        numbers = {
            int.from_bytes(events[i : i + 4], sys.byteorder) for i in range(0, len(events), 16)
        }
        return [f"somebody opened {self._paths[number]}" for number in numbers]
