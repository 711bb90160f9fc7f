"""Zips that tools read in different ways, or that unpack to too much."""

import json
import struct
from collections.abc import Callable, Iterator
from typing import Any

from tests.hostile.case import Case, Listed, Refused, written
from tests.hostile.good import CONFIG, KERNEL, ZIPS, M, W, hdf5, npy, state_dict, tensor, zipped

_NAMES = ("../../evil", "/abs/evil", "C:\\evil", "\\\\host\\evil", "a/../../../evil")
_ENDS = {"keras": "x.keras", "npz": "x.npz", "pt": "x.pt"}


def _members(name: str) -> list[M]:
    """The members of an honest file, the one with the values last."""
    if name == "keras":
        return [M("config.json", json.dumps(CONFIG).encode()), M(W, hdf5())]
    if name == "npz":
        return [M("a.npy", npy(KERNEL)), M("b.npy", npy(KERNEL))]
    return [
        M("archive/data.pkl", state_dict(("a", tensor()))),
        M("archive/data/0", KERNEL.tobytes()),
    ]


def _last(name: str, data: bytes | None = None, deflate: bool = False, **told: Any) -> bytes:
    *first, last = _members(name)
    data = last.data if data is None else data
    return zipped(*first, M(last.name, data, deflate, **told))


def _overlap(name: str) -> bytes:
    """Two entries of the directory, and one member."""
    first, last = _members(name)
    told = dict(at=0, size=len(first.data), packed=len(first.data))
    return zipped(first, M(last.name, last.data, central=told))


def _inside(name: str) -> bytes:
    """A member whose header is in the bytes of another."""
    first, last = _members(name)
    inner = struct.pack("<4s5H3L2H", b"PK\3\4", 20, 0, 0, 0, 0, 0, 0, 0, 1, 0) + b"y"
    host = M("z", inner)
    at = len(zipped(first, host)) - len(zipped()) - sum(46 + len(m.name) for m in (first, host))
    told = dict(at=at - len(inner), crc=0, size=0, packed=0, name=b"y")
    return zipped(first, host, M("y", b"", central=told), last)


def _tricks(name: str) -> Iterator[tuple[str, bytes, Listed | Refused]]:
    members, count = _members(name), 2 if name != "pt" else 1
    codes = ("zip-name",) if name == "keras" else ()
    note = "" if name == "keras" else "lead out"
    outer = [M(evil, b"x") for evil in _NAMES]
    yield "names-that-lead-out", zipped(*members, *outer), Listed(count, codes, note)
    yield "name-with-a-zero", zipped(*members, M("a\0b")), Refused("no right name")
    yield "no-name", zipped(*members, M("")), Refused("no right name")
    yield "twice", zipped(*members, members[-1]), Refused("there twice")
    yield "overlap", _overlap(name), Refused("over another|told differently")
    yield "inside", _inside(name), Refused("over another")
    yield "over-the-directory", _last(name, central=dict(size=1 << 20, packed=1 << 20)), Refused()
    for key, value in (("name", b"other"), ("method", 8), ("crc", 1), ("packed", 1), ("size", 1)):
        end = Refused("told differently")
        yield f"local-{key}", _last(name, local={key: value}), end
    yield "local-flags", _last(name, local=dict(flags=1)), Refused("told differently")
    yield "no-header", _last(name, local=dict(magic=b"QK\3\4")), Refused("not where")
    yield "beyond-the-end", _last(name, central=dict(at=1 << 30)), Refused("cut off")
    for flag in (1, 0x40, 0x2000):
        told = dict(flags=flag)
        yield f"encrypted-{flag}", _last(name, central=told, local=told), Refused("encrypted")
    told = dict(method=12)
    yield "bzip2", _last(name, central=told, local=told), Refused("method 12")
    told = dict(size=1)
    yield "two-sizes", _last(name, central=told, local=told), Refused("two sizes")
    yield "comment", zipped(*members, tail=b"PK\5\6"), Refused()
    yield "counts-one-less", zipped(*members, count=1), Refused("too many")
    yield "counts-one-more", zipped(*members, count=3), Refused("cut off|damaged")
    yield from _bombs(name)


def _bombs(name: str) -> Iterator[tuple[str, bytes, Listed | Refused]]:
    told = dict(size=1 << 31)
    end = Refused("unpack to", limit=True)
    yield "announced-bomb", _last(name, bytes(1 << 20), True, central=told, local=told), end
    if name != "pt":  # where a packed storage is refused for being packed
        bomb = (npy(KERNEL) if name == "npz" else b"") + bytes(8 << 20)
        told = dict(size=1000 if name == "keras" else len(npy(KERNEL)))
        hidden = _last(name, bomb, True, central=told, local=told)
        yield "hidden-bomb", hidden, Refused("more than") if name == "keras" else Listed(2)
    many = [M(f"d/{i}") for i in range(20_000)]
    crowd = zipped(*_members(name), *many)
    end = Refused("20,002 members", limit=True)
    yield "20000-members", crowd, end if name == "keras" else Listed()


def zips() -> Iterator[Case]:
    for name in ZIPS:
        for what, data, end in _tricks(name):
            yield Case("zip", name, what, written(_ENDS[name], data), end)


Trick = Callable[[str], bytes]
