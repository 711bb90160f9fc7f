"""Writes src/steelyard/checkpoints/leaf_names.json: what Keras's layers store, by name.

A Keras file numbers the variables of a layer. This makes each built-in layer in its variants, gives
every variable a value of its own, saves the layer as Keras does, and finds each value again under
its number. Run it with the Keras whose names are wanted:

    python tools/make_leaf_names.py
"""

from __future__ import annotations

import itertools
import json
import re
import tempfile
from pathlib import Path

import h5py
import keras
import numpy as np
from keras.src.saving import saving_lib
from keras.src.utils.naming import to_snake_case

import steelyard as sy

L = keras.layers
TARGET = Path(__file__).parent.parent / "src/steelyard/checkpoints/leaf_names.json"
BOTH = (True, False)
BIAS = {"use_bias": BOTH}
NORM = {"center": BOTH, "scale": BOTH}
SEQUENCE, IMAGE, VOLUME = (2, 8, 4), (2, 8, 8, 4), (2, 8, 8, 8, 4)
MODES = ("int8", "int4", "float8")

# class: (arguments, shapes of the inputs, arguments that vary, modes of quantization)
ZOO = {
    "Dense": ({"units": 3}, [(2, 4)], BIAS, MODES),
    "EinsumDense": (
        {"equation": "ab,bc->ac", "output_shape": 3},
        [(2, 4)],
        {"bias_axes": ("c", None)},
        MODES,
    ),
    "Embedding": ({"input_dim": 6, "output_dim": 4}, [(2, 3)], {}, ("int8", "int4")),
    "ReversibleEmbedding": (
        {"input_dim": 6, "output_dim": 4},
        [(2, 3)],
        {"tie_weights": BOTH},
        ("int8", "int4"),
    ),
    "BatchNormalization": ({}, [IMAGE], NORM, ()),
    "LayerNormalization": ({}, [SEQUENCE], {**NORM, "rms_scaling": BOTH}, ()),
    "GroupNormalization": ({"groups": 2}, [SEQUENCE], NORM, ()),
    "RMSNormalization": ({}, [SEQUENCE], {}, ()),
    "UnitNormalization": ({}, [SEQUENCE], {}, ()),
    "PReLU": ({}, [SEQUENCE], {}, ()),
    "Attention": (
        {},
        [[SEQUENCE, SEQUENCE]],
        {"use_scale": BOTH, "score_mode": ("dot", "concat")},
        (),
    ),
    "AdditiveAttention": ({}, [[SEQUENCE, SEQUENCE]], {"use_scale": BOTH}, ()),
    "MultiHeadAttention": ({"num_heads": 2, "key_dim": 3}, [SEQUENCE, SEQUENCE], BIAS, ()),
    "GroupQueryAttention": (
        {"head_dim": 3, "num_query_heads": 4, "num_key_value_heads": 2},
        [SEQUENCE, SEQUENCE],
        BIAS,
        (),
    ),
    "STFTSpectrogram": ({}, [(2, 16000, 1)], {"mode": ("log", "imag")}, ()),
    **{
        f"{kind}{n}D": ({"filters": 3, "kernel_size": 2}, [shape], BIAS, ())
        for n, shape in ((1, SEQUENCE), (2, IMAGE), (3, VOLUME))
        for kind in ("Conv", "SeparableConv")
        if hasattr(L, f"{kind}{n}D")
    },
    **{
        f"Conv{n}DTranspose": ({"filters": 3, "kernel_size": 2}, [shape], BIAS, ())
        for n, shape in ((1, SEQUENCE), (2, IMAGE), (3, VOLUME))
    },
    **{
        f"DepthwiseConv{n}D": ({"kernel_size": 2}, [shape], BIAS, ())
        for n, shape in ((1, SEQUENCE), (2, IMAGE))
    },
    "SimpleRNN": ({"units": 3}, [SEQUENCE], BIAS, ()),
    "LSTM": ({"units": 3}, [SEQUENCE], BIAS, ()),
    "GRU": ({"units": 3}, [SEQUENCE], {**BIAS, "reset_after": BOTH}, ()),
    **{
        f"ConvLSTM{n}D": ({"filters": 3, "kernel_size": 2}, [(2, 3, *(8,) * n, 4)], BIAS, ())
        for n in (1, 2)
    },
    "SimpleRNNCell": ({"units": 3}, [(2, 4), (2, 3)], BIAS, ()),
    "LSTMCell": ({"units": 3}, [(2, 4), [(2, 3), (2, 3)]], BIAS, ()),
    "GRUCell": ({"units": 3}, [(2, 4), (2, 3)], BIAS, ()),
}
# The variable that marks these is made before or by the first call of another layer.
BY_HAND = {
    "SpectralNormalization": [{"when": {}, "mode": "", "leaves": [[0, "vector_u", False]]}],
    "Normalization": [
        {"when": {}, "mode": "", "leaves": []},
        {
            "when": {},
            "mode": "",
            "leaves": [[0, "mean", False], [1, "variance", False], [2, "count", False]],
        },
    ],
}
# What wraps any layer: key in the file → (segment of the address, class, key in the config). "*" is
# a list; the config "." that of the wrapper itself.
WRAPPERS = {
    "Bidirectional": {
        "forward_layer": ["forward_layer", "", "layer"],
        "backward_layer": ["backward_layer", "", "backward_layer"],
    },
    "TimeDistributed": {"layer": ["layer", "", "layer"]},
    "SpectralNormalization": {"layer": ["layer", "", "layer"]},
    "RNN": {"cell": ["cell", "", "cell"]},
    "StackedRNNCells": {"cells": ["cells", "*", "cells"]},
}
CELLS = {
    "LSTM": "LSTMCell",
    "GRU": "GRUCell",
    "SimpleRNN": "SimpleRNNCell",
    **{f"ConvLSTM{n}D": "ConvLSTMCell" for n in (1, 2, 3)},
}


def main() -> None:
    """Makes the table and writes it."""
    table = {name: entry(name) for name in sorted(dir(L)) if is_layer(getattr(L, name))}
    table["ConvLSTMCell"] = {
        "snake": "conv_lstm_cell",
        "bases": ["keras.src.layers.rnn.conv_lstm.ConvLSTMCell"],
        "own": table_of_cell(table),
    }
    for row in [row for row in table.values() if row["bases"]]:
        table.setdefault(row["bases"][0].rpartition(".")[2], row)
    lines = [f"{json.dumps(name)}: {json.dumps(row)}" for name, row in sorted(table.items())]
    head = f'{{\n"keras": {json.dumps(keras.__version__)},\n"layers": {{\n'
    TARGET.write_text(head + ",\n".join(lines) + "\n}\n}\n", encoding="utf-8")


def is_layer(kind: object) -> bool:
    """Whether this is a class of layers, under its first name."""
    return isinstance(kind, type) and issubclass(kind, keras.Layer) and kind is not keras.Layer


def table_of_cell(table: dict) -> list:
    """A convolutional cell has the variables of an LSTM's."""
    return table["LSTMCell"]["own"]


def entry(name: str) -> dict:
    """All that is known of one class."""
    kind = getattr(L, name)
    bases = [f"{b.__module__}.{b.__qualname__}" for b in kind.__mro__]
    row = {
        "snake": to_snake_case(kind.__name__),
        "bases": [base for base in bases if re.match(r"keras\.(?!src\.backend)", base)],
    }
    if name in ZOO:
        row |= measured(name)
    if name in BY_HAND:
        row["own"] = BY_HAND[name]
    if name in WRAPPERS:
        row["children"] = WRAPPERS[name]
        row.setdefault("own", [{"when": {}, "mode": "", "leaves": []}])
    if name in CELLS:
        row["children"] = {"cell": ["cell", CELLS[name], "."]}
        row["own"] = [{"when": {}, "mode": "", "leaves": []}]
    return row


def measured(name: str) -> dict:
    """The variants of one class, as layers that were made and saved say."""
    arguments, shapes, varied, modes = ZOO[name]
    own, children = [], {}
    for values in itertools.product(*varied.values()):
        flags = dict(zip(varied, values, strict=True))
        for mode in ("", *modes):
            for changed in changes(name, mode):
                layer = built(name, {**arguments, **flags}, shapes, changed)
                if layer is None:
                    continue
                leaves, found = stored_names(layer)
                children |= found
                when = {
                    key: value if key in ("score_mode", "mode") else bool(value)
                    for key, value in flags.items()
                }
                when["lora_rank"] = changed == "lora"
                variant = {"when": when, "mode": mode, "leaves": leaves}
                if mode:
                    del when["lora_rank"]
                if variant not in own:
                    own.append(variant)
    return {"own": own, "children": children} if children else {"own": own}


def changes(name: str, mode: str) -> list[str]:
    """What is done to a layer after it is built; int4 has scales by group, or by channel."""
    if mode == "int4":
        return ["int4", "int4 by channel"]
    if mode:
        return [mode]
    return ["", "lora"] if hasattr(getattr(L, name), "enable_lora") else [""]


def built(name: str, arguments: dict, shapes: list, change: str) -> keras.Layer | None:
    """A layer with weights; None where Keras refuses the combination."""
    layer = getattr(L, name)(**arguments)
    if name.endswith("Cell") or name in ("Embedding", "ReversibleEmbedding"):
        layer.build(shapes[0])
    else:
        layer(*[make(shape) for shape in shapes])
    try:
        if change == "lora":
            layer.enable_lora(2)
        elif change == "int4 by channel":
            layer.quantize("int4", config=keras.quantizers.Int4QuantizationConfig(block_size=None))
        elif change:
            layer.quantize(change)
    except (ValueError, NotImplementedError, AttributeError) as error:
        print(f"{name} {arguments} {change}: {error}")
        return None
    return layer


def make(shape: object) -> object:
    """Zeros of a shape, or a list of such."""
    return [make(x) for x in shape] if isinstance(shape, list) else np.zeros(shape, "float32")


def stored_names(layer: keras.Layer) -> tuple[list, dict]:
    """The names of the layer's own variables by their numbers, and the layers that it holds."""
    weights = sy.weights(layer) if layer.weights else []
    marks = {}
    for number, weight in enumerate(weights, 1):
        variable = weights._source.variable(weight.address)
        lora = "lora_" in weight.address
        variable.assign(np.full(variable.shape, 0 if lora else number, variable.dtype))
        if not lora:
            marks[number] = (weight.address, bool(variable.trainable))
    path = Path(tempfile.mkdtemp()) / "x.h5"
    store = saving_lib.H5IOStore(path, mode="w")
    saving_lib._save_state(layer, store, None, "", set())
    store.close()
    found = {}
    with h5py.File(path) as file:
        file.visititems(
            lambda place, x: (
                found.update({int(np.max(x[()])): place})
                if isinstance(x, h5py.Dataset) and "seed_generator" not in place
                else None
            )
        )
    missing = marks.keys() - found.keys()
    if missing:
        raise SystemExit(f"{type(layer).__name__}: {[marks[n] for n in missing]} not found again")
    own, children = [], {}
    for number, (address, trainable) in marks.items():
        group, _, index = found[number].rpartition("/")
        key, segment = group.removesuffix("vars").strip("/"), address.rpartition("/")[0]
        if not key:
            own.append([int(index), address, trainable])
        else:
            child = next(c for p, c in places(layer) if p == segment)
            children[key] = [segment, type(child).__name__, ""]
    return own, children


def places(layer: keras.Layer) -> list:
    """The layers below, by their addresses."""
    from steelyard.live._walk import walk

    return [("/".join(place.path), place.layer) for place in walk(layer)]


if __name__ == "__main__":
    main()
