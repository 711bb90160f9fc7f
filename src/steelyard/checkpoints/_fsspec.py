"""A file in a store that fsspec knows: S3, Google's, Azure's, one in memory, and many more."""

from __future__ import annotations

from typing import Any

from steelyard.checkpoints._fetched import Fetched
from steelyard.errors import CheckpointError, MissingDependencyError
from steelyard.urls import scheme_of

# One answer; all of it is in memory twice for a moment.
_MOST = 64 << 20
# Whichever of these a store tells of a file: another one is another file.
_VERSION = (
    *("size", "ETag", "etag", "generation", "blob_id", "sha"),
    *("mtime", "created", "modified", "updated", "LastModified", "last_modified"),
)


class StoredFile:
    """A file in a store, of which parts are read.

    Args:
        url: Where it is.
        shown: The same, as an error may say it.

    Attributes:
        size: How many bytes it has.

    Raises:
        MissingDependencyError: fsspec, or what it needs for this store, is not installed.
        CheckpointError: It is not there, or no file.
    """

    def __init__(self, url: str, shown: str) -> None:
        self.path = shown
        self._system, self._place = _system(url, shown)
        info = self._info()
        if info.get("type") != "file" or not isinstance(info.get("size"), int):
            raise CheckpointError(
                f"{shown}: a file was expected, and this is none. A folder that is elsewhere is "
                f"not read: copy it here first."
            )
        self._first = _version(info)
        self.size: int = info["size"]
        self._fetched = Fetched(self._fetch, self.size)
        self.fill = self._fetched.fill

    def fileno(self) -> None:
        """It has none."""

    def rest(self) -> None:
        """Keeps no block in memory."""
        self._fetched.forget()

    def close(self) -> None:
        """Nothing is open between two reads."""

    def _fetch(self, offset: int, view: memoryview) -> None:
        for at in range(0, len(view), _MOST):
            end = min(at + _MOST, len(view))
            try:
                found = self._system.cat_file(self._place, start=offset + at, end=offset + end)
            except Exception as error:
                raise CheckpointError(f"{self.path}: {_why(error)}") from None
            if len(found) != end - at:
                raise CheckpointError(
                    f"{self.path}: {len(found):,} bytes came, and {end - at:,} were asked for"
                )
            view[at:end] = found
        if _version(self._info()) != self._first:
            raise CheckpointError(f"{self.path}: the file was changed while it was read")

    def _info(self) -> dict[str, Any]:
        try:
            self._system.invalidate_cache(self._place)  # it may remember what was there before
            found: dict[str, Any] = self._system.info(self._place)
        except Exception as error:
            raise CheckpointError(f"{self.path}: {_why(error)}") from None
        return found


def _version(info: dict[str, Any]) -> tuple[str, ...]:
    return tuple(str(info.get(name)) for name in _VERSION)


def _system(url: str, shown: str) -> tuple[Any, str]:
    try:
        import fsspec
    except ImportError as error:
        raise MissingDependencyError(
            f"{shown}: a URL that is not of the web needs fsspec, which is not installed: "
            f"pip install 'steelyard[remote]'"
        ) from error
    scheme = scheme_of(url)
    try:
        fsspec.get_filesystem_class(scheme)
    except ImportError as error:
        raise MissingDependencyError(
            f"{shown}: {scheme}:// needs a package that is not installed: {_install(scheme, error)}"
        ) from error
    except ValueError:
        raise CheckpointError(f"{shown}: no store is known that {scheme}:// is of") from None
    try:
        found: tuple[Any, str] = fsspec.url_to_fs(url)
    except Exception as error:
        raise CheckpointError(f"{shown}: {_why(error)}") from None
    return found


def _install(scheme: str, error: ImportError) -> str:
    from fsspec.registry import known_implementations

    package = known_implementations.get(scheme, {}).get("class", "fsspec").partition(".")[0]
    return str(error) if package == "fsspec" else f"pip install {package}"


def _why(error: Exception) -> str:
    """In words that name no URL, since that may have a key in it."""
    if isinstance(error, FileNotFoundError):
        return "there is no such file"
    if isinstance(error, PermissionError):
        return "the store does not allow to read it"
    kind = type(error)
    return f"the store says {kind.__name__}"
