"""`Changes`: what became of each weight, as a sequence that is read, filtered and shown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import overload

from steelyard.address import nearest
from steelyard.errors import SteelyardError, UnknownAddressError
from steelyard.records import CHANGE_KINDS, Change
from steelyard.selection._change_table import html_table, summary, text_table


class Changes(Sequence[Change]):
    """One `Change` for each weight, in the order of the target. It never changes.

    What `copy_weights` and `diff` give. `len` and `bool` count the weights, whatever became of
    them.

    Args:
        changes: The changes.
        note: What a reader should know besides; ends the tables.
    """

    __slots__ = ("_changes", "_note")

    def __init__(self, changes: Iterable[Change] = (), note: str = "") -> None:
        self._changes = tuple(changes)
        self._note = note

    @property
    def copied(self) -> Changes:
        """Those of which the target has the source's value now, in the source's shape."""
        return self.of("copied")

    @property
    def reshaped(self) -> Changes:
        """Those that both have in different shapes; where they were copied, carried over."""
        return self.of("reshaped")

    @property
    def skipped(self) -> Changes:
        """Those that both have, and of which the target kept its own value."""
        return self.of("skipped")

    @property
    def missing(self) -> Changes:
        """Those of the target that the source lacks; the target kept them."""
        return self.of("missing")

    @property
    def unused(self) -> Changes:
        """Those of the source that the target has no place for."""
        return self.of("unused")

    @property
    def merged(self) -> Changes:
        """Those that are a part of another weight, with which their value arrived."""
        return self.of("merged")

    @property
    def unchanged(self) -> Changes:
        """Those with the same value in both, or that are one and the same weight."""
        return self.of("unchanged")

    @property
    def added(self) -> Changes:
        """Those that only the second of two sources has."""
        return self.of("added")

    @property
    def removed(self) -> Changes:
        """Those that only the first of two sources has."""
        return self.of("removed")

    @property
    def renamed(self) -> Changes:
        """Those that two sources have at different addresses."""
        return self.of("renamed")

    @property
    def changed(self) -> Changes:
        """Those that two sources have with different values."""
        return self.of("changed")

    @property
    def failed(self) -> Changes:
        """Those that could not be read, so that nothing is known of them."""
        return self.of("failed")

    @property
    def identical(self) -> bool:
        """Whether nothing differs: each weight is unchanged, its dtype and its address too."""
        return all(
            change.kind == "unchanged"
            and change.dtype == change.source_dtype
            and change.source in (None, change.address)
            for change in self._changes
        )

    def of(self, *kinds: str) -> Changes:
        """Those of some kinds, which `steelyard.records.CHANGE_KINDS` lists.

        Raises:
            SteelyardError: If there is no such kind.
        """
        for kind in kinds:
            if kind not in CHANGE_KINDS:
                known = ", ".join(map(repr, CHANGE_KINDS))
                raise SteelyardError(f"There is no kind {kind!r} of change. There are: {known}.")
        return Changes(change for change in self._changes if change.kind in kinds)

    @property
    def addresses(self) -> tuple[str, ...]:
        """The addresses, in order."""
        return tuple(change.address for change in self._changes)

    @property
    def summary(self) -> str:
        """How many there are of each kind, in one line."""
        return summary(self._changes)

    def __len__(self) -> int:
        return len(self._changes)

    def __iter__(self) -> Iterator[Change]:
        return iter(self._changes)

    def __contains__(self, item: object) -> bool:
        return item in self.addresses if isinstance(item, str) else item in self._changes

    @overload
    def __getitem__(self, index: int | str) -> Change: ...

    @overload
    def __getitem__(self, index: slice) -> Changes: ...

    def __getitem__(self, index: int | str | slice) -> Change | Changes:
        """One by its place or by its address, or several by their places.

        Raises:
            UnknownAddressError: If there is none at the address; names the nearest.
        """
        if isinstance(index, slice):
            return Changes(self._changes[index], self._note)
        if not isinstance(index, str):
            return self._changes[index]
        for change in self._changes:
            if change.address == index:
                return change
        near = nearest(index, self.addresses)
        hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
        raise UnknownAddressError(f"Nothing is said of {index!r} here.{hint}")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Changes) and self._changes == other._changes

    def __hash__(self) -> int:
        return hash(self._changes)

    def __repr__(self) -> str:
        return text_table(self._changes, self._note)

    def _repr_html_(self) -> str:
        return html_table(self._changes, self._note)
