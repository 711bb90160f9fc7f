"""JSON that is too deep, too large, or not what two parsers agree on."""

import json
import struct
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from tests.hostile.case import Case, Listed, Refused, written
from tests.hostile.configs import WITH_CONFIG
from tests.hostile.good import (
    CONFIG,
    KERNEL,
    M,
    W,
    config_in,
    hdf5,
    index,
    orbax,
    orbax_names,
    shards,
    told,
    unzipped,
    zipped,
)

_GOOD = json.dumps(CONFIG).encode()
# Each with a hole for the rest of an honest document.
_TRICKS = {
    "depth": b'{"x": ' + b"[" * 50_000 + b"]" * 50_000 + b", %s",
    "depth-of-objects": b'{"x": ' + b'{"a":' * 5_000 + b"1" + b"}" * 5_000 + b", %s",
    "huge-integer": b'{"x": ' + b"9" * 100_000 + b", %s",
    "twice": b'{"x": 1, "x": 2, %s',
    "bad-utf-8": b'{"x": "\xff\xfe", %s',
    "cut-off": b'{"x": 1, ',
    "not-closed": b'{"x": "',
    "too-many-values": b'{"x": [' + b"[]," * 1_600_000 + b"1], %s",
    "as-many-as-allowed": b'{"x": [' + b'{"a":1},' * 980_000 + b"1], %s",
    "nan": b'{"x": NaN, %s',
    "infinity": b'{"x": -Infinity, %s',
    "1e999": b'{"x": 1e999, %s',
    "lone-surrogate": b'{"x": "\\ud800", %s',
}
# What Python itself writes and reads, or what is no harm.
_FINE = ("nan", "infinity", "1e999", "lone-surrogate", "as-many-as-allowed")

_FINE_STRICTLY = ("lone-surrogate", "as-many-as-allowed")


def _text(trick: bytes, rest: bytes) -> bytes:
    return trick.replace(b"%s", rest.lstrip(b"{"))


def jsons() -> Iterator[Case]:
    for name in WITH_CONFIG:
        for what, trick in _TRICKS.items():
            if name == "legacy.h5" and what in ("too-many-values", "as-many-as-allowed"):
                continue  # an attribute cannot be so long
            fine = what in _FINE or (name, what) == ("legacy.h5", "bad-utf-8")
            codes = () if fine else ("config",)
            text = _text(trick, _GOOD)
            yield Case("json", name, what, partial(config_in, name, config=text), Listed(2, codes))
    yield from _maps()
    yield from _large()


def _maps() -> Iterator[Case]:
    header = json.dumps({"a": told()}).encode()
    shard = json.dumps({"weight_map": {"/layers/dense/vars": "x_0.weights.h5"}}).encode()
    places = json.dumps({"weight_map": {"a.kernel": "x.safetensors"}}).encode()
    for what, trick in _TRICKS.items():
        text = _text(trick, orbax_names("a"))
        end = Listed() if what in _FINE_STRICTLY else Refused()
        make = partial(orbax, arrays={"a": KERNEL}, names=text)
        yield Case("json", "orbax", what, make, end)
        text = _text(trick, header)
        data = struct.pack("<Q", len(text)) + text + KERNEL.tobytes()
        yield Case("json", "safetensors", what, written("x.safetensors", data), Refused())
        end = Listed() if what in _FINE_STRICTLY else Refused()
        yield Case(
            *("json", "safetensors-index", what),
            partial(_index, text=_text(trick, places)),
            end,
        )
        yield Case("json", "shards", what, partial(_shards, text=_text(trick, shard)), end)


def _index(folder: Path, text: bytes) -> Path:
    return index(folder, text)


def _shards(folder: Path, text: bytes) -> Path:
    return shards(folder, text, hdf5())


def _sparse(path: Path, head: bytes, size: int = 100 << 20) -> Path:
    """A file of 100 MB that takes a page on the disk."""
    with path.open("wb") as file:
        file.write(head)
        file.truncate(size)
    return path


def _large() -> Iterator[Case]:
    end = Refused(limit=True)
    yield Case(
        *("json", "safetensors", "100-megabytes"),
        lambda f: _sparse(f / "x.safetensors", struct.pack("<Q", 99 << 20) + b"{"),
        end,
    )
    yield Case(
        *("json", "safetensors-index", "100-megabytes"),
        lambda f: _sparse(f / "x.safetensors.index.json", b"{"),
        end,
    )
    yield Case(
        "json", "shards", "100-megabytes", lambda f: _sparse(f / "x.weights.json", b"{"), end
    )
    yield Case("json", "keras-folder", "100-megabytes", _large_folder, end)
    text = b'{"x": "' + bytes(100 << 20) + b'"}'
    yield Case("json", "keras", "100-megabytes", partial(_deflated, text=text), Refused("json"))


def _large_folder(folder: Path) -> Path:
    path = unzipped(folder, b"{", hdf5())
    _sparse(path / "config.json", b"{")
    return path


def _deflated(folder: Path, text: bytes) -> Path:
    data = zipped(M("config.json", text, deflate=True), M(W, hdf5()))
    (folder / "x.keras").write_bytes(data)
    return folder / "x.keras"
