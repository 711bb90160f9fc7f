"""An honest file of each format, and the parts that the hostile ones are made from."""

import io
import json
import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from tests.hostile.tables import HEADER, entry, table

from steelyard.checkpoints._crc32c import masked_crc32c

Items = Sequence[tuple[bytes, bytes]]
KERNEL = np.arange(12, dtype="float32").reshape(3, 4)
BIAS = np.ones(4, "float32")
DENSE = {"module": "keras.layers", "class_name": "Dense", "config": {"name": "one", "units": 4}}
CONFIG = {
    "module": "keras",
    "class_name": "Sequential",
    "config": {"name": "model", "layers": [DENSE]},
}


# --- Zip ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class M:
    """A member of a zip; `central` and `local` overwrite what the two headers say of it."""

    name: str
    data: bytes = b""
    deflate: bool = False
    central: dict[str, Any] = field(default_factory=dict)
    local: dict[str, Any] = field(default_factory=dict)


def zipped(*members: M, tail: bytes = b"", count: int | None = None) -> bytes:
    out, listing = io.BytesIO(), io.BytesIO()
    for member in members:
        packed = member.data
        if member.deflate:
            engine = zlib.compressobj(1, zlib.DEFLATED, -15)
            packed = engine.compress(packed) + engine.flush()
        told = dict(flags=0 if member.name.isascii() else 0x800, method=8 * member.deflate)
        told |= dict(crc=zlib.crc32(member.data), packed=len(packed), size=len(member.data))
        told |= dict(name=member.name.encode(), extra=b"", at=out.tell(), external=0)
        listing.write(_central(told | member.central))
        out.write(_local(told | member.local) + packed)
    at, length = out.tell(), listing.tell()
    count = len(members) if count is None else count
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, count, count, length, at, 0)
    return out.getvalue() + listing.getvalue() + end + tail


def _central(t: dict[str, Any]) -> bytes:
    sizes = (t["crc"], t["packed"], t["size"], len(t["name"]), len(t["extra"]))
    head = (b"PK\1\2", 20, 20, t["flags"], t["method"], 0, 0, *sizes, 0, 0, 0, t["external"])
    return struct.pack("<4s6H3L5H2L", *head, t["at"]) + t["name"] + t["extra"]


def _local(t: dict[str, Any]) -> bytes:
    sizes = (t["crc"], t["packed"], t["size"], len(t["name"]), len(t["extra"]))
    head = (t.get("magic", b"PK\3\4"), 20, t["flags"], t["method"], 0, 0, *sizes)
    return struct.pack("<4s5H3L2H", *head) + t["name"] + t["extra"]


# --- HDF5 -----------------------------------------------------------------------------------------


def hdf5(make: Callable[[Any], None] | None = None, name: str = "one") -> bytes:
    """A `.weights.h5` of one Dense; `make` may change it."""
    out = io.BytesIO()
    # The newest layout has attributes of any length.
    with h5py.File(out, "w", libver="latest" if make else None) as file:
        group = file.create_group("layers/dense/vars")
        group.attrs["name"] = name
        group["0"], group["1"] = KERNEL, BIAS
        if make:
            make(file)
    return out.getvalue()


def legacy(make: Callable[[Any], None] | None = None, config: bytes | None = None) -> bytes:
    """A whole-model `.h5` of one Dense, as Keras 2 wrote it."""
    out = io.BytesIO()
    # Attributes of more than 64 KB need the newer layout.
    large = config is not None and len(config) > 60_000
    with h5py.File(out, "w", libver="latest" if large else None) as file:
        file.attrs["keras_version"] = "2.15.0"
        if config is not None:
            file.attrs.create("model_config", np.frombuffer(config, f"S{len(config)}")[0])
        top = file.create_group("model_weights")
        top.attrs["layer_names"] = np.array([b"one"])
        group = top.create_group("one")
        group.attrs["weight_names"] = np.array([b"one/kernel:0", b"one/bias:0"])
        group["one/kernel:0"], group["one/bias:0"] = KERNEL, BIAS
        if make:
            make(file)
    return out.getvalue()


def keras(config: bytes, weights: bytes, *more: M) -> bytes:
    return zipped(M("metadata.json", b"{}"), M("config.json", config), M(W, weights), *more)


W = "model.weights.h5"


# --- The others -----------------------------------------------------------------------------------


def safetensors(header: Any, data: bytes) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def told(begin: int = 0, array: np.ndarray = KERNEL) -> dict[str, Any]:
    offsets = [begin, begin + array.nbytes]
    return {"dtype": "F32", "shape": list(array.shape), "data_offsets": offsets}


def tensors(*names: str) -> bytes:
    size = KERNEL.nbytes
    header = {name: told(i * size) for i, name in enumerate(names)}
    return safetensors(header, KERNEL.tobytes() * len(names))


def index(folder: Path, weight_map: Any, data: bytes | None = None) -> Path:
    """A safetensors index beside one shard."""
    (folder / "x.safetensors").write_bytes(tensors("a.kernel") if data is None else data)
    text = weight_map if isinstance(weight_map, bytes) else json.dumps({"weight_map": weight_map})
    path = folder / "x.safetensors.index.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def npy(array: np.ndarray) -> bytes:
    out = io.BytesIO()
    np.lib.format.write_array(out, array, allow_pickle=True)
    return out.getvalue()


def npz(*members: M, **arrays: np.ndarray) -> bytes:
    return zipped(*(M(f"{name}.npy", npy(array)) for name, array in arrays.items()), *members)


def pt(pickle: bytes, *more: M, storages: Sequence[bytes] = (KERNEL.tobytes(),)) -> bytes:
    data = [M(f"archive/data/{i}", held) for i, held in enumerate(storages)]
    rest = [M("archive/byteorder", b"little"), *data, M("archive/version", b"3\n")]
    return zipped(M("archive/data.pkl", pickle), *rest, *more)


def text(value: str) -> bytes:
    raw = value.encode()
    return b"X" + struct.pack("<I", len(raw)) + raw


def whole(value: int) -> bytes:
    raw = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(raw)]) + raw


def numbers(values: Sequence[int]) -> bytes:
    return b"(" + b"".join(map(whole, values)) + b"t"


def tensor(
    shape: Sequence[int] = (3, 4), strides: Sequence[int] = (4, 1), key: str = "0", **odd: Any
) -> bytes:
    """The instructions that build a tensor of a storage."""
    storage = b"ctorch\n" + odd.get("kind", b"FloatStorage") + b"\n"
    found = text("storage") + storage + text(key) + text("cpu") + whole(odd.get("count", 12))
    rest = whole(odd.get("offset", 0)) + numbers(shape) + numbers(strides) + b"\x89"
    hooks = b"ccollections\nOrderedDict\n)R"
    return b"ctorch._utils\n_rebuild_tensor_v2\n((" + found + b"tQ" + rest + hooks + b"tR"


def state_dict(*items: tuple[str, bytes]) -> bytes:
    return b"\x80\2}(" + b"".join(text(name) + value for name, value in items) + b"u."


def bundle(folder: Path, items: Items, data: bytes, name: str = "x") -> Path:
    """A TensorFlow checkpoint."""
    (folder / f"{name}.data-00000-of-00001").write_bytes(data)
    (folder / f"{name}.index").write_bytes(table([HEADER, *sorted(items)]))
    return folder / f"{name}.index"


def row(key: str = "a/kernel", **told: Any) -> tuple[bytes, bytes]:
    honest = dict(shape=(3, 4), size=48, crc=masked_crc32c(KERNEL.tobytes()))
    return key.encode(), entry(**(honest | told))


def saved_model(folder: Path, items: Items, data: bytes) -> Path:
    inner = folder / "x" / "variables"
    inner.mkdir(parents=True)
    bundle(inner, items, data, "variables")
    return folder / "x"


def unzipped(folder: Path, config: bytes, weights: bytes) -> Path:
    target = folder / "x.keras"
    target.mkdir()
    (target / "config.json").write_bytes(config)
    (target / W).write_bytes(weights)
    return target


def shards(folder: Path, weight_map: Any, weights: bytes) -> Path:
    (folder / "x_0.weights.h5").write_bytes(weights)
    text = weight_map if isinstance(weight_map, bytes) else json.dumps({"weight_map": weight_map})
    path = folder / "x.weights.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def orbax(
    folder: Path, arrays: dict[str, np.ndarray], names: bytes | None = None, **told: Any
) -> Path:
    """The folder of a checkpoint whose arrays lie open, as zarr keeps them, each in one piece.

    Args:
        folder: Where.
        arrays: By the dotted names under which the tree has them.
        names: What the file of names has instead of them.
        told: What each array says of itself instead.
    """
    path = folder / "x"
    path.mkdir()
    for name, array in arrays.items():
        place = path / name
        place.mkdir(parents=True)
        honest = {
            **dict(zarr_format=2, shape=array.shape, chunks=array.shape, dtype=array.dtype.str),
            **dict(compressor=None, fill_value=None, filters=None, order="C"),
        }
        (place / ".zarray").write_text(json.dumps(honest | told))
        (place / (".".join("0" * array.ndim) or "0")).write_bytes(array.tobytes())
    (path / "_METADATA").write_bytes(orbax_names(*arrays) if names is None else names)
    return path


def orbax_names(*names: Any) -> bytes:
    """What the file of names says of some, at whose dots the tree has its branches."""
    paths = [name.split(".") if isinstance(name, str) else [name] for name in names]
    rows = {
        str(tuple(keys)): {
            "key_metadata": [{"key": key, "key_type": 2} for key in keys],
            "value_metadata": {"value_type": "np.ndarray", "skip_deserialize": False},
        }
        for keys in paths
    }
    told = {"use_zarr3": False, "store_array_data_equal_to_fill_value": True}
    return json.dumps({"tree_metadata": rows, **told}).encode()


def good(name: str, folder: Path) -> Path:
    """An honest file of a format, made in a folder."""
    config, data = json.dumps(CONFIG).encode(), KERNEL.tobytes()
    plain = {
        "keras": ("x.keras", lambda: keras(config, hdf5())),
        "weights.h5": ("x.weights.h5", hdf5),
        "legacy.h5": ("x.h5", lambda: legacy(None, config)),
        "safetensors": ("x.safetensors", lambda: tensors("a.kernel")),
        "npz": ("x.npz", lambda: npz(kernel=KERNEL, bias=BIAS)),
        "npy": ("x.npy", lambda: npy(KERNEL)),
        "pt": ("x.pt", lambda: pt(state_dict(("a.weight", tensor())))),
    }
    if name in plain:
        ending, make = plain[name]
        (folder / ending).write_bytes(make())
        return folder / ending
    return {
        "keras-folder": lambda: unzipped(folder, config, hdf5()),
        "shards": lambda: shards(folder, {"/layers/dense/vars": "x_0.weights.h5"}, hdf5()),
        "safetensors-index": lambda: index(folder, {"a.kernel": "x.safetensors"}),
        "tensorflow": lambda: bundle(folder, [row()], data),
        "saved-model": lambda: saved_model(folder, [row()], data),
        "orbax": lambda: orbax(folder, {"a.kernel": KERNEL}),
    }[name]()


FORMATS = (
    *("keras", "keras-folder", "weights.h5", "shards", "legacy.h5"),
    *("safetensors", "safetensors-index", "npz", "npy", "pt", "tensorflow", "saved-model"),
    "orbax",
)
HDF5 = FORMATS[:5]
ZIPS = ("keras", "npz", "pt")


def main_file(path: Path) -> Path:
    """The file that says what is there, of a checkpoint that is a folder."""
    if not path.is_dir():
        return path
    inner = (path / "variables" / "variables.index", path / "_METADATA")
    return next((file for file in inner if file.exists()), path / W)


def hdf5_in(name: str, folder: Path, make: Callable[[Any], None]) -> Path:
    """An HDF5 file that `make` changes, in each of the ways in which Keras keeps one."""
    config = json.dumps(CONFIG).encode()
    path = folder / {"weights.h5": "x.weights.h5", "legacy.h5": "x.h5"}.get(name, "x.keras")
    if name == "keras-folder":
        return unzipped(folder, config, hdf5(make))
    if name == "shards":
        return shards(folder, {"/layers/dense/vars": "x_0.weights.h5"}, hdf5(make))
    if name == "legacy.h5":
        path.write_bytes(legacy(make, config))
    else:
        path.write_bytes(keras(config, hdf5(make)) if name == "keras" else hdf5(make))
    return path


def config_in(name: str, folder: Path, config: bytes) -> Path:
    """A config in each of the places in which Keras keeps one."""
    if name == "keras-folder":
        return unzipped(folder, config, hdf5())
    path = folder / ("x.h5" if name == "legacy.h5" else "x.keras")
    path.write_bytes(legacy(None, config) if name == "legacy.h5" else keras(config, hdf5()))
    return path
