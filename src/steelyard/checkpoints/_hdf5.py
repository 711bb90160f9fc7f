"""What an HDF5 file holds, by its hard links; runs in a process of its own (`_worker.py`).

Nothing is followed that leads out of the file, or that makes data up: external and soft links,
external storage, virtual datasets. Each is reported. Each object is visited once, by its address
in the file. Reading no data, the listing costs a few small reads for each object.
"""

from __future__ import annotations

import math
from typing import Any

import h5py
import numpy as np

from steelyard.checkpoints._hdf5_types import dtype_name

# The attributes that name what a file holds; all others stay unread.
_ATTRIBUTES = ("name", "model_config", "training_config", "keras_version", "backend")
_LISTS = ("layer_names", "weight_names")
_WEAK = {h5py.h5l.TYPE_SOFT: "a soft link", h5py.h5l.TYPE_EXTERNAL: "an external link"}
_MOST_TEXT = 32 << 20  # bytes of all paths and attributes; Keras itself parts those above 64 KB


class Excess(Exception):
    """A file that holds more than is allowed."""


class Listing:
    """One walk through a file.

    Args:
        root: The open file, an `h5py.File`.
        limits: `count` of objects, `depth` of groups, `ratio` of declared to stored bytes.
    """

    def __init__(self, root: Any, limits: dict[str, int]) -> None:
        self.root, self.limits = root, limits
        self.groups: dict[str, dict[str, Any]] = {}
        self.tensors: list[dict[str, Any]] = []
        self.odd: list[tuple[str, str, str]] = []
        self._seen: dict[int, str] = {}
        self._texts_read = self._names_read = 0

    def run(self) -> dict[str, Any]:
        """Walks, and gives what was found as plain values."""
        stack = [("", self.root.id)]
        self._seen[h5py.h5o.get_info(self.root.id).addr] = ""
        while stack:
            path, group = stack.pop()
            self.groups[path] = self._attributes(group, path)
            stack += self._members(path, group)
        return {"groups": self.groups, "tensors": self.tensors, "odd": self.odd}

    def _members(self, path: str, group: Any) -> list[tuple[str, Any]]:
        """The groups right below a group; its datasets are listed on the way."""
        found = []
        for number, name in enumerate(group):
            self._check_count(number)
            here = f"{path}/{name.decode('utf-8', 'backslashreplace')}".lstrip("/")
            self._count_text(len(here))
            kind = group.links.get_info(name).type
            if kind != h5py.h5l.TYPE_HARD:
                self._report("link", here, f"{_WEAK.get(kind, 'a link')}, not followed")
                continue
            member = h5py.h5o.open(group, name)
            if self._is_known(member, here):
                continue
            if isinstance(member, h5py.h5g.GroupID):
                if here.count("/") >= self.limits["depth"]:
                    raise Excess(f"groups are nested more than {self.limits['depth']} deep")
                found.append((here, member))
            elif isinstance(member, h5py.h5d.DatasetID):
                self._dataset(member, here)
        return found

    def _check_count(self, more: int) -> None:
        # What is odd counts too: a million soft links are as long to list as a million groups.
        if len(self._seen) + len(self.odd) > self.limits["count"] or more > self.limits["count"]:
            raise Excess(f"it holds more than {self.limits['count']:,} objects")

    def _count_text(self, more: int) -> None:
        self._texts_read += more
        if self._texts_read > _MOST_TEXT:
            raise Excess(f"its names and attributes take more than {_MOST_TEXT:,} bytes")

    def _is_known(self, member: Any, path: str) -> bool:
        address = h5py.h5o.get_info(member).addr
        if address not in self._seen:
            self._seen[address] = path
            return False
        self._report("alias", path, f"the same object as {self._seen[address] or 'the root'!r}")
        return True

    def _dataset(self, data: Any, path: str) -> None:
        layout = data.get_create_plist()
        if layout.get_external_count():
            self._report("external", path, "its data lie in another file, which is not opened")
            return
        if layout.get_layout() == h5py.h5d.VIRTUAL:
            self._report("virtual", path, "a virtual dataset, made up of others, is not opened")
            return
        dtype, order = dtype_name(data.get_type(), self._text(data, b"dtype"))
        if not dtype:
            self._report("dtype", path, "holds no numbers, so it is no weight")
            return
        if data.get_space().get_simple_extent_type() == h5py.h5s.NULL:
            self._report("dtype", path, "is empty: it has no shape")
            return
        self._tensor(data, path, dtype, order, layout)

    def _tensor(self, data: Any, path: str, dtype: str, order: str, layout: Any) -> None:
        declared = math.prod(data.shape) * data.get_type().get_size()
        held = data.get_storage_size()
        contiguous = layout.get_layout() == h5py.h5d.CONTIGUOUS
        offset = data.get_offset() if contiguous and held == declared else None
        others = h5py.h5a.get_num_attrs(data) - h5py.h5a.exists(data, b"dtype")
        self.tensors.append(
            dict(path=path, shape=list(data.shape), dtype=dtype, order=order)
            | dict(offset=offset, declared=declared, held=held, others=others)
        )
        if declared > (1 << 20) and declared > self.limits["ratio"] * held:
            self._report("bomb", path, f"declares {declared:,} bytes and stores {held:,}")

    def _attributes(self, group: Any, path: str) -> dict[str, Any]:
        names = [name for name in _ATTRIBUTES if h5py.h5a.exists(group, name.encode())]
        found: dict[str, Any] = {name: self._text(group, name.encode()) for name in names}
        for name in _LISTS:
            if (entries := self._texts(group, name, path)) is not None:
                found[name] = entries
        if (others := h5py.h5a.get_num_attrs(group) - len(found)) > 0:
            found["others"] = others
        return found

    def _texts(self, group: Any, name: str, path: str) -> list[str] | None:
        """A list of names, which Keras writes in parts where it is long."""
        if h5py.h5a.exists(group, name.encode()):
            return self._list(group, name.encode())
        parts: list[str] = []
        number = 0
        while h5py.h5a.exists(group, f"{name}{number}".encode()):
            self._count_text(64)
            parts += self._list(group, f"{name}{number}".encode())
            self._check_count(number)
            number += 1
        return parts if number else None

    def _list(self, group: Any, name: bytes) -> list[str]:
        self._names_read += h5py.h5a.open(group, name).get_space().get_simple_extent_npoints()
        self._check_count(self._names_read)
        value = self._value(group, name)
        if value is None or isinstance(value, h5py.Empty):
            return []
        found = [_as_text(x) for x in np.asarray(value).reshape(-1)]
        self._count_text(sum(map(len, found)))
        return found

    def _text(self, thing: Any, name: bytes) -> str:
        if not h5py.h5a.exists(thing, name):
            return ""
        value = self._value(thing, name)
        text = _as_text(value) if isinstance(value, str | bytes | np.bytes_) else ""
        self._count_text(len(text))
        return text

    def _value(self, thing: Any, name: bytes) -> Any:
        held = h5py.h5a.open(thing, name)
        size = held.get_space().get_simple_extent_npoints() * held.get_type().get_size()
        if size > _MOST_TEXT:
            raise Excess(f"the attribute {name.decode()!r} takes more than {_MOST_TEXT:,} bytes")
        wrapped = h5py.Group(thing) if isinstance(thing, h5py.h5g.GroupID) else h5py.Dataset(thing)
        return wrapped.attrs[name.decode()]

    def _report(self, code: str, path: str, message: str) -> None:
        self._check_count(0)
        self.odd.append((code, path, message))


def _as_text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
