"""Files that are named by a URL: what is one, what may be shown of it, what lies beside it."""

from __future__ import annotations

import os
import re
from os import PathLike
from urllib.parse import quote, urlsplit

from steelyard.errors import SteelyardError

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_WEB = ("http", "https")
_HERE = ("file", "local")


def scheme_of(path: str | PathLike[str]) -> str:
    """What stands before `://`, in small letters; empty for a path of this machine."""
    found = _URL.match(path) if isinstance(path, str) else None
    return found[1].lower() if found else ""


def is_url(path: object) -> bool:
    """Whether it names a file that is elsewhere. `file://` does not: that is a path."""
    return isinstance(path, str) and scheme_of(path) not in ("", *_HERE)


def is_web(path: object) -> bool:
    """Whether it is an address of the web."""
    return isinstance(path, str) and scheme_of(path) in _WEB


def on_disk(path: str | PathLike[str]) -> str:
    """A path as it is; the path that a `file:` URL stands for; any other URL as it is.

    Raises:
        SteelyardError: A URL of a file of another machine.
    """
    path = os.fspath(path)
    if scheme_of(path) not in _HERE:
        return path
    parts = urlsplit(path)
    if parts.netloc not in ("", "localhost"):
        raise SteelyardError(f"{shown(path)}: a URL of a file of this machine names no other")
    from urllib.request import url2pathname  # which brings much along

    return url2pathname(parts.path)


def shown(path: str | PathLike[str]) -> str:
    """A path as it is; a URL without what may be secret: user, password and query."""
    path = os.fspath(path)
    if not scheme_of(path):
        return path
    scheme, _, rest = path.partition("://")
    rest, asks, _ = rest.partition("#")[0].partition("?")
    host, slash, place = rest.partition("/")
    _, at, host = host.rpartition("@")
    return f"{scheme}://{'***@' if at else ''}{host}{slash}{place}{'?***' if asks else ''}"


def name_of(path: str | PathLike[str]) -> str:
    """The last part of a path, or of that of a URL."""
    return os.path.basename(_parted(os.fspath(path))[0])


def beside(path: str, name: str) -> str:
    """The place of a file in the same folder.

    Raises:
        SteelyardError: `name` is no plain name, but leads elsewhere.
    """
    if name in ("", ".", "..") or set(name) & set("/\\\0"):
        raise SteelyardError(f"{shown(path)}: {name!r:.100} is no name of a file beside it")
    if not is_url(path):
        return os.path.join(os.path.dirname(path), name)
    place, query = _parted(path)
    name = quote(name) if is_web(path) else name
    return f"{place.rpartition('/')[0]}/{name}{query}"


def _parted(path: str) -> tuple[str, str]:
    """A URL of the web before its query, and the query; anything else is whole."""
    if not is_web(path):
        return path, ""
    path = path.partition("#")[0]
    place, asks, query = path.partition("?")
    return place, asks + query
