"""The members of a zip, by their place: what zip tools disagree about is refused.

Nothing is ever extracted, and no path is made from a name. A member that is not packed is a stretch
of the file; one that is packed is unpacked within bounds, to memory or to a file without a name.
"""

from __future__ import annotations

import os
import struct
import tempfile
import zlib
from dataclasses import dataclass
from typing import Any

from steelyard.checkpoints._bytes import Bytes
from steelyard.checkpoints._inflate import Packed, all_pieces, first_pieces
from steelyard.checkpoints._part import Part
from steelyard.checkpoints._summed import read_summed
from steelyard.checkpoints._zip_directory import Listed, listed, wide
from steelyard.errors import CheckpointError, LimitError

_LOCAL = struct.Struct("<4s5H3L2H")
# As many tensors as a large model has, since PyTorch and NumPy make a member of each.
MOST_MEMBERS = 65_536
# Deflate packs zeros 1 : 1000, and weights hardly at all.
_MOST_RATIO = 100
_ANY_RATIO = 256 << 20
_MOST_UNPACKED = 16 << 30


@dataclass(frozen=True, slots=True)
class Member:
    """A member, and where its bytes begin."""

    name: str
    offset: int
    packed: int
    size: int
    crc: int
    deflated: bool


class Archive:
    """A zip whose central directory and local headers say the same.

    Args:
        file: The file; it stays open, and is closed by who opened it.
        unsummed: Whether a checksum of zero means that there is none, as in PyTorch's files.
        most: How many members are allowed.

    Attributes:
        members: By name, in the order in which they lie in the file.

    Raises:
        CheckpointError: It is no zip, or a member is encrypted, packed in another way than by
            deflate, there twice, lies over another, or is told differently in two places.
        LimitError: It has too many members, or one would unpack to too much.
    """

    def __init__(self, file: Bytes, *, unsummed: bool = False, most: int = MOST_MEMBERS) -> None:
        self.file = file
        self._unsummed = unsummed
        self.members: dict[str, Member] = {}
        end = 0
        entries, directory = listed(file, most)
        for entry in sorted(entries, key=lambda entry: entry.header):
            member = _member(file, entry)
            if entry.header < end:
                raise CheckpointError(f"{file.path}: {member.name!r:.100} lies over another member")
            end = member.offset + member.packed
            if self.members.setdefault(member.name, member) is not member:
                raise CheckpointError(f"{file.path}: {member.name!r:.100} is there twice")
        if end > directory:
            raise CheckpointError(f"{file.path}: its last member lies over the directory")

    @property
    def outer_names(self) -> list[str]:
        """The names that some tools would make a path outside of a folder of."""
        return [name for name in self.members if leads_out(name)]

    def read(self, name: str, most: int) -> bytes:
        """A small member as a whole.

        Raises:
            CheckpointError: There is none, or its bytes are not what its checksum says.
            LimitError: It is larger than `most`.
        """
        member = self._named(name)
        if member.size > most:
            raise LimitError(
                f"{self.file.path}: {name!r:.100} has {member.size:,} bytes; at most {most:,} "
                f"are read of it"
            )
        found = bytearray(member.size)
        self.fill(member, 0, found)
        return bytes(found)

    def fill(self, member: Member, skip: int, target: Any, ahead: bytes = b"") -> None:
        """Fills a buffer with all of a member but its first bytes, and looks at its checksum.

        Args:
            member: Of this zip.
            skip: How many bytes to leave out.
            target: As long as the rest.
            ahead: The bytes that are left out; without them there is no checksum.
        """
        view = memoryview(target).cast("B")
        if skip + len(view) != member.size:
            raise CheckpointError(f"{self.file.path}: {member.name!r:.100} has another length")
        if member.deflated:
            self._unpack(member, skip, view)
            return
        if len(ahead) < skip or (self._unsummed and not member.crc):
            self.file.into(member.offset + skip, view)
            return
        self._check(member, read_summed(self.file, member.offset + skip, view, zlib.crc32(ahead)))

    def first(self, member: Member, count: int) -> bytes:
        """The first bytes of a member, or all if it has fewer; nothing more is unpacked."""
        count = min(count, member.size)
        if not member.deflated:
            return self.file.read(member.offset, count)
        return b"".join(first_pieces(self._packed(member), count))

    def part(self, name: str) -> Part:
        """A member as a file of its own; one that is packed is unpacked and checked.

        Raises:
            CheckpointError: There is none, or it is damaged.
            LimitError: It would unpack to too much.
        """
        member, where = self._named(name), f"{self.file.path}: {name}"
        if not member.deflated:
            return Part(self.file, member.offset, member.size, where)
        if member.size > _MOST_UNPACKED:
            raise LimitError(
                f"{where}: {member.size:,} bytes; at most {_MOST_UNPACKED:,} are unpacked"
            )
        handle, path = tempfile.mkstemp(prefix="steelyard-")
        try:
            crc = 0
            with open(handle, "wb") as target:
                for piece in all_pieces(self._packed(member)):
                    crc = zlib.crc32(piece, crc)
                    target.write(piece)
            self._check(member, crc)
            whole = Bytes(path)
        finally:
            os.unlink(path)  # nobody else could use it by its name
        return Part(whole, 0, whole.size, where)

    def _named(self, name: str) -> Member:
        if (member := self.members.get(name)) is None:
            raise CheckpointError(f"{self.file.path}: it has no {name!r:.100}")
        return member

    def _packed(self, member: Member) -> Packed:
        where = f"{self.file.path}: {member.name!r:.100}"
        return Packed(self.file, member.offset, member.packed, member.size, where)

    def _unpack(self, member: Member, skip: int, view: memoryview) -> None:
        crc, at = 0, -skip
        for piece in all_pieces(self._packed(member)):
            crc = zlib.crc32(piece, crc)
            kept = piece[max(0, -at) :]
            begin = max(0, at)
            view[begin : begin + len(kept)] = kept
            at += len(piece)
        self._check(member, crc)

    def _check(self, member: Member, crc: int) -> None:
        if self._unsummed and not member.crc:
            return
        if crc != member.crc:
            raise CheckpointError(
                f"{self.file.path}: {member.name!r:.100} is damaged: its checksum does not fit"
            )


def is_zip(file: Bytes) -> bool:
    """Whether a file begins as an archive does."""
    return file.size >= 22 and file.read(0, 4) in (b"PK\3\4", b"PK\5\6")


def leads_out(name: str) -> bool:
    """Whether some tools would make a path outside of a folder of a name."""
    parts = name.replace("\\", "/").split("/")
    return ".." in parts or parts[0] == "" or parts[0][1:2] == ":"


def _member(file: Bytes, entry: Listed) -> Member:
    """A member whose local header says what the directory says."""
    where = f"{file.path}: {entry.name!r:.100}"
    fields = _LOCAL.unpack(file.read(entry.header, _LOCAL.size))
    magic, _, flags, method, _, _, crc, packed, size, name_length, extra_length = fields
    if magic != b"PK\3\4":
        raise CheckpointError(f"{where} is not where the directory says")
    rest = file.read(entry.header + _LOCAL.size, name_length + extra_length)
    size, packed = wide(where, rest[name_length:], (size, packed))
    later = bool(flags & 8)  # the sizes follow the bytes, and may be zero here
    same = rest[:name_length] == entry.raw_name
    same = same and (method, flags) == (entry.method, entry.flags)
    told = ((crc, entry.crc), (packed, entry.packed), (size, entry.size))
    if not same or any(here != there and not (later and here == 0) for here, there in told):
        raise CheckpointError(f"{where} is told differently in the directory and before its bytes")
    deflated = method == 8
    if not deflated and entry.packed != entry.size:
        raise CheckpointError(f"{where} is not packed, and has two sizes")
    if deflated and entry.size > max(_ANY_RATIO, _MOST_RATIO * entry.packed):
        raise LimitError(
            f"{where}: {entry.packed:,} bytes that unpack to {entry.size:,}; at most "
            f"{_MOST_RATIO} times as many are unpacked"
        )
    offset = entry.header + _LOCAL.size + name_length + extra_length
    return Member(entry.name, offset, entry.packed, entry.size, entry.crc, deflated)
