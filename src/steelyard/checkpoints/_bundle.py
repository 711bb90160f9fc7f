"""What a TensorFlow checkpoint has: a table of tensors, and their bytes in other files."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from steelyard.checkpoints._bytes import Bytes
from steelyard.checkpoints._crc32c import is_quick, masked_crc32c
from steelyard.checkpoints._protobuf import as_bytes, as_number, fields, varint
from steelyard.checkpoints._sorted_table import sorted_entries
from steelyard.checkpoints._tensor import Tensor, checked_shape, read_rows, read_tensor
from steelyard.errors import CheckpointError, LimitError

# By the numbers of types.proto.
DTYPES = {
    1: "float32",
    2: "float64",
    3: "int32",
    4: "uint8",
    5: "int16",
    6: "int8",
    8: "complex64",
    9: "int64",
    10: "bool",
    14: "bfloat16",
    17: "uint16",
    18: "complex128",
    19: "float16",
    22: "uint32",
    23: "uint64",
    24: "float8_e5m2",
    25: "float8_e4m3fn",
}
STRING = 7
_MOST_FILES = 512
_MOST_STRING = 32 << 20
# Of larger arrays, the checksum is looked at only if that is quick.
_CHECKED = 1 << 20


@dataclass(slots=True)
class Told:
    """What the table tells of a tensor."""

    kind: int = 0
    shape: tuple[int, ...] = ()
    file: int = 0
    offset: int = 0
    size: int = 0
    crc: int = 0
    slices: bool = False


class Bundle:
    """A checkpoint; a file of values is opened when one of its tensors is asked for.

    Args:
        path: Of the index.

    Raises:
        CheckpointError: There is no index, or it is damaged.
    """

    def __init__(self, path: str) -> None:
        self.told: dict[str, Told] = {}
        self._files: dict[int, Bytes] = {}
        self._count = 0
        with Bytes(path) as index:
            self.path, self._beside = index.path, index.beside
            self._stem = index.name.removesuffix(".index")
            for key, value in sorted_entries(index):
                self._add(key, value)
        if not self._count:
            raise CheckpointError(f"{self.path}: it does not say what it is the index of")

    def _add(self, key: bytes, value: bytes) -> None:
        try:
            if not key:
                self._count = _file_count(value)
            else:
                self.told[key.decode("utf-8")] = _told(value)
        except LimitError:
            raise
        except (CheckpointError, UnicodeDecodeError) as error:
            raise CheckpointError(f"{self.path}: {key!r:.100}: {error}") from error

    def tensor(self, key: str) -> Tensor:
        """A tensor whose bytes are in their file and as many as its shape asks for."""
        told = self.told[key]
        tensor = Tensor(key, told.shape, DTYPES[told.kind], told.offset)
        if tensor.nbytes != told.size:
            raise CheckpointError(
                f"{self.path}: {key!r:.100}: {tensor.nbytes:,} bytes by its shape, and "
                f"{told.size:,} are told"
            )
        self.file(told).read(told.offset + told.size, 0)
        return tensor

    def load(self, key: str) -> np.ndarray:
        """The stored array; its checksum is looked at if that is quick."""
        told = self.told[key]
        found = read_tensor(self.file(told), self.tensor(key))
        checked = told.size <= _CHECKED or is_quick()
        if checked and masked_crc32c(found.reshape(-1).view("uint8")) != told.crc:
            raise CheckpointError(f"{self.path}: {key!r:.100} is damaged: its checksum is another")
        return found

    def rows(self, key: str, begin: int, end: int) -> np.ndarray:
        """Some steps along the first axis of the stored array."""
        return read_rows(self.file(self.told[key]), self.tensor(key), begin, end)

    def text(self, key: str) -> bytes:
        """A single string: its length, the checksum of that, and its bytes."""
        told = self.told[key]
        if told.kind != STRING or told.shape or told.size > _MOST_STRING:
            raise CheckpointError(f"{self.path}: {key!r:.100} is no single string, or too long")
        data = self.file(told).read(told.offset, told.size)
        length, at = varint(data, 0)
        found = data[at + 4 :]
        if length != len(found):
            raise CheckpointError(f"{self.path}: {key!r:.100} has another length than it says")
        summed = length.to_bytes(4, "little") + data[at:]
        if masked_crc32c(summed) != told.crc:
            raise CheckpointError(f"{self.path}: {key!r:.100} is damaged: its checksum is another")
        return found

    def file(self, told: Told) -> Bytes:
        """The file that has the bytes of a tensor."""
        if not 0 <= told.file < self._count:
            raise CheckpointError(f"{self.path}: there is no file {told.file}")
        if told.file not in self._files:
            name = f"{self._stem}.data-{told.file:05d}-of-{self._count:05d}"
            self._files[told.file] = self._beside(name)
        return self._files[told.file]

    def close(self) -> None:
        """Closes the files; after that nothing can be read."""
        for file in self._files.values():
            file.close()


def _file_count(header: bytes) -> int:
    found = dict(fields(header))
    if found.get(2, 0):
        raise CheckpointError("its numbers are big-endian, which is not read")
    count = as_number(found.get(1, 0))
    if not 0 < count <= _MOST_FILES:
        raise LimitError(f"a checkpoint of {count:,} files; at most {_MOST_FILES} are read")
    return count


def _told(value: bytes) -> Told:
    told = Told()
    names = {1: "kind", 3: "file", 4: "offset", 5: "size", 6: "crc"}
    for number, found in fields(value):
        if number in names:
            setattr(told, names[number], as_number(found))
        elif number == 2:
            told.shape = _shape(as_bytes(found))
        elif number == 7:
            told.slices = True
    if told.offset < 0 or told.size < 0:
        raise CheckpointError("its place is none")
    return told


def _shape(message: bytes) -> tuple[int, ...]:
    lengths = []
    for number, found in fields(message):
        if number == 3 and found:
            raise CheckpointError("its shape is unknown")
        if number == 2:
            lengths.append(as_number(dict(fields(as_bytes(found))).get(1, 0)))
    return checked_shape(lengths, "its shape")
