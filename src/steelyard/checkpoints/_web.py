"""A file of a web server, read in parts: what is believed of an answer, and for how long.

The server may be hostile: it gets a certain time, and no more is read of it than was asked for. It
may send on to other places, but not to one that only this machine reaches (`_web_line`).
"""

from __future__ import annotations

import http.client
import re
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from steelyard.checkpoints._fetched import BLOCK, Fetched
from steelyard.checkpoints._web_line import Line, Target
from steelyard.errors import CheckpointError

SECONDS = 30.0
# Slower than this is as good as no answer.
_LEAST_PER_SECOND = 50_000
_PAUSES = (0.0, 0.5, 2.0)
_PIECE = 1 << 20
_MOST_REDIRECTS = 5
_MOVED = (301, 302, 303, 307, 308)
# The server may be able to answer a moment later.
_LATER = (408, 429, 500, 502, 503, 504)
_GONE = (401, 403, 404, 410)
_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18})")


class _Broken(Exception):
    """No answer, or a part of one; to ask again may help."""


class WebFile:
    """A file at an address of the web.

    Args:
        url: Where it is.
        shown: The same, as an error may say it.

    Attributes:
        size: How many bytes it has.

    Raises:
        CheckpointError: It is not there, or the server does not give parts of it.
    """

    def __init__(self, url: str, shown: str) -> None:
        self.path = shown
        self._named = self._at = Target.of(url, shown)
        self._line: Line | None = None
        self._version: str | None = None
        self._is_late = False
        self.size = -1
        head = bytearray(BLOCK)
        try:
            self._fetch(0, memoryview(head))
        except BaseException:
            self.close()
            raise
        self._fetched = Fetched(self._fetch, self.size, bytes(head[: self.size]))
        self.fill = self._fetched.fill

    def fileno(self) -> None:
        """It has none."""

    def rest(self) -> None:
        """Ends the connection until the next read, and keeps no block in memory."""
        self._fetched.forget()
        self.close()

    def close(self) -> None:
        """Ends the connection."""
        line, self._line = self._line, None
        if line is not None:
            line.close()

    def _fetch(self, offset: int, view: memoryview) -> None:
        """Fills a buffer as far as there are bytes; what broke off is gone on with."""
        done, why = 0, ""
        for pause in _PAUSES:
            time.sleep(pause)
            try:
                with self._answer(offset + done, len(view) - done) as answer:
                    end = min(len(view), self.size - offset)
                    while done < end:
                        got = answer.readinto(view[done : min(end, done + _PIECE)])
                        if not got:
                            raise _Broken("the server sent too little")
                        done += got
                return
            except _Broken as error:
                why = str(error)
        raise CheckpointError(f"{self.path}: {why}")

    @contextmanager
    def _answer(self, offset: int, count: int) -> Iterator[http.client.HTTPResponse]:
        """An answer that begins with the bytes that were asked for; it must end in time."""
        self._is_late = False
        seconds = SECONDS + count / _LEAST_PER_SECOND
        watch = threading.Timer(seconds, self._break_off)
        watch.daemon = True
        watch.start()
        try:
            answer = self._asked(offset, count)
            self._check(answer, offset, count)
            yield answer
            if not answer.isclosed():  # there is more of it, which nobody asked for
                self.close()
        except BaseException as error:
            self.close()
            if self._is_late or isinstance(error, TimeoutError):
                told = f"the server did not answer within {seconds:,.0f} seconds"
                raise CheckpointError(f"{self.path}: {told}") from None
            if not isinstance(error, OSError | http.client.HTTPException):
                raise
            if isinstance(error, ssl.SSLCertVerificationError):
                told = f"who the server is cannot be verified: {error.verify_message}"
                raise CheckpointError(f"{self.path}: {told}") from None
            what = getattr(error, "strerror", None) or type(error).__name__
            raise _Broken(f"the server cannot be reached, or broke off ({what})") from None
        finally:
            watch.cancel()

    def _break_off(self) -> None:
        self._is_late = True
        line = self._line
        if line is not None:
            line.break_off()

    def _asked(self, offset: int, count: int) -> http.client.HTTPResponse:
        """The answer of the first server that does not send on."""
        headers = {"Range": f"bytes={offset}-{offset + count - 1}"}
        for _ in range(_MOST_REDIRECTS + 1):
            if self._line is None or not self._line.leads_to(self._at):
                self.close()
                self._line = Line(self._at, SECONDS)
            answer = self._line.ask(self._at, headers)
            if answer.status not in _MOVED:
                return answer
            self.close()
            self._at = self._at.moved(answer.getheader("Location"), self._named)
        raise CheckpointError(f"{self.path}: the server sends on more than {_MOST_REDIRECTS} times")

    def _check(self, answer: http.client.HTTPResponse, offset: int, count: int) -> None:
        status = answer.status
        if status in _GONE and self._at != self._named:
            self._at = self._named  # where it was sent on to may be good for a while only
            raise _Broken(f"the server sends on to a place that answers {_said(status)}")
        if status in _LATER:
            raise _Broken(f"the server answers {_said(status)}")
        if status == 416 and self.size <= 0 and answer.getheader("Content-Range") == "bytes */0":
            self.size = 0
            return
        if status == 200:
            raise CheckpointError(
                f"{self.path}: the server sends all of a file where a part was asked for (it does "
                f"not know `Range`); copy it here first"
            )
        if status != 206:
            why = "there is no such file" if status in (404, 410) else "it cannot be read"
            raise CheckpointError(f"{self.path}: {why}: the server answers {_said(status)}")
        self._check_part(answer, offset, count)

    def _check_part(self, answer: http.client.HTTPResponse, offset: int, count: int) -> None:
        told = _RANGE.fullmatch(answer.getheader("Content-Range") or "")
        packed = answer.getheader("Content-Encoding") or "identity"
        first, last, size = map(int, told.groups()) if told else (-1, -1, -1)
        if first != offset or last + 1 != min(size, offset + count) or packed != "identity":
            raise CheckpointError(f"{self.path}: the server sends another part than was asked for")
        version = answer.getheader("ETag") or answer.getheader("Last-Modified") or ""
        if self._version is None:
            self._version, self.size = version, size
        elif (version, size) != (self._version, self.size):
            raise CheckpointError(f"{self.path}: the file was changed while it was read")


def _said(status: int) -> str:
    """A status in words, which are not those of the server."""
    return f"{status} {http.client.responses.get(status, '')}".strip()
