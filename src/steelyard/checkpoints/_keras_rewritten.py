"""Weights of which a file keeps what a parametrization takes, and not what it gives.

Steelyard writes into the config of a layer, or of the nearest one around it that is written, what
it has done to a weight. A parametrization is code, so it is not run here: such a weight has a name
and what is stored, and no effective value.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from steelyard.checkpoints._keras_config import name_of
from steelyard.checkpoints._keras_place import Named

ADDED = "steelyard_added"  # the group of what a parametrization has added to a layer
_KEY = "steelyard"
# What is no way in an address: Keras's own words around a layer's arguments.
_AROUND = ("config", "layers")


def marked(named: list[Named], config: Any) -> list[Named]:
    """The variables, each with the parametrization that takes it, if one does.

    Args:
        named: Those of a file.
        config: The parsed config of the model; None without one.
    """
    taken = dict(_parametrized(config, ()))
    added = sorted(one.address for one in named if f"/{ADDED}/" in f"/{one.stored}")
    for one in named:  # without a config, what lies beside a weight tells
        if _first_below(added, f"{one.address}_"):
            taken.setdefault(one.address.lstrip("/"), "")
    there = {way for one in named for way in (one.address, *one.aliases)}
    lost = sorted(set(taken) - there)
    return [replace(one, parametrized=_by(one, taken, lost)) for one in named]


def _first_below(ways: list[str], beginning: str) -> str:
    """The first of the sorted ways that begins like this; "" if none does."""
    at = bisect_left(ways, beginning)
    return ways[at] if at < len(ways) and ways[at].startswith(beginning) else ""


def _by(one: Named, taken: dict[str, str], lost: list[str]) -> str | None:
    for way in (one.address, *one.aliases):
        if way in taken:
            return taken[way]
    if one.naming != "unknown":
        return None
    # One of the layer's weights is meant, and nothing says which.
    holder = one.address.rpartition("vars/")[0]
    return taken.get(_first_below(lost, holder)) if lost else None


def _parametrized(config: Any, way: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """The addresses that the configs name, each with the class of its parametrization."""
    if not isinstance(config, dict):
        return
    inner = config.get("config")
    inner = {"layers": inner} if isinstance(inner, list) else inner
    if not isinstance(inner, dict):
        return
    yield from _written(inner.get(_KEY), way)
    for key, value in inner.items():
        for index, part in enumerate(value if isinstance(value, list) else [value]):
            if not isinstance(part, dict) or "class_name" not in part or key == _KEY:
                continue
            if key in _AROUND:
                step: tuple[str, ...] = (name_of(part),)
            else:
                step = (key, str(index)) if isinstance(value, list) else (key,)
            yield from _parametrized(part, (*way, *step))


def _written(said: Any, way: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    rewrites = said.get("rewrites") if isinstance(said, dict) else None
    for one in rewrites if isinstance(rewrites, list) else []:
        if isinstance(one, dict) and one.get("kind") == "Parametrize":
            how = one.get("parametrization")
            kind = how.get("class_name") if isinstance(how, dict) else None
            yield "/".join((*way, str(one.get("address")))), str(kind or "")
