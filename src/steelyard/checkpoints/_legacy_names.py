"""The addresses of the weights in a whole-model `.h5`, which says their names, if not their places.

A group per layer of the model, below it each variable under the path that Keras gave it when it was
made: `dense/kernel`, with Keras 2 `dense/kernel:0`. That path leaves out the models in between, and
calls the cell of an LSTM by its class.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from typing import Any

from steelyard.checkpoints import _leaf_table as table
from steelyard.checkpoints._keras_config import Made, made, name_of
from steelyard.checkpoints._keras_place import Named

_WAYS = {"forward_layer": "forward", "backward_layer": "backward"}


def is_legacy(listing: dict[str, Any]) -> bool:
    """Whether a file is of this kind."""
    groups = listing["groups"]
    return "layer_names" in groups.get("", {}) or "layer_names" in groups.get("model_weights", {})


def legacy_names(listing: dict[str, Any], config: Any) -> list[Named]:
    """All weights of such a file, in the order of the model."""
    groups = listing["groups"]
    root = "model_weights" if "layer_names" in groups.get("model_weights", {}) else ""
    paths = {tensor["path"] for tensor in listing["tensors"]}
    in_order = sorted(paths)
    model = made(config)
    layers = {name_of(layer): Layer(made(layer)) for layer in model.layers or []}
    unknown = Layer(made(None))
    found: dict[str, Named] = {}
    for name in _layer_names(groups, root):
        group = f"{root}/{name}".lstrip("/")
        for weight in _weight_names(groups, group, in_order):
            path = f"{group}/{weight}"
            if path in paths:
                found.setdefault(path, _named(path, name, weight, layers.get(name, unknown), model))
    return together(list(found.values()))


def together(named: list[Named]) -> list[Named]:
    """Tells each variable of those that its layer has beside it, such as a scale."""
    beside: dict[str, dict[str, str]] = defaultdict(dict)
    for one in named:
        beside[one.address.rpartition("/")[0]][one.name] = one.stored
    return [replace(one, beside=beside[one.address.rpartition("/")[0]]) for one in named]


def _layer_names(groups: dict[str, Any], root: str) -> list[str]:
    """In the order that the file says; the list may lie, so that the groups decide."""
    prefix = f"{root}/" if root else ""
    there = [p[len(prefix) :] for p in groups if p.startswith(prefix) and p != root]
    tops = dict.fromkeys(p.split("/")[0] for p in there if p)
    tops.pop("optimizer_weights", None)
    said = [name for name in groups[root]["layer_names"] if f"{prefix}{name}" in groups]
    return list(dict.fromkeys([*said, *tops]))


def _weight_names(groups: dict[str, Any], group: str, paths: list[str]) -> list[str]:
    said = groups.get(group, {}).get("weight_names", [])
    # "0" is the character after "/".
    begin, end = bisect_left(paths, f"{group}/"), bisect_left(paths, f"{group}0")
    rest = [path[len(group) + 1 :] for path in paths[begin:end]]
    return list(dict.fromkeys([*said, *rest]))


def _named(path: str, name: str, weight: str, held: Layer, model: Made) -> Named:
    segments = [part for part in re.sub(r":\d+$", "", weight).split("/") if part]
    top = [] if name == "top_level_model_weights" else [name]
    # Made later, as LoRA is, its path begins with the model around.
    at = segments.index(name) + 1 if name in segments[:-1] else 0
    return along(path, top, held, segments[at:], model.trainable is not False)


def along(stored: str, way: list[str], held: Made | Layer, steps: list[str], trains: bool) -> Named:
    """The variable to which the names in its path lead, from a layer down.

    Args:
        stored: Where the file has it.
        way: The segments that lead to the layer.
        held: The layer.
        steps: What of the path is left: the names of what it holds, then that of the variable.
        trains: Whether what is around the layer is to be trained.
    """
    held = Layer(held) if isinstance(held, Made) else held
    top, layer = list(way), held.made
    for step, inner in _steps(held, steps[:-1]):
        top.append(step)
        layer = inner
    known = {
        leaf[1] for v in table.known().get(layer.kind, {}).get("own", ()) for leaf in v["leaves"]
    }
    leaf = steps[-1] if steps else "variable"
    naming = "exact" if layer.own and layer.sure and leaf in known else "inferred"
    if not (layer.own and leaf in known) and len(steps) > 1 and len(top) < 2:
        top, naming = [*top, *steps[:-1]], "unknown"
    trains = trains and layer.trainable is not False and _is_trained(layer, leaf)
    return Named(stored, "/".join((*top, leaf)), naming, leaf, trains, layer, {leaf: stored})


class Layer:
    """A layer, and those that it holds, worked out when they are asked for and once."""

    def __init__(self, layer: Made) -> None:
        self.made = layer

    @cached_property
    def inner(self) -> dict[str, tuple[str, Layer]]:
        """By the name in the path of a variable: the segment of the address, and the layer."""
        return {name: (segment, Layer(held)) for name, (segment, held) in inside(self.made)}


def _steps(layer: Layer, segments: list[str]) -> Iterator[tuple[str, Made]]:
    """The way down through what a layer holds, as far as the segments lead along it."""
    rest = list(segments)
    while rest:
        at = next((n for n, part in enumerate(rest) if part in layer.inner), None)
        if at is None:
            return
        step, layer = layer.inner[rest[at]]
        rest = rest[at + 1 :]
        yield step, layer.made


def inside(layer: Made) -> Iterator[tuple[str, tuple[str, Made]]]:
    """What a layer holds: a name in the path of a variable → (segment of the address, layer)."""
    for part in layer.layers or []:
        yield name_of(part), (name_of(part), made(part))
    if not layer.own:
        return
    for segment, kind, said, *axes in table.children(layer.kind).values():
        config = (layer.config or {}).get(said)
        if kind == "*":
            listed: list[Any] = config if isinstance(config, list) else []
            for index, one in enumerate(listed):
                yield name_of(one), (f"{segment}/{index}", made(one))
        elif kind:
            own = layer.config if said == "." else None
            held = Made(kind, own, {}, layer.sure, True, "".join(axes))
            yield (table.known()[kind]["snake"] if said == "." else segment), (segment, held)
        elif isinstance(config, dict):
            yield name_of(config), (segment, made(config))
        if not kind and segment in _WAYS:  # Keras 2 made two of one, and named them by their ways
            config = config or (layer.config or {}).get("layer")
            yield (
                f"{_WAYS[segment]}_{name_of(config if isinstance(config, dict) else {})}",
                (segment, made(config)),
            )


def _is_trained(layer: Made, leaf: str) -> bool:
    variants = table.known().get(layer.kind, {}).get("own", ()) if layer.own else ()
    said = [t for v in variants for _, name, t in v["leaves"] if name == leaf]
    return said[0] if said else True
