"""What the configs in a text of JSON name: read as text, and nothing looked up by its name."""

from __future__ import annotations

import base64
import builtins
import re
from collections.abc import Iterator
from typing import Any

from steelyard.errors import CheckpointError, LimitError
from steelyard.scanning import _keras_known as known
from steelyard.scanning._graph_ops import kind_of
from steelyard.scanning._json_text import Huge, Object, parse
from steelyard.scanning._piece import Piece
from steelyard.scanning._report import Report
from steelyard.scanning._strings import is_obeyed, is_path_out, is_url, shown

# Keys whose texts are names; and those whose texts are words, numbers or code, and no paths.
_NAMES = ("name", "class_name", "registered_name", "module")
_WORDS = {"vocabulary", "input_vocabulary", "idf_weights", "value", "code", "merges", "output_data"}
_SWITCH = "enable_unsafe_deserialization"
_STORES = ("driver", "kvstore")
_BASE64 = re.compile(r"[A-Za-z0-9+/\s]{16,}+={0,2}\s*")
_WORD = re.compile(rb"[A-Za-z_][A-Za-z0-9_.]{2,30}")
_PYTHONS = frozenset(dir(builtins))

# A value, the keys that lead to it (the last first), whether it is in an object of Keras, and the
# nearest key.
_Keys = tuple[Any, ...]
_Step = tuple[Any, _Keys, bool, str]


def scan_json(piece: Piece, report: Report, data: bytes, place: str = "$") -> None:
    """Notes all that a text of JSON names.

    Args:
        piece: Where the text is.
        report: Takes what is found.
        data: The text.
        place: What to call its root.

    Raises:
        CheckpointError: It is no JSON.
        LimitError: It is too long, too deep, or takes too long.
    """
    _Walk(piece, report, place).run(parse(data))


class _Walk:
    def __init__(self, piece: Piece, report: Report, root: str) -> None:
        self._piece, self._report, self._root = piece, report, root

    def run(self, value: Any) -> None:
        stack: list[_Step] = [(value, (), False, "")]
        count = 0
        while stack:
            step = stack.pop()
            value, keys, inside, key = step
            count += 1
            if not count % 4096:
                self._report.check()
            if isinstance(value, Object):
                inside = inside or isinstance(value.get("class_name"), str)
                stack += self._object(value, keys, inside)
            elif isinstance(value, list):
                stack += [(item, (n, keys), inside, key) for n, item in enumerate(value)][::-1]
            elif isinstance(value, str):
                self._text(value, keys, inside, key)
                stack += [(inner, keys, inside, key) for inner in _inside(value)]
            elif isinstance(value, Huge):
                self._add("json-huge-number", keys, "A whole number of very many digits.")

    def _add(self, code: str, keys: _Keys, message: str) -> None:
        self._report.add(code, self._piece, self._root + _path(keys), message)

    def _object(self, value: Object, keys: _Keys, inside: bool) -> Iterator[_Step]:
        pairs = [*value.items(), *value.shadowed]
        for key in dict.fromkeys(key for key, _ in value.shadowed):
            self._add("json-duplicate-key", keys, f"The key {shown(key)} is there twice.")
        if inside:
            for key in value:
                self._name(key, (key, keys))
        names = [name for key, name in pairs if key == "class_name" and isinstance(name, str)]
        for name in names:
            self._class(name, value, keys)
        if isinstance(value.get("auto_map"), Object) and value["auto_map"]:
            named = ", ".join(shown(str(v)) for v in list(value["auto_map"].values())[:3])
            self._add("auto-map", keys, f"The config names code to run: {named}.")
        self._weight_map(value.get("weight_map"), keys)
        inside = inside or any(key in value for key in _STORES)
        yield from ((v, (key, keys), inside, key) for key, v in reversed(pairs))

    # --- Texts ------------------------------------------------------------------------------------

    def _text(self, text: str, keys: _Keys, inside: bool, key: str) -> None:
        if key in _NAMES and inside:
            self._name(text, keys)
        if not inside or key in _WORDS:
            return
        if _SWITCH in text[:1000]:
            self._add("unsafe-deserialization", keys, f"The text {shown(text)} is there.")
        if is_url(text):
            self._add("url-in-config", keys, f"The address {shown(text)} is there.")
        elif is_path_out(text):
            self._add("path-in-config", keys, f"The path {shown(text)} is there.")

    def _name(self, text: str, keys: _Keys) -> None:
        if is_obeyed(text):
            self._add("terminal-escape", keys, f"The name {shown(text)} is there.")

    def _weight_map(self, told: Any, keys: _Keys) -> None:
        """Of an index of shards: each lies next to the index."""
        for name in told.values() if isinstance(told, Object) else ():
            for shard in name if isinstance(name, list) else [name]:
                if isinstance(shard, str) and (is_url(shard) or is_path_out(shard)):
                    message = f"The index says that weights are in {shown(shard)}."
                    self._add("path-in-config", ("weight_map", keys), message)

    # --- Objects of Keras -------------------------------------------------------------------------

    def _class(self, name: str, value: Object, keys: _Keys) -> None:
        config = value.get("config")
        if name in known.VALUES:
            return
        if name == "__lambda__":
            self._add("lambda-bytecode", keys, f"A lambda is kept as bytecode{_mentions(config)}.")
        elif name == "function":
            self._function(config, value, keys)
        else:
            spec = value.get("spec_name")
            kind = spec if name == "__typespec__" and isinstance(spec, str) else name
            self._origin(kind, value, keys)
            if isinstance(config, Object):
                self._config(kind, config, ("config", keys))

    def _function(self, name: Any, value: Object, keys: _Keys) -> None:
        for one in {str(name), str(value.get("registered_name") or name)} - {"function"}:
            self._one_function(one, value.get("module"), keys)

    def _one_function(self, name: str, module: Any, keys: _Keys) -> None:
        module = module if isinstance(module, str) else ""
        message = f"The function {shown(name)}{_of(module)} is named."
        if _SWITCH in name:
            self._add("unsafe-deserialization", keys, message)
        elif module == "builtins" and name in _PYTHONS:
            self._add("function-reference", keys, message)
        elif module in ("", "builtins", "__main__"):
            if name not in known.FUNCTIONS:
                self._add("custom-function", keys, message)
        elif known.FUNCTION_MODULES.fullmatch(module):
            if name in ("get", "deserialize", "serialize") or not name.isidentifier():
                self._add("function-reference", keys, message)
        else:
            self._add("function-reference", keys, message)

    def _origin(self, name: str, value: Object, keys: _Keys) -> None:
        module, registered = value.get("module"), value.get("registered_name")
        module = module if isinstance(module, str) else ""
        package = registered if isinstance(registered, str) and ">" in registered else ""
        message = f"The class {shown(name)}{_of(module)} is named."
        if known.is_of_keras(module):
            if not known.is_class(name):
                message = f"The function {shown(name)}{_of(module)} stands for a class."
                self._add("function-reference", keys, message)
            elif package:
                self._add("custom-class", keys, f"The class {shown(package)} is named.")
        elif known.is_dangerous_module(module):
            self._add("foreign-module", keys, message)
        elif package:
            message = f"The class {shown(package)}{_of(module)} is named."
            self._add("custom-class", keys, message)
        elif not module and "module" not in value and known.is_old_class(name):
            return
        elif module in ("", "__main__") or known.is_friend(module):
            self._add("custom-class", keys, message)
        else:
            self._add("unregistered-class", keys, message)

    def _config(self, name: str, config: Object, keys: _Keys) -> None:
        """What the arguments of a few classes can do."""
        if name in ("Lambda", "SlicingOpLambda", "TFOpLambda", "TensorFlowOpLayer"):
            self._lambda(name, config, keys)
        elif name == "TFSMLayer":
            path = shown(str(config.get("filepath")))
            self._add("tfsm-layer", keys, f"The SavedModel {path} would be loaded.")
        elif name == "TorchModuleWrapper":
            size = len(str(config.get("module")))
            self._add("torch-module-wrapper", keys, f"A pickle of {size:,} letters is in it.")
        if isinstance(words := config.get("vocabulary"), str):
            self._add("vocabulary-file", keys, f"The vocabulary is in {shown(words)}.")

    def _lambda(self, name: str, config: Object, keys: _Keys) -> None:
        if name != "Lambda":
            called = str(config.get("function") or "")
            risky = called.startswith(known.RISKY_CALLS)
            if name == "TensorFlowOpLayer":
                called = str(config.get("node_def"))
                risky = any(kind_of(word) for word in _words(called))
            if risky:
                self._add("tensorflow-op", keys, f"It calls {shown(called)}.")
            return
        for key in ("function", "output_shape", "mask"):
            told, kind = config.get(key), config.get(f"{key}_type")
            if kind == "lambda" or (key == "function" and isinstance(told, list)):
                message = f"A lambda is kept as bytecode{_mentions(told)}."
                self._add("lambda-bytecode", (key, keys), message)
            elif isinstance(told, str) and (kind == "function" or key == "function"):
                self._one_function(told, config.get("module"), (key, keys))


def _inside(text: str) -> list[Any]:
    """The JSON that a text is, in which some files keep a config; none if it is another text."""
    if text.lstrip()[:1] not in ("{", "["):
        return []
    try:
        return [parse(text.encode("utf-8", "replace"))]
    except LimitError:
        raise  # what is too deep to be read may hide something
    except CheckpointError:
        return []


def _words(text: str) -> list[str]:
    return "".join(c if c.isalnum() else " " for c in text[:100_000]).split()


def _of(module: str) -> str:
    return f" of {shown(module)}" if module else ""


def _path(keys: _Keys) -> str:
    """The path in JSON: `.config.layers[2]`."""
    parts = []
    while keys:
        key, keys = keys
        if isinstance(key, int):
            parts.append(f"[{key}]")
        else:
            parts.append(f".{key}" if key.isidentifier() else f"[{shown(key)}]")
    return "".join(reversed(parts))


def _mentions(code: Any) -> str:
    """The names that a bytecode has in it, as far as they can be seen without decoding it."""
    if isinstance(code, dict):
        code = code.get("code") or code.get("value")
    if isinstance(code, list):
        code = code[0] if code else None
    if not isinstance(code, str) or not _BASE64.fullmatch(code[:100_000]):
        return ""  # none of a function that anybody compiled
    code = "".join(code[:100_000].split())
    raw = base64.b64decode(code[: len(code) // 4 * 4])
    words = dict.fromkeys(word.decode() for word in _WORD.findall(raw))
    named = [word for word in words if not word.startswith(("lambda", "<"))][:8]
    return f", which mentions {', '.join(named)}" if named else ""
