"""`steelyard list`: what is in a file."""

from __future__ import annotations

from typing import Any

import click

from steelyard.cli import _output

_SCHEMA = 1
_HEAD = ("address", "shape", "dtype", "size", "trainable", "layer")
_FIELDS = ("address", "shape", "dtype", "size", "nbytes", "trainable", "layer")
_OF_SPEC = ("aliases", "stored_shape", "axes")


@click.command()
@click.argument("path")
@click.option("--select", multiple=True, metavar="PATTERN", help="Only these; may be repeated.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def list(path: str, select: tuple[str, ...], as_json: bool) -> None:
    """List the weights in a file, without reading their values.

    PATH is a checkpoint of any format that sy.weights opens. A pattern is that of an address, such
    as "**/kernel".

    The JSON document has the keys steelyard ("list"), schema (1), path, note, count, size, nbytes
    and weights: objects with address, shape, dtype, size, nbytes, trainable, layer, aliases,
    stored_shape and axes.
    """
    from steelyard import opening
    from steelyard.urls import shown

    found = opening.weights(path)
    if select:
        found = found.select(select)
    if as_json:
        _output.document("list", _SCHEMA, {"path": shown(path), **_told(found)})
    else:
        _show(found)


def _told(found: Any) -> dict[str, Any]:
    return {
        "note": _note(found),
        "count": len(found),
        "size": found.size,
        "nbytes": found.nbytes,
        "weights": [*map(_fields, found)],
    }


def _fields(weight: Any) -> dict[str, Any]:
    told = {name: getattr(weight, name) for name in _FIELDS}
    return told | {name: getattr(weight.spec, name) for name in _OF_SPEC}


def _show(found: Any) -> None:
    from steelyard.selection import plain, total

    rows = [tuple(map(plain, _row(weight))) for weight in found]
    note = _note(found)
    below = [total(found.specs), *([plain(note)] if note else [])]
    _output.show([_HEAD, *rows] if rows else [], (3,), below)


def _row(weight: Any) -> tuple[str, ...]:
    trainable = "yes" if weight.trainable else "no"
    size = f"{weight.size:,}"
    return (weight.address, str(weight.shape), weight.dtype, size, trainable, weight.layer)


def _note(found: Any) -> str:
    """What the source says of itself, such as what it could not name."""
    return str(getattr(found.source, "note", "") or "")
