"""What Keras's layers store, by number: the table that `tools/make_leaf_names.py` writes."""

from __future__ import annotations

import functools
import json
import re
from importlib import resources
from typing import Any, NamedTuple


class Leaf(NamedTuple):
    """A variable that a layer holds itself."""

    number: str
    name: str
    trainable: bool


@functools.cache
def known() -> dict[str, dict[str, Any]]:
    """The rows of the table, by the name of the class."""
    text = resources.files("steelyard.checkpoints").joinpath("leaf_names.json").read_text("utf-8")
    return {**json.loads(text)["layers"], **_OURS}


# Steelyard's own layers, in the form of Keras's.
_OURS = {
    "TiedDense": {
        "snake": "",
        "bases": ["steelyard.layers.tied_dense.TiedDense"],
        "own": [{"when": {}, "mode": "", "leaves": [[0, "bias", True]]}],
    }
}


def leaves(
    kind: str, config: dict[str, Any] | None, mode: str | None, held: dict[str, str]
) -> list[Leaf] | None:
    """The names of what a layer of a class stores.

    Args:
        kind: The name of the class.
        config: Its arguments; None where nothing says.
        mode: Of its quantization; None where nothing says.
        held: The dtype of each variable that the file has, by its number.

    Returns:
        None where the class is not known, or what is known does not fit what is there.
    """
    variants = (v for v in known().get(kind, {}).get("own", ()) if _fits(v, config, mode))
    fitting = [
        rows
        for variant, rows in ((v, _leaves(v)) for v in variants)
        if {leaf.number for leaf in rows} == held.keys()
        and _has_dtypes(rows, variant["mode"], held)
    ]
    names = {frozenset((leaf.number, leaf.name) for leaf in rows) for rows in fitting}
    return fitting[0] if len(names) == 1 else None


def class_of(name: str) -> str:
    """The class of Keras's own that gives its layers such a name: `"dense_3"`; "" if none."""
    return _by_key().get(re.sub(r"_\d+$", "", name), "")


def children(kind: str) -> dict[str, list[str]]:
    """Key in the file → segment of the address, class, key in the config."""
    return known().get(kind, {}).get("children", {})


def bases(kind: str) -> tuple[str, ...]:
    """The class and its bases as dotted names."""
    return tuple(known().get(kind, {}).get("bases", ()))


def class_name(kind: str) -> str:
    """The class's own name, where Keras writes another one: `"GroupQueryAttention"`."""
    found = bases(kind)
    return found[0].rpartition(".")[2] if found else kind


@functools.cache
def _by_key() -> dict[str, str]:
    # Some classes have a second name (`Convolution2D`), whose row says less.
    rows = sorted(known().items(), key=lambda item: "own" in item[1])
    return {row["snake"]: kind for kind, row in rows if row["snake"]}


def _leaves(variant: dict[str, Any]) -> list[Leaf]:
    return [Leaf(str(index), name, trainable) for index, name, trainable in variant["leaves"]]


def _fits(variant: dict[str, Any], config: dict[str, Any] | None, mode: str | None) -> bool:
    if mode is not None and variant["mode"] != mode:
        return False
    if config is None:
        return True
    for key, value in variant["when"].items():
        said = config.get(key, value if key != "lora_rank" else None)
        if (said != value) if isinstance(value, str) else (_is_set(said) != value):
            return False
    return True


def _is_set(value: Any) -> bool:
    return value is not None and value is not False and value != ""


def _has_dtypes(rows: list[Leaf], mode: str, held: dict[str, str]) -> bool:
    """Codes are whole numbers, and a float is none: it tells int8 from float32 without a config."""
    coded = mode in ("int8", "int4")
    return all(
        (held[leaf.number] in ("int8", "uint8")) == coded
        for leaf in rows
        if leaf.name in ("kernel", "embeddings", "reverse_embeddings")
    )
