"""A zip archive: what is odd about it, and its members, each scanned as what it is.

Nothing is unpacked to a file that has a name, and no path is built from the name of a member.
"""

from __future__ import annotations

import re
import stat
import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from steelyard.checkpoints import Part
from steelyard.errors import CheckpointError, LimitError
from steelyard.scanning._arrays import MAGIC, holds_objects
from steelyard.scanning._piece import Piece, nameless
from steelyard.scanning._report import Report
from steelyard.scanning._strings import is_obeyed, leads_out, shown

_MOST_MEMBERS = 65_536
_MOST_DIRECTORY = 16 << 20
_MOST_UNPACKED = 256 << 20
# Deflate packs zeros 1 : 1000, and weights hardly at all.
_MOST_RATIO = 100
_PIECE = 1 << 20
_END, _LOCATOR, _LOCAL = b"PK\5\6", b"PK\6\7", b"PK\3\4"
_DEFLATED = 8
_ENCRYPTED = 0x2041
# What PyTorch keeps as bytes beside its pickle.
_OF_TORCH = re.compile(
    r"[^/]*/(?:(?:data|constants|tensors)/\d+|\.data/\w+|version|byteorder"
    r"|\.format_version|\.storage_alignment|archive_version)"
)


class Member(NamedTuple):
    """A member, and where its bytes begin."""

    info: zipfile.ZipInfo
    begin: int


class Archive:
    """The members of a zip, all of them, those of one name too.

    Args:
        piece: Where it is.
        report: Takes what is odd about it.

    Raises:
        CheckpointError: Its directory is damaged.
        LimitError: It has too many members.
    """

    def __init__(self, piece: Piece, report: Report) -> None:
        self._piece, self._report = piece, report
        infos, self._directory = _listed(piece)
        names = [info.filename for info in infos]
        self.is_torch = any(re.fullmatch(r"[^/]*/data\.pkl", name) for name in names)
        self.members = list(self._checked(infos))
        self._overlaps()
        for name, count in Counter(names).items():
            if count > 1:
                self._add("zip-duplicate", name, f"{shown(name)} is there {count:,} times.")

    @property
    def kind(self) -> str:
        """What it is, by the names of its members."""
        names = {member.info.filename for member in self.members}
        if self.is_torch:
            return "PyTorch"
        if "config.json" in names and "metadata.json" in names:
            return "Keras"
        arrays = names and all(name.endswith(".npy") for name in names)
        return "arrays of NumPy" if arrays else "a zip archive"

    def pieces(self) -> Iterator[Piece]:
        """Each member that is to be looked into."""
        for member in self.members:
            self._report.check()
            name = member.info.filename
            is_folder = name.endswith("/") and not member.info.file_size
            if is_folder or member.info.flag_bits & _ENCRYPTED:
                continue
            if self.is_torch and _OF_TORCH.fullmatch(name):
                continue
            if re.fullmatch(r"[^/]*/code/.*\.py(?:\.debug_pkl)?", name) and self.is_torch:
                self._add("torchscript", name, "A program of TorchScript is in the archive.")
                continue
            try:
                yield self._inside(member)
            except CheckpointError as error:
                self._report.add_error(error, self._piece, shown_name(name))

    def _add(self, code: str, name: str, message: str) -> None:
        self._report.add(code, self._piece, shown_name(name), message)

    # --- What is odd ------------------------------------------------------------------------------

    def _checked(self, infos: list[zipfile.ZipInfo]) -> Iterator[Member]:
        for number, info in enumerate(infos):
            if not number % 1024:
                self._report.check()
            name = info.orig_filename
            self._named(info, name)
            if info.flag_bits & _ENCRYPTED:
                self._add("zip-encrypted", name, f"{shown(name)} is encrypted.")
                self._add("unknown-kind", name, f"{shown(name)} is encrypted, so it was not read.")
            if info.file_size > max(_MOST_UNPACKED, _MOST_RATIO * info.compress_size):
                size = f"{info.compress_size:,} bytes would unpack to {info.file_size:,}"
                self._add("zip-bomb", name, f"{shown(name)}: {size}.")
            try:
                yield Member(info, self._begin(info))
            except CheckpointError as error:
                self._report.add_error(error, self._piece, shown_name(name))

    def _named(self, info: zipfile.ZipInfo, name: str) -> None:
        if is_obeyed(name):
            self._add("terminal-escape", name, f"The name {shown(name)} is there.")
        if leads_out(name):
            self._add("zip-path", name, f"The name {shown(name)} leads out of the archive.")
        if stat.S_ISLNK(info.external_attr >> 16):
            self._add("zip-path", name, f"{shown(name)} is a symbolic link.")

    def _begin(self, info: zipfile.ZipInfo) -> int:
        """Where the bytes of a member begin, as its own header says."""
        head = self._piece.read(info.header_offset, 30)
        if len(head) < 30 or head[:4] != _LOCAL:
            raise CheckpointError("it is not where the directory of the archive says")
        fields = struct.unpack("<5H3L2H", head[4:])
        flags, method, packed, size, name_size, extra = *fields[1:3], *fields[6:]
        name = self._piece.read(info.header_offset + 30, name_size)
        text = name.decode("utf-8" if flags & 0x800 else "cp437", "replace")
        sizes = {(packed, info.compress_size), (size, info.file_size)}
        later = bool(flags & 8)  # the sizes follow the bytes, and may be zero here
        fit = all(a == b or a == 0xFFFFFFFF or (later and a == 0) for a, b in sizes)
        if text != info.orig_filename or method != info.compress_type or not fit:
            message = f"{shown(info.filename)} is told differently before its bytes."
            self._add("zip-mismatch", info.filename, message)
        begin = info.header_offset + 30 + name_size + extra
        if begin + info.compress_size > self._piece.size:
            raise CheckpointError("it is cut off")
        return begin

    def _overlaps(self) -> None:
        end, before = 0, ""
        for info, begin in sorted(self.members, key=lambda member: member.info.header_offset):
            if info.header_offset < end:
                message = f"The bytes of {shown(info.filename)} lie over those of {shown(before)}."
                self._add("zip-overlap", info.filename, message)
            self._hidden(end, info.header_offset)
            end, before = max(end, begin + info.compress_size), info.filename
        self._hidden(end, self._directory)

    def _hidden(self, start: int, end: int) -> None:
        """Between two members there may be the sizes of the first, and nothing like a member."""
        if start < end and _LOCAL in self._piece.read(start, min(end - start, 64)):
            message = f"A member at byte {start:,} is not in the directory of the archive."
            self._report.add("zip-hidden", self._piece, f"byte {start:,}", message)

    # --- Its members ------------------------------------------------------------------------------

    def _inside(self, member: Member) -> Piece:
        """A member as a piece; one that is packed is unpacked to a file without a name."""
        info, begin = member
        source, start = self._piece.part.source, self._piece.part.start
        label = f"{self._piece.part.name}: {info.filename}"
        if info.compress_type == zipfile.ZIP_STORED:
            part = Part(source, start + begin, info.compress_size, label)
        elif info.compress_type == _DEFLATED:
            start_of_array = self._array_of_numbers(member)
            part = nameless(start_of_array or self._unpacked(member), label)
        else:
            raise CheckpointError(f"it is packed in a way that is not read, {info.compress_type}")
        return self._piece.inside(shown_name(info.filename), part)

    def _array_of_numbers(self, member: Member) -> list[bytes]:
        """The first bytes of an array, if they say that numbers follow; else nothing."""
        if not member.info.filename.endswith(".npy"):
            return []
        first = next(self._unpacked(member), b"")
        if not first.startswith(MAGIC) or holds_objects(first)[0]:
            return []
        return [first]

    def _unpacked(self, member: Member) -> Iterator[bytes]:
        info, begin = member
        engine, made = zlib.decompressobj(-15), 0
        try:
            for at in range(0, info.compress_size, _PIECE):
                count = min(_PIECE, info.compress_size - at)
                packed = self._piece.read(begin + at, count)
                while packed:
                    self._report.check()
                    piece = engine.decompress(packed, _PIECE)
                    packed = engine.unconsumed_tail
                    if (made := made + len(piece)) > _MOST_UNPACKED:
                        raise LimitError(f"it unpacks to more than {_MOST_UNPACKED:,} bytes")
                    yield piece
        except zlib.error as error:
            raise CheckpointError(f"its packed bytes are damaged ({error})") from None
        if not engine.eof:
            raise CheckpointError("its packed bytes are cut off")


def shown_name(name: str) -> str:
    """The name of a member as a place."""
    return shown(name)[1:-1] if is_obeyed(name) else name


def is_archive(piece: Piece) -> bool:
    """Whether a zip ends where the piece ends; how it begins is left open."""
    tail = piece.read(max(0, piece.size - 22 - 0xFFFF), 22 + 0xFFFF)
    at = tail.rfind(_END)
    return at >= 0 and len(tail) - at >= 22 and _comment(tail, at) == len(tail) - at - 22


def _comment(tail: bytes, at: int) -> int:
    return int.from_bytes(tail[at + 20 : at + 22], "little")


def _listed(piece: Piece) -> tuple[list[zipfile.ZipInfo], int]:
    """The directory, if it is not too long to be read at all, and where it begins."""
    tail_start = max(0, piece.size - 22 - 0xFFFF)
    tail = piece.read(tail_start, 22 + 0xFFFF)
    at = tail.rfind(_END)
    if at < 0 or len(tail) - at < 22:
        raise CheckpointError("cut off, or no zip archive: it has no directory")
    count, size = struct.unpack("<HL", tail[at + 10 : at + 16])
    place = tail_start + at
    if piece.read(place - 20, 4) == _LOCATOR:
        end = struct.unpack("<Q", piece.read(place - 12, 8))[0]
        record = piece.read(min(end, piece.size), 56)
        if len(record) == 56:
            count, size = struct.unpack("<2Q", record[32:48])
    if count > _MOST_MEMBERS or size > _MOST_DIRECTORY:
        raise LimitError(f"{count:,} members; at most {_MOST_MEMBERS:,} are read")
    try:
        with zipfile.ZipFile(piece.stream()) as archive:
            return archive.infolist(), archive.start_dir
    except (zipfile.BadZipFile, ValueError, struct.error, OSError, NotImplementedError) as error:
        raise CheckpointError(f"the directory of the archive is damaged: {error}") from None
