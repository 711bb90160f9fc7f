"""Formats that are a list of arrays: what they declare, against what is there."""

import struct
from collections.abc import Iterator
from functools import partial

import numpy as np
from tests.hostile.case import Case, Listed, Refused, written
from tests.hostile.good import (
    KERNEL,
    M,
    bundle,
    index,
    npy,
    npz,
    orbax,
    pt,
    row,
    safetensors,
    saved_model,
    state_dict,
    tensor,
    tensors,
    told,
)

_DATA = KERNEL.tobytes()
_HUGE = (1 << 20, 1 << 20, 1 << 20)


def bombs() -> Iterator[Case]:
    yield from _safetensors()
    yield from _numpy()
    yield from _torch()
    yield from _tensorflow()
    yield from _orbax()


def _headers() -> Iterator[tuple[str, dict, Refused]]:
    """What a header of safetensors says of 48 bytes."""
    yield "shape", {"a": told() | {"shape": list(_HUGE)}}, Refused("by its shape")
    yield "overflow", {"a": told() | {"shape": [1 << 62, 4]}}, Refused("no shape")
    yield "negative", {"a": told() | {"shape": [-3, -4]}}, Refused("no shape")
    yield "beyond", {"a": told() | {"data_offsets": [0, 1 << 40]}}, Refused()
    yield "backward", {"a": told() | {"data_offsets": [48, 0]}}, Refused("offsets")
    yield "overlap", {"a": told(), "b": told()}, Refused("overlap")
    yield "hole", {"a": told(8)}, Refused("hole")
    yield (
        "trailing",
        {"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}},
        Refused("no array"),
    )
    yield "axes", {"a": told() | {"shape": [1] * 40 + [3, 4]}}, Refused("no shape")
    yield "truth", {"a": told() | {"shape": [True, 12]}}, Refused("no shape")
    yield "dtype", {"a": told() | {"dtype": "F32; import os"}}, Refused("no dtype")
    yield "list", {"a": [1, 2, 3]}, Refused()


def _safetensors() -> Iterator[Case]:
    for what, header, end in _headers():
        data = safetensors(header, _DATA)
        yield Case("bombs", "safetensors", what, written("x.safetensors", data), end)
        make = partial(index, weight_map={"a": "x.safetensors"}, data=data)
        yield Case("bombs", "safetensors-index", what, make, end)
    for length in (1 << 40, (1 << 64) - 1, 33 << 20):
        data = struct.pack("<Q", length) + tensors("a")[8:]
        name, end = f"header-of-{length}", Refused()
        yield Case("bombs", "safetensors", name, written("x.safetensors", data), end)
    many = {f"a{i}": "x.safetensors" for i in range(300_000)}
    yield Case("bombs", "safetensors-index", "300000-names", partial(index, weight_map=many), end)
    shards = {f"a{i}": f"{i}.safetensors" for i in range(20_000)}
    end = Refused("20,000 files", limit=True)
    yield Case("bombs", "safetensors-index", "many-shards", partial(index, weight_map=shards), end)


def _npy(shape: str, descr: str = "<f4", order: str = "False") -> bytes:
    text = f"{{'descr': '{descr}', 'fortran_order': {order}, 'shape': {shape}, }}".encode()
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(text)) + text + _DATA


def _numpy() -> Iterator[Case]:
    for what, data, end in (
        ("shape", _npy(str(_HUGE)), Refused("by its shape")),
        ("overflow", _npy("(4611686018427387904, 4)"), Refused("no shape")),
        ("long-number", _npy("(" + "9" * 9000 + ",)"), Refused()),
        ("code", _npy("__import__('os').system('x')"), Refused("no dtype, order")),
        ("dtype", _npy("(3, 4)", "<f99999999999"), Refused()),
        ("fields", npy(np.zeros(2, [("a", "<f4"), ("b", "<f4")])), Refused()),
        ("version", b"\x93NUMPY\7\0" + _npy("(3, 4)")[8:], Refused("not known")),
        ("deep", _npy("(" * 4000), Refused()),
        ("long-header", b"\x93NUMPY\2\0\xff\xff\xff\x7f" + _DATA, Refused("cut off")),
    ):
        yield Case("bombs", "npy", what, written("x.npy", data), end)
        zipped = npz(M("a.npy", data))
        yield Case("bombs", "npz", what, written("x.npz", zipped), end)
    end = Refused("unpack to", limit=True)
    yield Case("bombs", "npz", "zeros", written("x.npz", _zeros), end)


def _zeros() -> bytes:
    """257 MiB of zeros in 260 kB."""
    bomb = _npy("(67371008,)")[: -len(_DATA)] + bytes(257 << 20)
    return npz(M("a.npy", bomb, True))


def _torch() -> Iterator[Case]:
    items = {
        "stride-zero": (tensor((1 << 25, 1 << 25), (0, 0)), Refused("are shown", limit=True)),
        "stride-beyond": (tensor((3, 4), (1 << 40, 1)), Refused("reaches to")),
        "offset-beyond": (tensor(offset=1 << 40), Refused("reaches to")),
        "negative-offset": (tensor(offset=-1), Refused("no shape")),
        "negative-stride": (tensor((3, 4), (-4, 1)), Refused("no shape")),
        "numel": (tensor(count=1 << 40), Refused("entries are told")),
        "no-storage": (tensor(key="7"), Refused("not there")),
        "traversal": (tensor(key="../../outside/secret"), Refused("not there")),
        "axes": (tensor((1,) * 40, (1,) * 40), Refused("no shape")),
        "rank": (tensor((3, 4), (1,)), Refused("strides")),
    }
    for what, (value, end) in items.items():
        data = pt(state_dict(("a", value)))
        yield Case("bombs", "pt", what, written("x.pt", data), end)
    for what, pickle, end in _pickles():
        yield Case("bombs", "pt", what, written("x.pt", pt(pickle)), end)


def _pickles() -> Iterator[tuple[str, bytes, Listed | Refused]]:
    doubled = b"\x80\2)" + b"".join(b"q\0h\0\x86" for _ in range(60)) + b"."
    limit = Refused(limit=True)
    yield "tuples-that-double", doubled, limit
    yield "list-in-itself", b"\x80\2]q\0h\0a.", limit
    yield "lists-in-lists", b"\x80\2" + b"]" * 100_000 + b"a" * 99_999 + b".", limit
    yield "long-integer", b"\x80\2\x8b\xff\xff\xff\x7f.", Refused("damaged")
    yield "long-text", b"\x80\2X\xff\xff\xff\x7f.", Refused("damaged")
    yield "long-text-of-8-bytes", b"\x80\4\x8d" + b"\xff" * 7 + b"\x7f.", Refused("damaged")
    yield "many-instructions", b"\x80\2" + b"N0" * 3_000_000 + b"N.", Refused()
    yield "memo", b"\x80\2Nr\xff\xff\xff\xff.", Listed(0)
    yield "nothing", b"", Refused()
    yield "pops-nothing", b"\x80\2a.", Refused("damaged")


def _tensorflow() -> Iterator[Case]:
    wrong = {
        "shape": (row(shape=_HUGE), Refused("by its shape")),
        "negative": (row(shape=(-3, -4)), Refused("no shape")),
        "overflow": (row(shape=(1 << 62, 4)), Refused("no shape")),
        "beyond": (row(offset=1 << 40), Refused("cut off")),
        "negative-offset": (row(offset=-1), Refused("place")),
        "size": (row(size=1 << 40), Refused("by its shape")),
    }
    for what, (item, end) in wrong.items():
        for name, make in (("tensorflow", bundle), ("saved-model", saved_model)):
            yield Case("bombs", name, what, partial(make, items=[item], data=_DATA), end)


def _orbax() -> Iterator[Case]:
    wrong = {
        "shape": (dict(shape=_HUGE), Refused()),
        "negative": (dict(shape=(-3, -4)), Refused("no shape")),
        "overflow": (dict(shape=(1 << 62, 4)), Refused("no shape")),
        "axes": (dict(shape=(1,) * 40, chunks=(1,) * 40), Refused("no shape")),
        "large-piece": (
            dict(shape=(1 << 14, 1 << 14), chunks=(1 << 14, 1 << 14)),
            Listed(1, unread="read"),
        ),
        "many-pieces": (dict(shape=(1 << 13, 1 << 13), chunks=(1, 1)), Listed(1, unread="at most")),
        "empty-piece": (dict(chunks=(0, 4)), Refused("pieces of")),
        "object": (dict(dtype="|O"), Listed(0)),
        "packing": (dict(compressor={"id": "blosc"}), Refused("not read")),
        "filters": (dict(filters=[{"id": "delta"}]), Refused("with filters")),
    }
    for what, (changes, end) in wrong.items():
        make = partial(orbax, arrays={"a": KERNEL}, **changes)
        yield Case("bombs", "orbax", what, make, end)
