"""The projections inside Keras's attention layers, which no config describes.

`Model.quantize` quantizes each of them, and what Keras writes of the layer around them does not say
so. But their sizes follow from the config, and a kernel that is as large as it should be is not
packed: then its codes are int8. Zero points beside the codes are int4's.
"""

from __future__ import annotations

from typing import Any

from steelyard.checkpoints._keras_config import Made
from steelyard.checkpoints._keras_tree import Group

_INTO, _OUT = "abc,cde->abde", "abcd,cde->abe"


def projection(layer: Made, part: str, axes: str, group: Group) -> Made:
    """One of the layers in an attention, as far as the file tells.

    Args:
        layer: The attention.
        part: The segment of the address: `"query"`, `"attention_output"`, …
        axes: Of its kernel.
        group: What the file has of it.
    """
    bare = Made("EinsumDense", None, {}, layer.sure, True, axes)
    if group.dtypes.get("0") not in ("int8", "uint8"):
        return bare
    shape = _kernel(layer.config or {}, layer.build, part)
    mode = _mode(shape, group)
    if shape is None or not mode:
        return bare
    said: dict[str, Any] = {"dtype": {"config": {"mode": mode}}, "bias_axes": _has_bias(layer)}
    said |= {"equation": _OUT, "output_shape": [None, shape[2]]}
    built = [None, None, *shape[:2]]
    if part != "attention_output":
        said |= {"equation": _INTO, "output_shape": [None, *shape[1:]]}
        built = [None, None, shape[0]]
    return Made("EinsumDense", said, {"input_shape": built}, layer.sure, True, axes)


def _mode(shape: tuple[int, ...] | None, group: Group) -> str:
    count, stored = len(group.variables), tuple(group.shapes["0"])
    if shape is None:
        return ""
    halved = ((shape[0] + 1) // 2, *shape[1:])  # as Keras 3.13 packs
    if (count >= 4 and len(stored) == 2) or (stored == halved != shape and count <= 3):
        return "int4"
    # An axis of one code is packed into one byte, and no shorter for it.
    return "int8" if stored == shape and 1 not in shape and count <= 3 else ""


def _has_bias(layer: Made) -> str | None:
    return "e" if (layer.config or {}).get("use_bias", True) else None


def _kernel(config: dict[str, Any], build: dict[str, Any], part: str) -> tuple[int, ...] | None:
    """The shape of a projection's kernel; None where the config does not say."""
    shapes = build.get("shapes_dict")
    shapes = shapes if isinstance(shapes, dict) else build
    query, value = (_last(shapes.get(f"{name}_shape")) for name in ("query", "value"))
    key = _last(shapes.get("key_shape")) or value
    heads, width = config.get("num_heads"), config.get("key_dim")
    few, wide = heads, config.get("value_dim") or width
    if "head_dim" in config:
        heads, few = config.get("num_query_heads"), config.get("num_key_value_heads")
        width = wide = config["head_dim"]
    found = {
        "query": (query, heads, width),
        "key": (key, few, width),
        "value": (value, few, wide),
        "attention_output": (heads, wide, _last(config.get("output_shape")) or query),
    }.get(part, (None,))
    whole = tuple(n for n in found if isinstance(n, int) and not isinstance(n, bool) and n > 0)
    return whole if len(whole) == 3 else None


def _last(shape: Any) -> Any:
    if isinstance(shape, list):
        return shape[-1] if shape else None
    return shape
