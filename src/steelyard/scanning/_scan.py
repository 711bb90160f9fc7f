"""`scan`: what in a file, or in the files of a folder, could run code or reach out of it."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from os import PathLike

from steelyard.checkpoints import Bytes, Part
from steelyard.errors import CheckpointError
from steelyard.records import SEVERITIES, Risk
from steelyard.scanning._kinds import check_name, scan_piece
from steelyard.scanning._piece import Piece
from steelyard.scanning._report import Report
from steelyard.urls import on_disk, shown

SECONDS = 10.0
_FILES_OF_TIME = 6  # a folder may take as long as so many files
_MOST_FILES = 10_000
_MOST_DEPTH = 32


@dataclass(frozen=True, slots=True)
class Scan:
    """What was found, and what was read.

    Args:
        path: As it was given.
        risks: What was found and what was not read, in the order of the files.
        files: Each file, and what kind it is.
    """

    path: str
    risks: tuple[Risk, ...]
    files: dict[str, str]

    @property
    def found(self) -> tuple[Risk, ...]:
        """The dangers and what asks for caution."""
        return tuple(one for one in self.risks if one.severity in ("danger", "caution"))

    @property
    def unread(self) -> tuple[Risk, ...]:
        """The parts that were not read."""
        return tuple(one for one in self.risks if one.severity == "unread")

    @property
    def in_order(self) -> tuple[Risk, ...]:
        """All of them, the worst first."""
        worst = list(SEVERITIES)
        return tuple(sorted(self.risks, key=lambda one: worst.index(one.severity)))

    @property
    def counts(self) -> dict[str, int]:
        """How many there are of each severity."""
        count = Counter(one.severity for one in self.risks)
        return {severity: count[severity] for severity in SEVERITIES}

    @property
    def status(self) -> str:
        """`"found"`; `"unread"` where nothing was, and not all was read; or `"clean"`."""
        return "found" if self.found else "unread" if self.unread else "clean"

    @property
    def summary(self) -> str:
        """What was found and whether all was read, in one line."""
        counts = {key: number for key, number in self.counts.items() if key != "unread" and number}
        said = [f"{number:,} {_WORDS[key][number > 1]}" for key, number in counts.items()]
        parts, files = len(self.unread), len(self.files)
        what = f"{files:,} files" if files != 1 else "1 file"
        read = f"{what}, of which all but the numbers was read"
        if parts:
            read = (
                f"{what}, of which {parts:,} {'parts were' if parts > 1 else 'part was'} not read"
            )
        return f"{', '.join(said) if said else 'Nothing found'}; {read}."


_WORDS = {
    "danger": ("danger", "dangers"),
    "caution": ("caution", "cautions"),
    "note": ("note", "notes"),
}


def scan(path: str | PathLike[str], *, seconds: float = SECONDS) -> Scan:
    """What in a file could run code or reach out of it.

    Nothing that the file holds is run, and nothing that it names is imported, opened or followed.
    Whatever could not be read is among what is found: an empty answer says that all was read.

    Args:
        path: A file of any kind that Steelyard reads, a bare pickle, or a folder, of which each
            file is scanned. Symbolic links in a folder are not followed. Or the URL of a file.
        seconds: How long one file may take; a folder may take six times as long.

    Raises:
        CheckpointError: There is nothing at `path` that can be read at all.

    Example:
        >>> import pickle, tempfile, os
        >>> from steelyard.scanning import scan
        >>> path = os.path.join(tempfile.mkdtemp(), "weights.pkl")
        >>> with open(path, "wb") as file:
        ...     pickle.dump(print, file)
        >>> [risk.code for risk in scan(path).found]
        ['pickle-dangerous-global']
    """
    path = on_disk(path)
    report = Report(seconds, _FILES_OF_TIME * seconds)
    if os.path.isdir(path):
        for name in _files(path, report):
            _scan_file(os.path.join(path, name), name, report)
    else:
        report.begin()
        with Bytes(path) as source:
            _scan_bytes(source, source.path, report)
    return Scan(shown(path), report.risks, report.files)


def _scan_file(path: str, name: str, report: Report) -> None:
    """A file of a folder; one that cannot be opened does not end the scan of the others."""
    report.begin()
    try:
        with Bytes(path) as source:
            _scan_bytes(source, name, report)
    except CheckpointError as error:
        report.add_at("unreadable", name, "", f"It could not be opened: {error}.")
        report.files[name] = "not readable"


def _scan_bytes(source: Bytes, name: str, report: Report) -> None:
    piece = Piece(Part(source, 0, source.size, source.path), name, "", name)
    check_name(piece, report)
    report.files[name] = scan_piece(piece, report)


def _files(folder: str, report: Report) -> Iterator[str]:
    """The files of a folder and of those in it, by name; what is left out is noted."""
    stack, count = [("", 0)], 0
    while stack:
        here, depth = stack.pop()
        try:
            with os.scandir(os.path.join(folder, here)) as entries:
                found = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            report.add_at("unreadable", here or ".", "", f"The folder: {error.strerror}.")
            continue
        for entry in found:
            name = os.path.join(here, entry.name)
            count += 1
            if count > _MOST_FILES:
                message = f"More than {_MOST_FILES:,} files; the rest was not read."
                return report.add_at("limit", here or ".", "", message)
            if entry.is_symlink():
                report.add_at("link", name, "", "A symbolic link, not followed.")
            elif not entry.is_dir(follow_symlinks=False):
                yield name
            elif entry.name == ".git":
                report.add_at("unknown-kind", name, "", "A folder of Git, not looked into.")
            elif depth >= _MOST_DEPTH:
                message = f"Folders more than {_MOST_DEPTH} deep; the rest was not read."
                report.add_at("limit", name, "", message)
            else:
                stack.append((name, depth + 1))
