"""The members of a zip, by their place: what zip tools disagree about is refused."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from steelyard.checkpoints._bytes import Bytes
from steelyard.checkpoints._directory import Listed, listed
from steelyard.errors import CheckpointError, LimitError

_LOCAL = struct.Struct("<4s5H3L2H")
_CHUNK = 1 << 20
# Above this, the checksum of bytes that are not inflated would take longer than reading them.
CHECKED = 1 << 20


@dataclass(frozen=True, slots=True)
class Member:
    """A member, and where its bytes begin."""

    name: str
    offset: int
    packed: int
    size: int
    crc: int
    deflated: bool


class Members:
    """A zip whose central directory and local headers say the same.

    Args:
        file: The file; it stays open, and is closed by who opened it.
        checked: Whether the checksums of members that are not packed are looked at.

    Raises:
        CheckpointError: It is no zip, or a member is encrypted, packed in another way than by
            deflate, there twice, lies over another, or is told differently in two places.
        LimitError: It has too many members.
    """

    def __init__(self, file: Bytes, *, checked: bool = True) -> None:
        self.file = file
        self._checked = checked
        self.by_name: dict[str, Member] = {}
        end = 0
        entries, directory = listed(file)
        for entry in sorted(entries, key=lambda entry: entry.header):
            member = _member(file, entry)
            if entry.header < end:
                raise CheckpointError(f"{file.path}: {member.name!r:.100} lies over another member")
            end = member.offset + member.packed
            if self.by_name.setdefault(member.name, member) is not member:
                raise CheckpointError(f"{file.path}: {member.name!r:.100} is there twice")
        if end > directory:
            raise CheckpointError(f"{file.path}: its last member lies over the directory")

    def read(self, name: str, most: int) -> bytes:
        """A small member as a whole.

        Raises:
            CheckpointError: There is none, or its bytes are not what its checksum says.
            LimitError: It is larger than `most`.
        """
        member = self.by_name.get(name)
        if member is None:
            raise CheckpointError(f"{self.file.path}: it has no {name!r:.100}")
        if member.size > most:
            raise LimitError(
                f"{self.file.path}: {name!r:.100} has {member.size:,} bytes; at most {most:,} "
                f"are read of it"
            )
        found = bytearray(member.size)
        self.fill(member, 0, found)
        return bytes(found)

    def fill(self, member: Member, skip: int, target: Any, ahead: bytes = b"") -> None:
        """Fills a buffer with all of a member but its first bytes, and checks what can be.

        Args:
            member: Of this zip.
            skip: How many bytes to leave out.
            target: As long as the rest.
            ahead: The bytes that are left out, where they are known; they belong to the checksum.
        """
        view = memoryview(target).cast("B")
        if skip + len(view) != member.size:
            raise CheckpointError(f"{self.file.path}: {member.name!r:.100} has another length")
        if member.deflated:
            self._inflate(member, skip, view)
            return
        self.file.into(member.offset + skip, view)
        if self._checked and member.size <= CHECKED and len(ahead) == skip:
            self._check(member, zlib.crc32(view, zlib.crc32(ahead)))

    def first(self, member: Member, count: int) -> bytes:
        """The first bytes of a member, or all if it has fewer; nothing more is unpacked."""
        count = min(count, member.size)
        if not member.deflated:
            return self.file.read(member.offset, count)
        found = bytearray()
        for piece in self._pieces(member, count):
            found += piece
        return bytes(found)

    def _inflate(self, member: Member, skip: int, view: memoryview) -> None:
        crc, at = 0, -skip
        for piece in self._pieces(member, member.size, whole=True):
            crc = zlib.crc32(piece, crc)
            kept = piece[max(0, -at) :]
            begin = max(0, at)
            view[begin : begin + len(kept)] = kept
            at += len(piece)
        self._check(member, crc)

    def _pieces(self, member: Member, most: int, whole: bool = False) -> Iterator[bytes]:
        """What deflate gives, up to `most` bytes; if it is the whole, neither more nor less."""
        where = f"{self.file.path}: {member.name!r:.100}"
        inflate = zlib.decompressobj(-15)
        read = given = 0
        rest = b""
        try:
            while not inflate.eof and given < most + whole:
                if not rest and read < member.packed:
                    count = min(_CHUNK, most + 4096, member.packed - read)
                    rest = self.file.read(member.offset + read, count)
                    read += count
                before = len(rest)
                piece = inflate.decompress(rest, min(_CHUNK, most + whole - given))
                rest = inflate.unconsumed_tail
                if not piece and read == member.packed and len(rest) == before:
                    break
                given += len(piece)
                if given > most:
                    raise CheckpointError(f"{where} unpacks to more than it announces")
                yield piece
        except zlib.error as error:
            raise CheckpointError(f"{where} cannot be unpacked: {error}") from error
        if whole and (given < most or not inflate.eof):
            raise CheckpointError(f"{where} unpacks to less than it announces")
        if whole and (read < member.packed or inflate.unused_data):
            raise CheckpointError(f"{where} has bytes after its end")

    def _check(self, member: Member, crc: int) -> None:
        if crc != member.crc:
            raise CheckpointError(
                f"{self.file.path}: {member.name!r:.100} is damaged: its checksum does not fit"
            )


def _member(file: Bytes, entry: Listed) -> Member:
    """A member whose local header says what the directory says."""
    where = f"{file.path}: {entry.name!r:.100}"
    fields = _LOCAL.unpack(file.read(entry.header, _LOCAL.size))
    magic, _, flags, method, _, _, crc, packed, size, name_length, extra_length = fields
    if magic != b"PK\3\4":
        raise CheckpointError(f"{where} is not where the directory says")
    name = file.read(entry.header + _LOCAL.size, name_length)
    offset = entry.header + _LOCAL.size + name_length + extra_length
    file.read(offset, 0)  # is it in the file at all?
    later = bool(flags & 8)  # the sizes follow the bytes, and may be zero here
    same = name == entry.raw_name and method == entry.method and flags == entry.flags
    same = same and _fits(crc, entry.crc, later)
    same = same and _fits(packed, entry.packed, later) and _fits(size, entry.size, later)
    if not same:
        raise CheckpointError(f"{where} is told differently in the directory and before its bytes")
    deflated = method == 8
    if not deflated and entry.packed != entry.size:
        raise CheckpointError(f"{where} is not packed, and has two sizes")
    return Member(entry.name, offset, entry.packed, entry.size, entry.crc, deflated)


def _fits(here: int, there: int, later: bool) -> bool:
    """Whether a number of the local header is that of the directory, or stands elsewhere."""
    return here in (there, 0xFFFFFFFF) or (later and here == 0)
