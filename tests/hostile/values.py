"""What is rare and honest: it is read, and said rightly."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
from tests.hostile.case import Case, Listed, written
from tests.hostile.good import (
    HDF5,
    bundle,
    hdf5_in,
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
)

from steelyard.checkpoints._crc32c import masked_crc32c

_ODD = np.array([np.nan, np.inf, -np.inf, -0.0], "float32")
_GRID = np.arange(6, dtype="float64").reshape(2, 3)
ARRAYS = {
    "odd": _ODD,
    "empty": np.zeros((0, 3), "float32"),
    "single": np.array(3.5, "float32"),
    "big": _GRID.astype(">f8"),
    "fortran": np.asfortranarray(_GRID),
    "half": np.array([1.5, -2], "float16"),
    "byte": np.array([-1, 2], "int8"),
    "truth": np.array([True, False]),
    "complex": np.array([1 + 2j], "complex64"),
}
_PLAIN = ("odd", "empty", "single", "half", "byte", "truth", "complex")


def _wanted(*names: str, under: str = "") -> dict[str, Any]:
    return {f"{under}{name}": str(ARRAYS[name].tolist()) for name in names}


def values() -> Iterator[Case]:
    for name in HDF5:
        kept = [n for n in ARRAYS if n != "fortran"]
        make = partial(hdf5_in, name, make=partial(_hdf5, kept))
        place = "mine/" if name == "legacy.h5" else "mine/vars/"
        told = {f"{place}{i}": str(ARRAYS[n].tolist()) for i, n in enumerate(kept)}
        yield Case("values", name, "odd", make, Listed(2 + len(kept), values=told))
    everything = npz(**ARRAYS)
    end = Listed(len(ARRAYS), values=_wanted(*ARRAYS))
    yield Case("values", "npz", "odd", written("x.npz", everything), end)
    for name, array in ARRAYS.items():
        end = Listed(1, values={"arr_0": str(array.tolist())})
        yield Case("values", "npy", name, written("x.npy", npy(array)), end)
    data = _safetensors()
    end = Listed(len(_PLAIN), values=_wanted(*_PLAIN))
    yield Case("values", "safetensors", "odd", written("x.safetensors", data), end)
    make = partial(index, weight_map=dict.fromkeys(_PLAIN, "x.safetensors"), data=data)
    yield Case("values", "safetensors-index", "odd", make, end)
    yield Case("values", "pt", "odd", written("x.pt", _torch()), end)
    items, data = _tensorflow()
    for name, make in (("tensorflow", bundle), ("saved-model", saved_model)):
        yield Case("values", name, "odd", partial(make, items=items, data=data), end)
    told = [name for name in _PLAIN if name != "empty"]  # of which TensorStore wants a whole piece
    make = partial(orbax, arrays={name: ARRAYS[name] for name in told})
    yield Case("values", "orbax", "odd", make, Listed(len(told), values=_wanted(*told)))


def _hdf5(kept: list[str], file: Any) -> None:
    top = "layers" if "layers" in file else "model_weights"
    group = file.create_group(f"{top}/mine/vars" if top == "layers" else f"{top}/mine")
    group.attrs["name"] = "mine"
    for number, name in enumerate(kept):
        group[str(number)] = ARRAYS[name]


_NAMES = {"f4": "F32", "f2": "F16", "i1": "I8", "b1": "BOOL", "c8": "C64"}


def _safetensors() -> bytes:
    header, data = {}, b""
    for name in _PLAIN:
        array = ARRAYS[name]
        offsets = [len(data), len(data) + array.nbytes]
        kind = _NAMES[array.dtype.str[1:]]
        header[name] = {"dtype": kind, "shape": list(array.shape), "data_offsets": offsets}
        data += array.tobytes()
    return safetensors(header, data)


_STORAGES = {"f4": "Float", "f2": "Half", "i1": "Char", "b1": "Bool", "c8": "ComplexFloat"}


def _torch() -> bytes:
    items, storages = [], []
    for number, name in enumerate(_PLAIN):
        array = ARRAYS[name]
        kind = f"{_STORAGES[array.dtype.str[1:]]}Storage".encode()
        strides = [stride // array.itemsize for stride in array.strides]
        made = tensor(array.shape, strides, str(number), kind=kind, count=array.size)
        items.append((name, made))
        storages.append(array.tobytes())
    return pt(state_dict(*items), storages=storages)


_KINDS = {"f4": 1, "f2": 19, "i1": 6, "b1": 10, "c8": 8}


def _tensorflow() -> tuple[list[tuple[bytes, bytes]], bytes]:
    items, data = [], b""
    for name in _PLAIN:
        array = ARRAYS[name]
        told = dict(shape=array.shape, kind=_KINDS[array.dtype.str[1:]], size=array.nbytes)
        items.append(row(name, **told, offset=len(data), crc=masked_crc32c(array.tobytes())))
        data += array.tobytes()
    return items, data
