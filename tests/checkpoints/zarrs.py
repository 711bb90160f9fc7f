"""Orbax checkpoints as small as a test wants them, written by TensorStore alone."""

import json

import pytest


def orbax(folder, arrays, *, packed=False, version=2, kinds=None):
    """Writes arrays by their names, at whose dots the tree has its branches."""
    tensorstore = pytest.importorskip("tensorstore", reason="TensorStore writes the file")
    base = {"driver": "file", "path": f"{folder}/"}
    for name, array in arrays.items():
        place = {"driver": "file", "path": f"{folder}/{name}/"}
        if packed:
            place = {"driver": "ocdbt", "base": base, "path": f"{name}/"}
        spec = {
            "driver": "zarr" if version == 2 else "zarr3",
            "kvstore": place,
            "store_data_equal_to_fill_value": True,
        }
        packing = {"compressor": {"id": "zstd", "level": 1}}
        if version == 3:
            packing = {"codecs": [{"name": "zstd", "configuration": {"level": 1}}]}
        told = {"dtype": array.dtype, "shape": array.shape, "create": True}
        tensorstore.open({**spec, "metadata": packing}, **told).result().write(array).result()
    names(folder, arrays, version=version, kinds=kinds)
    return folder


def names(folder, arrays, *, version=2, kinds=None):
    """Writes the names alone."""
    kinds = {**dict.fromkeys(arrays, "np.ndarray"), **(kinds or {})}
    folder.mkdir(exist_ok=True)
    rows = {
        str(tuple(name.split("."))): {
            "key_metadata": [{"key": key, "key_type": 2} for key in name.split(".")],
            "value_metadata": {"value_type": kind, "skip_deserialize": False},
        }
        for name, kind in kinds.items()
    }
    told = {"tree_metadata": rows, "use_zarr3": version == 3}
    (folder / "_METADATA").write_text(
        json.dumps({**told, "store_array_data_equal_to_fill_value": True})
    )
