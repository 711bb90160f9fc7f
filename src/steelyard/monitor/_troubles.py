"""What goes wrong while measuring: a warning once, and training goes on."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from steelyard.errors import SteelyardError

ON_ERROR = ("warn", "raise")


class Troubles:
    """Keeps what fails from ending a training.

    Args:
        on_error: `"warn"`, once for each thing that fails, or `"raise"`.

    Raises:
        SteelyardError: It is neither.
    """

    def __init__(self, on_error: str) -> None:
        if on_error not in ON_ERROR:
            raise SteelyardError(f"`on_error` is 'warn' or 'raise'. Received: {on_error!r}")
        self._raises = on_error == "raise"
        self._told: set[str] = set()

    @contextmanager
    def kept(self, what: str) -> Iterator[None]:
        """A block in which an exception becomes a warning.

        Args:
            what: What is done in it, as the subject of a sentence; warned of once.
        """
        try:
            yield
        except Exception as error:
            if self._raises:
                raise
            self.tell(what, f"{type(error).__name__}: {error}")

    def tell(self, what: str, reason: str) -> None:
        """Warn of something, the first time only.

        Raises:
            SteelyardError: If errors are to be raised.
        """
        if self._raises:
            raise SteelyardError(f"Monitor: {what} failed: {reason}")
        if what not in self._told:
            self._told.add(what)
            warnings.warn(
                f"Monitor: {what} failed, and training goes on: {reason} (This is said once. To "
                f"have it raised: on_error='raise'.)",
                stacklevel=2,
            )
