"""SavedModels and graphs of TensorFlow: their operations, their assets, and Keras's configs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from steelyard.checkpoints import fields
from steelyard.errors import CheckpointError
from steelyard.scanning._graph_ops import kind_of
from steelyard.scanning._keras_objects import scan_json
from steelyard.scanning._piece import Piece
from steelyard.scanning._report import Report
from steelyard.scanning._strings import is_path_out, is_url, leads_out, shown

_MOST = 128 << 20
_SAYS = {
    "graph-python": "calls Python",
    "graph-file": "reads or writes files",
    "graph-network": "talks to other machines",
}
# The numbers of fields, as TensorFlow's own descriptions of its messages have them.
_META_GRAPH, _GRAPH, _ASSET, _OBJECTS = 2, 2, 6, 7
_NODE, _LIBRARY, _FUNCTION, _SIGNATURE, _FUNCTION_NODE = 1, 2, 1, 1, 3
_NAME, _OP, _ATTRIBUTE = 1, 2, 5


def scan_saved_model(piece: Piece, report: Report) -> str:
    """Notes what the graphs of a SavedModel do besides computing."""
    for graph in _inner(_view(piece), _META_GRAPH, report):
        for number, value in _parsed(graph, report):
            if number == _GRAPH:
                _graph(value, piece, report)
            elif number == _ASSET:
                _asset(value, piece, report)
            elif number == _OBJECTS:
                _objects(value, piece, report)
    return "SavedModel"


def scan_graph(piece: Piece, report: Report) -> str:
    """Notes what a graph that is kept by itself does besides computing."""
    _graph(_view(piece), piece, report)
    return "a graph of TensorFlow"


def scan_metadata(piece: Piece, report: Report) -> str:
    """Notes what the configs that Keras 2 put beside a SavedModel name."""
    for node in _inner(_view(piece), 1, report):
        _config(node, 5, piece, report)
    return "Keras's metadata"


def _view(piece: Piece) -> Any:
    # A view, so that no message in it is copied.
    return memoryview(piece.whole(_MOST))


def _parsed(message: Any, report: Report) -> Iterator[tuple[int, Any]]:
    for count, field in enumerate(fields(message)):
        if not count % 4096:
            report.check()
        yield field


def _inner(message: Any, wanted: int, report: Report) -> Iterator[Any]:
    """The messages in a field, which may be there many times."""
    for number, value in _parsed(message, report):
        if number == wanted:
            if isinstance(value, int):
                raise CheckpointError("a message has a number where a message is due")
            yield value


def _graph(graph: Any, piece: Piece, report: Report) -> None:
    _nodes(_inner(graph, _NODE, report), "the main graph", piece, report)
    for library in _inner(graph, _LIBRARY, report):
        for function in _inner(library, _FUNCTION, report):
            name = next((_first(s, 1, report) for s in _inner(function, _SIGNATURE, report)), b"")
            where = f"function {shown(name.decode('utf-8', 'replace'))}"
            _nodes(_inner(function, _FUNCTION_NODE, report), where, piece, report)


def _nodes(nodes: Iterator[Any], where: str, piece: Piece, report: Report) -> None:
    for node in nodes:
        name = op = b""
        writes = False
        for number, value in _parsed(node, report):
            if number == _NAME:
                name = bytes(value)
            elif number == _OP:
                op = bytes(value)
            elif number == _ATTRIBUTE and op.startswith(b"Print"):
                writes = writes or b"file://" in bytes(value)
        kind = op.decode("utf-8", "replace")
        if code := "graph-file" if writes else kind_of(kind):
            place = f"{where}, node {shown(name.decode('utf-8', 'replace'))}"
            report.add(code, piece, place, f"The operation {shown(kind)} {_SAYS[code]}.")


def _asset(asset: Any, piece: Piece, report: Report) -> None:
    name = _first(asset, 2, report).decode("utf-8", "replace")
    if leads_out(name) or is_path_out(name) or is_url(name):
        report.add("path-in-config", piece, "assets", f"The asset {shown(name)} lies elsewhere.")


def _objects(graph: Any, piece: Piece, report: Report) -> None:
    for node in _inner(graph, 1, report):
        for user in _inner(node, 4, report):
            _config(user, 3, piece, report)


def _config(message: Any, number: int, piece: Piece, report: Report) -> None:
    text = _first(message, number, report)
    if not text.startswith(b"{"):
        return
    try:
        scan_json(piece, report, text, "config: $")
    except CheckpointError as error:
        report.add_error(error, piece, "config")


def _first(message: Any, number: int, report: Report) -> bytes:
    return bytes(next(_inner(message, number, report), b""))
