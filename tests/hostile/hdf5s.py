"""HDF5 that leads out of its file, or that makes much out of little."""

import zlib
from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from tests.hostile.case import Case, Listed, Refused, bait
from tests.hostile.good import HDF5, hdf5_in


def _top(file: Any) -> str:
    return "layers" if "layers" in file else "model_weights"


def _vars(file: Any, name: str = "odd") -> Any:
    """A place where a weight may be, in either kind of file."""
    top = _top(file)
    path = f"{top}/{name}/vars" if top == "layers" else f"{top}/{name}"
    return file.require_group(path)


def _soft(file: Any) -> None:
    _vars(file)["0"] = h5py.SoftLink(f"/{_top(file)}")
    _vars(file)["1"] = h5py.SoftLink("/nowhere")


def _outward(folder: Path, what: str, file: Any) -> None:
    secret, group = str(bait(folder)), _vars(file)
    if what == "external-link":
        group["0"] = h5py.ExternalLink(secret, "/")
        group["1"] = h5py.ExternalLink("../outside/secret", "/x")
    elif what == "external-data":
        group.create_dataset("0", (16,), "float32", external=[(secret, 0, 64)])
        group.create_dataset("1", (16,), "float32", external=[("../outside/secret", 0, 64)])
    else:
        layout = h5py.VirtualLayout((3, 4), "float32")
        layout[:] = h5py.VirtualSource(secret, "a", (3, 4))
        group.create_virtual_dataset("0", layout)


def links() -> Iterator[Case]:
    for name in HDF5:
        yield Case("links", name, "soft", partial(hdf5_in, name, make=_soft), Listed(2, ("link",)))
        for what, code in (
            ("external-link", "link"),
            ("external-data", "external"),
            ("virtual", "virtual"),
        ):

            def make(folder: Path, name: str = name, what: str = what) -> Path:
                return hdf5_in(name, folder, partial(_outward, folder, what))

            yield Case("links", name, what, make, Listed(2, (code,)))


def _shape(file: Any) -> None:
    _vars(file).create_dataset("0", (1 << 20, 1 << 20), "float32", chunks=(64, 64))


def _chunk(file: Any) -> None:
    """One chunk of 1 GiB, of which nothing but zeros would be kept."""
    _raw_chunk(file, (1 << 14, 1 << 14), zlib.compress(bytes(1 << 20)))


def _raw_chunk(file: Any, shape: tuple[int, ...], data: bytes, times: int = 1) -> None:
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_chunk(shape)
    for _ in range(times):
        plist.set_deflate(9)
    space = h5py.h5s.create_simple(shape)
    made = h5py.h5d.create(_vars(file).id, b"0", h5py.h5t.IEEE_F32LE, space, plist)
    made.write_direct_chunk((0,) * len(shape), data)


def _twice(file: Any) -> None:
    """256 MiB of zeros, deflated twice to a kilobyte."""
    _raw_chunk(file, (1 << 13, 1 << 13), _zeros(), 2)


@cache
def _zeros() -> bytes:
    once = zlib.compressobj(1)
    piece = bytes(1 << 20)
    packed = b"".join(once.compress(piece) for _ in range(256)) + once.flush()
    return zlib.compress(packed, 9)


def _deep(file: Any) -> None:
    file.create_group("/".join("d" * 3000))


def _cycle(file: Any) -> None:
    group = _vars(file)
    group["again"], group["root"] = file[_top(file)], file["/"]


def _aliases(file: Any) -> None:
    group = _vars(file)
    group["0"] = np.ones(3, "float32")
    for n in range(1, 5001):
        group[str(n)] = group["0"]


def _many(file: Any) -> None:
    for n in range(2000):
        _vars(file).create_group(str(n))


def _long_number(file: Any) -> None:
    file.create_group(f"{_top(file)}/dense_{'9' * 5000}/vars")["0"] = np.ones(3, "float32")


def _many_weights(file: Any) -> None:
    group = _vars(file)
    for n in range(4000):
        group[str(n)] = np.float32(n)


def _many_added(file: Any) -> None:
    """Weights each of which might be that of another, by its name."""
    added = _vars(file).parent.create_group("steelyard_added/vars")
    for n in range(2000):
        _vars(file)[f"w{n}"], added[f"w{n}_u"] = np.float32(n), np.float32(n)


def _long_text(file: Any) -> None:
    """A name that stands for 100 GB of text."""
    kind = h5py.h5t.C_S1.copy()
    kind.set_size(50_000)
    h5py.h5a.create(_vars(file).id, b"name", kind, h5py.h5s.create(h5py.h5s.SCALAR))


def _long_name(file: Any) -> None:
    _vars(file).attrs["name"] = np.bytes_(b"n" * (60 << 20))


def _long_list(file: Any) -> None:
    """Sixty million names."""
    file[_top(file)].attrs["layer_names"] = np.full(60 << 20, b"n", "S1")
    file["/"].attrs["layer_names"] = np.full(1, b"n", "S1")


def _many_lists(file: Any) -> None:
    """A list in parts, of which there is no end."""
    for part in range(1000):
        file[_top(file)].attrs[f"weight_names{part}"] = np.full(30_000, b"n", "S1")


BOMBS = {
    "shape": (_shape, Listed(3, ("bomb",), unread="declares")),
    "chunk": (_chunk, Listed(3, ("bomb",), unread="declares")),
    "double-deflate": (_twice, Listed(3, ("bomb",), unread="declares")),
    "deep-groups": (_deep, Refused("deep", limit=True)),
    "cycle": (_cycle, Listed(2, ("alias",))),
    "aliases": (_aliases, Listed(3, ("alias",))),
    "many-groups": (_many, Listed(2)),
    "long-name": (_long_name, Refused(limit=True)),
    "long-list": (_long_list, Refused(limit=True)),
    "many-lists": (_many_lists, Refused(limit=True)),
    "long-number": (_long_number, Listed(3)),
    "many-weights": (_many_weights, Listed(4002)),
    "many-added": (_many_added, Listed()),
    "long-text": (_long_text, Listed(2)),
}


_EVERYWHERE = ("shape", "cycle", "deep-groups")


def bombs() -> Iterator[Case]:
    for name in HDF5:
        for what, (make, end) in BOMBS.items():
            if name not in ("weights.h5", "keras") and what not in _EVERYWHERE:
                continue  # one and the same walk
            if name == "keras" and what.startswith(("long-", "many-")):
                continue
            yield Case("bombs", name, what, partial(hdf5_in, name, make=make), end)
