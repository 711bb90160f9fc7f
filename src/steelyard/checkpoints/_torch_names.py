"""The names that a PyTorch file may use, and what each stands for here: nothing of PyTorch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from steelyard.checkpoints._pickle_walk import Name, Odd, set_items
from steelyard.checkpoints._tensor import checked_shape, dtype_of
from steelyard.checkpoints._zip import Archive, Member
from steelyard.errors import CheckpointError, LimitError

# As PyTorch calls them: the storage that has it, and our name.
_STORAGES = {
    "FloatStorage": "float32",
    "DoubleStorage": "float64",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
    "ComplexFloatStorage": "complex64",
    "ComplexDoubleStorage": "complex128",
}
_STORAGE_NAMES = {
    **{f"torch.{name}": dtype for name, dtype in _STORAGES.items()},
    "torch.storage.UntypedStorage": "uint8",
}
_SAME = {"float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e8m0fnu"}
_SAME |= {*_STORAGES.values(), "uint16", "uint32", "uint64"}
_DTYPES = {f"torch.{name}": name for name in _SAME}
_OTHER = {"torch.device", "torch.Size", "_codecs.encode", "__builtin__.set", "builtins.set"}
_REBUILD = "torch._utils._rebuild_"
_TENSORS = {f"{_REBUILD}{kind}" for kind in ("tensor", "tensor_v2", "tensor_v3")}
_PARAMETER = f"{_REBUILD}parameter"
NAMES = {*_STORAGE_NAMES, *_DTYPES, *_OTHER, *_TENSORS, _PARAMETER, "collections.OrderedDict"}
# A view may show an entry several times; beyond this, not more often than there are entries.
_ANY_VIEW = 1 << 20


@dataclass(frozen=True, slots=True)
class Storage:
    """The bytes that one or several tensors are views of."""

    member: Member
    dtype: str


@dataclass(frozen=True, slots=True)
class View:
    """A tensor: some entries of a storage."""

    member: Member
    dtype: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    conj: bool = False
    neg: bool = False

    @property
    def span(self) -> int:
        """How many entries lie between the first and the last, both included."""
        return span(self.shape, self.strides)


def span(shape: tuple[int, ...], strides: tuple[int, ...]) -> int:
    """How many entries of a storage a view reaches over; none if it has none."""
    if 0 in shape:
        return 0
    return 1 + sum((n - 1) * stride for n, stride in zip(shape, strides, strict=True))


class Meaning:
    """What names and persistent ids of a PyTorch file stand for.

    Args:
        archive: The zip.
        folder: Where in it all that is PyTorch's lies: `"archive"`.
    """

    def __init__(self, archive: Archive, folder: str) -> None:
        self._archive = archive
        self._folder = folder

    def find(self, told: Any) -> Storage:
        """The storage that a persistent id tells of."""
        match told:
            case ("storage", Name() as kind, str() as key, _, int() as count):
                dtype = _STORAGE_NAMES.get(kind)
            case _:
                raise TypeError("a persistent id that is no storage")
        member = self._archive.members.get(f"{self._folder}/data/{key}")
        if dtype is None or member is None:
            raise CheckpointError(f"{self._where(key)}: it is told of, and it is not there")
        if member.deflated:
            raise CheckpointError(f"{self._where(key)}: it is packed, which PyTorch never does")
        if not 0 <= count * dtype_of(dtype).itemsize <= member.size:
            raise CheckpointError(
                f"{self._where(key)}: {count:,} entries are told, and {member.size:,} bytes there"
            )
        return Storage(member, dtype)

    def _where(self, key: str) -> str:
        return f"{self._archive.file.path}: storage {key!r:.100}"

    def call(self, name: str, arguments: tuple[Any, ...]) -> Any:
        """What comes of a call."""
        if name in _TENSORS:
            return self._view(name, arguments)
        if name == _PARAMETER and arguments and isinstance(arguments[0], View):
            return arguments[0]
        if name == "collections.OrderedDict":
            return _ordered(*arguments)
        if name in _OTHER:
            return Odd()
        raise TypeError(f"{name} is not called like this")

    def _view(self, name: str, arguments: tuple[Any, ...]) -> View:
        storage, offset, shape, strides = arguments[:4]
        if not isinstance(storage, Storage):
            raise TypeError("a tensor without a storage")
        dtype = storage.dtype
        if name.endswith("_v3"):
            dtype = _DTYPES[arguments[6]]
        flags = arguments[-1] if len(arguments) == 7 + name.endswith("_v3") else None
        turned = {
            key: isinstance(flags, dict) and flags.get(key) is True for key in ("conj", "neg")
        }
        where = self._where(storage.member.name)
        shape, strides = checked_shape(shape, where), checked_shape(strides, where)
        (offset,) = checked_shape((offset,), where)
        view = View(storage.member, dtype, offset, shape, strides, **turned)
        self._check_inside(view, where)
        return view

    def _check_inside(self, view: View, where: str) -> None:
        if len(view.shape) != len(view.strides):
            raise CheckpointError(f"{where}: as many strides as axes are due")
        entries = view.member.size // dtype_of(view.dtype).itemsize
        if view.offset + view.span > entries:
            raise CheckpointError(
                f"{where}: a tensor reaches to entry {view.offset + view.span:,} of {entries:,}"
            )
        if math.prod(view.shape) > max(entries, _ANY_VIEW):
            raise LimitError(
                f"{where}: {math.prod(view.shape):,} entries are shown, and {entries:,} are there"
            )


def _ordered(*arguments: Any) -> dict[Any, Any]:
    """An OrderedDict from nothing, or from a list of pairs."""
    found: dict[Any, Any] = {}
    (pairs,) = arguments or ([],)
    if not isinstance(pairs, list | tuple):
        raise TypeError("a dict of no pairs")
    for pair in pairs:
        set_items(found, list(pair) if isinstance(pair, list | tuple) and len(pair) == 2 else [0])
    return found
