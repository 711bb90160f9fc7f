"""Seeds, and HDF5 files that grow as the fuzzer says."""

import io
import json
from typing import Any

import h5py
import numpy as np
from tests.hostile import configs as hostile
from tests.hostile.good import CONFIG, DENSE, KERNEL, row, state_dict, tensor
from tests.hostile.pickles import PAYLOADS
from tests.hostile.tables import HEADER, block, field

from steelyard.checkpoints._hdf5 import Excess, Listing
from steelyard.checkpoints._worker import LIMITS


def listing(data: bytes) -> dict[str, Any]:
    """What the child process would say of a file."""
    with h5py.File(io.BytesIO(data), "r") as file:
        try:
            return Listing(file, {**LIMITS, "count": 2000}).run()
        except Excess:
            return {"groups": {"": {}}, "tensors": [], "odd": []}


def two_layers(file: Any) -> None:
    """An LSTM, an attention and an optimizer beside the dense layer."""
    lstm = file.create_group("layers/lstm/cell/vars")
    lstm.attrs["name"] = "lstm_cell"
    for n, shape in enumerate(((3, 8), (2, 8), (8,))):
        lstm[str(n)] = np.zeros(shape, "float32")
    for key in ("query_dense", "value_dense"):
        file.create_group(f"layers/multi_head_attention/{key}/vars")["0"] = KERNEL
    file.create_group("layers/functional/layers/dense/vars")["0"] = KERNEL
    file.create_group("optimizer/vars")["0"] = np.int64(3)
    file.create_group("mine/steelyard_added/vars")["w_u"] = KERNEL
    file.create_group("mine/vars")["w"] = KERNEL


def legacy_layers(file: Any) -> None:
    """A layer in a layer."""
    group = file["model_weights"].create_group("two")
    group.attrs["weight_names"] = np.array([b"two/lstm_cell/kernel:0"])
    group["two/lstm_cell/kernel:0"] = KERNEL
    file["model_weights"].attrs["layer_names"] = np.array([b"one", b"two"])


# --- HDF5 that grows ------------------------------------------------------------------------------

_TYPES = ("<f4", ">f8", "<f2", "i1", "<u8", "?", "S5", "V2", "<c8")
_WORDS = (
    *("layers", "vars", "dense", "dense_1", "lstm", "cell", "0", "1", "10", "optimizer"),
    *("model_weights", "kernel:0", "steelyard_added", "_layers", "seed_generator", "query_dense"),
    *("functional", "..", "\x1b[2J", "~", "a_u", "x" * 300),
)
_KEYS = (
    "name",
    "model_config",
    "keras_version",
    "layer_names",
    "weight_names",
    "weight_names0",
    "dtype",
)


def grown(data: bytes) -> bytes:
    """An HDF5 file, made step by step as the bytes say."""
    out = io.BytesIO()
    with h5py.File(out, "w") as file:
        spots = [file]
        for step in range(0, min(len(data), 200) - 3, 4):
            what, where, how, more = data[step : step + 4]
            try:
                _grow(file, spots, what, spots[where % len(spots)], how, more)
            except (ValueError, TypeError, RuntimeError, OSError, KeyError, NotImplementedError):
                continue  # what HDF5 itself does not make
    return out.getvalue()


def _grow(file: Any, spots: list[Any], what: int, at: Any, how: int, more: int) -> None:
    word = _WORDS[how % len(_WORDS)]
    match what % 8:
        case 0 | 1:
            spots.append(at.require_group(word))
        case 2:
            shape = ((), (0,), (3,), (3, 4), (1, 2, 3))[more % 5]
            at.create_dataset(word, shape, _TYPES[how % len(_TYPES)])
        case 3:
            at[word] = spots[more % len(spots)]
        case 4:
            at[word] = (h5py.SoftLink(f"/{word}"), h5py.ExternalLink("x", "y"))[more % 2]
        case 5:
            at.attrs[_KEYS[how % len(_KEYS)]] = _attribute(more)
        case 6:
            at.create_dataset(word, (8, 8), "f4", chunks=(2, 2), compression="gzip")
        case 7:
            at.create_dataset(word, (4,), "f4", external=[("x", 0, 16)])


def _attribute(more: int) -> Any:
    return (
        *("dense", np.bytes_(b"\xff\xfe"), 3.5, np.array([b"one", b"two"]), h5py.Empty("f4")),
        *(np.array(["a/kernel", "b"], h5py.string_dtype()), json.dumps(CONFIG), "bfloat16"),
        *(np.zeros((2, 2)), np.array([], "S3"), "{", _WORDS[more % len(_WORDS)]),
    )[more % 12]


# --- Seeds ----------------------------------------------------------------------------------------


def seeds() -> list[bytes]:
    """Steps that make something."""
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, 4 * n, "uint8").tobytes() for n in range(4, 40, 2)]


def configs() -> list[bytes]:
    """Configs of all kinds of layers, and the hostile ones."""
    lstm = {"module": "keras.layers", "class_name": "LSTM", "config": {"name": "lstm", "units": 2}}
    attention = {
        "module": "keras.layers",
        "class_name": "MultiHeadAttention",
        "config": {"name": "multi_head_attention", "num_heads": 2, "key_dim": 2},
        "build_config": {"shapes_dict": {"query_shape": [None, 3, 4]}},
    }
    quantized = {**DENSE["config"], "dtype": {"config": {"mode": "int8", "name": "x"}}}
    both = {"class_name": "Bidirectional", "module": "keras.layers", "config": {"layer": lstm}}
    inner = CONFIG | {"class_name": "Functional", "build_config": {"input_shape": [None, 3]}}
    rewritten = {"rewrites": [{"kind": "Parametrize", "address": "kernel", "parametrization": {}}]}
    layers = [
        *(DENSE, lstm, attention, both, inner, DENSE | {"config": quantized}),
        DENSE | {"registered_name": "steelyard>Rewritten", "config": {"steelyard": rewritten}},
        DENSE | {"config": {**DENSE["config"], "lora_rank": 2, "quantization_config": {}}},
        *hostile._hostile_layers().values(),
    ]
    whole = [hostile._with(*layers), *(hostile._with(layer) for layer in layers)]
    return [*whole, json.dumps(CONFIG).encode(), b"{}", b"null"]


def pickles() -> list[bytes]:
    """State dicts, and payloads."""
    honest = state_dict(("a", tensor()), ("b", tensor((2, 2), (1, 2), "1", count=4)))
    return [honest, *PAYLOADS.values()]


def tables() -> list[bytes]:
    """Blocks of a table, without their checksums."""
    rows = [HEADER, row(), row("b/.ATTRIBUTES/VARIABLE_VALUE"), row("c", kind=7)]
    return [block(rows)[:-5], block([HEADER])[:-5]]


def graphs() -> list[bytes]:
    """The graph of objects of a TensorFlow checkpoint."""
    told = field(1, b"VARIABLE_VALUE") + field(2, b"dense/kernel") + field(3, b"a/.ATTRIBUTES")
    return [field(1, field(2, told)), field(1, field(1, field(1, 3)) + field(2, told)) * 3]


def orbaxes() -> list[bytes]:
    """The names of plain checkpoints of Orbax, each with what its one array is."""
    row = {
        "key_metadata": [{"key": "w", "key_type": 2}],
        "value_metadata": {"value_type": "jax.Array", "skip_deserialize": False},
    }
    array = {"zarr_format": 2, "shape": [3, 4], "chunks": [3, 4], "dtype": "<f4", "order": "C"}
    array |= {"compressor": None, "fill_value": None, "filters": None, "dimension_separator": "."}
    text = {**row, "value_metadata": {"value_type": "string", "skip_deserialize": False}}
    return [
        json.dumps({"tree_metadata": rows, "use_zarr3": zarr3}).encode()
        + b"\xff\xff"
        + json.dumps(array).encode()
        for rows, zarr3 in (({"('w',)": row}, False), ({"x": text, "w": row}, False), ({}, True))
    ]
