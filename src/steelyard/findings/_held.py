"""What a layer holds at any depth, also where Keras does not look: in objects and in functions."""

from __future__ import annotations

import dis
import functools
import types
from collections import deque
from collections.abc import Iterator
from typing import Any, NamedTuple

import keras
import numpy as np

from steelyard.live import attributes
from steelyard.refs import ReaderNotes, WeightRef

Path = tuple[str, ...]

# What is looked for; nothing inside of these is looked at.
_WANTED = (keras.Layer, keras.Variable, keras.Metric, keras.random.SeedGenerator, WeightRef)

# Objects of these packages hold what is theirs, not what a user put there.
FRAMEWORKS = frozenset(
    {"keras", "steelyard", "tensorflow", "jax", "jaxlib", "flax", "torch", "numpy", "builtins"}
)

_DEEPEST = 8
# Of a long vocabulary or list of file names, the first entries show what it is.
_MOST_PLAIN = 1000
_PLAIN = (str, bytes, int, float, bool, type(None))

# Of the trainer: its losses may use other models, and while it runs it holds all values.
_OF_THE_TRAINER = frozenset({"loss", "optimizer", "_jax_state"})


class Held(NamedTuple):
    """Something that a layer holds, and the way to it from the layer."""

    way: Path
    value: Any


def held_by(layer: keras.Layer) -> list[Held]:
    """The layers, variables, references and arrays that a layer holds, each once, nearest first.

    Looked for in its attributes and its class's, in the `call` that its user wrote, and from there
    in lists and dictionaries, plain objects, functions with what they close over, and bound
    methods.
    """
    queue: deque[tuple[Path, Any]] = deque()
    for name, value in attributes(layer).items():
        if name not in _OF_THE_TRAINER:
            queue.append(((name.lstrip("_") or name,), value))
    queue.extend(_of_classes(type(layer)))
    found: list[Held] = []
    seen: dict[int, Any] = {id(layer): layer}  # the values too: an id is one only while it lives
    while queue:
        way, value = queue.popleft()
        if isinstance(value, _PLAIN) or id(value) in seen:
            continue
        seen[id(value)] = value
        if isinstance(value, _WANTED) or is_raw(value) or is_array(value):
            found.append(Held(way, value))
        elif len(way) < _DEEPEST:
            queue.extend(((*way, segment), item) for segment, item in _inside(value))
    return found


def is_array(value: Any) -> bool:
    """Whether a value is a NumPy array or a tensor of the backend, with a value."""
    if isinstance(value, np.ndarray):
        return True
    if not is_of_a_framework(type(value)) or isinstance(value, (keras.Variable, keras.KerasTensor)):
        return False
    return bool(keras.ops.is_tensor(value)) and not _is_of_a_trace(value)


def _is_of_a_trace(value: Any) -> bool:
    """Whether a tensor stands for a value in a compiled function: losses are kept, say."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return bool(tf.is_symbolic_tensor(value))
    if keras.backend.backend() == "jax":
        import jax

        return isinstance(value, jax.core.Tracer)
    return False


def is_raw(value: Any) -> bool:
    """Whether a value is a variable, or a module of them, of the backend and not of Keras."""
    if isinstance(value, (keras.Layer, keras.Variable)):
        return False
    backend = keras.backend.backend()
    if type(value).__module__.partition(".")[0] in ("builtins", "numpy", "keras"):
        return False
    if backend == "tensorflow":
        import tensorflow as tf

        return isinstance(value, tf.Variable)
    if backend == "torch":
        import torch

        return isinstance(value, (torch.nn.Parameter, torch.nn.Module))
    return False


def is_of_a_framework(kind: type) -> bool:
    """Whether a class is Keras's, ours or a backend's, and not its user's."""
    return kind.__module__.partition(".")[0] in FRAMEWORKS


def _of_classes(kind: type) -> Iterator[tuple[Path, Any]]:
    """The `call` of a user's class, and what its attributes hold for all layers of the class."""
    for base in kind.__mro__:
        if is_of_a_framework(base):
            continue
        for name, value in vars(base).items():
            if name == "call" or (not name.startswith("__") and not _is_code(value)):
                yield (name,), value


def _is_code(value: Any) -> bool:
    return hasattr(value, "__get__") or (callable(value) and not isinstance(value, _WANTED))


def _inside(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        yield from ((str(key), item) for key, item in value.items())
    elif isinstance(value, (list, tuple, set, frozenset, deque)):
        yield from _items(value)
    elif isinstance(value, functools.partial):
        yield "func", value.func
        yield from _items(value.args)
        yield from value.keywords.items()
    elif isinstance(value, types.MethodType):
        yield "__self__", value.__self__
        yield from _inside(value.__func__)
    elif isinstance(value, types.FunctionType):
        yield from _of_function(value)
    elif isinstance(value, ReaderNotes):
        yield from _items([*value.references, *value.listed])
    elif _is_users(value):
        yield from getattr(value, "__dict__", {}).items()
        for base in type(value).__mro__:
            for name in _slots(base):
                yield name, getattr(value, name, None)


def _items(value: Any) -> Iterator[tuple[str, Any]]:
    names = getattr(value, "_fields", None)
    for index, item in enumerate(value):
        if index == _MOST_PLAIN and isinstance(item, _PLAIN):
            return
        yield (names[index] if names else str(index)), item


def _slots(kind: type) -> tuple[str, ...]:
    slots = vars(kind).get("__slots__", ())
    slots = (slots,) if isinstance(slots, str) else tuple(slots)
    return tuple(name for name in slots if name not in ("__dict__", "__weakref__"))


def _is_users(value: Any) -> bool:
    if isinstance(value, (type, types.ModuleType)) or callable(getattr(value, "__next__", None)):
        return False
    return not is_of_a_framework(type(value))


def _of_function(function: types.FunctionType) -> Iterator[tuple[str, Any]]:
    """What a function closes over, its defaults, and the globals that it reads."""
    if function.__module__ and function.__module__.partition(".")[0] in FRAMEWORKS:
        return
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            yield name, cell.cell_contents
        except ValueError:  # not assigned yet
            continue
    yield from _items(function.__defaults__ or ())
    yield from (function.__kwdefaults__ or {}).items()
    for name in _globals_read(function.__code__):
        value = function.__globals__.get(name)
        if isinstance(value, _WANTED) or is_array(value):
            yield name, value
    if (wrapped := getattr(function, "__wrapped__", None)) is not None:
        yield "__wrapped__", wrapped


@functools.lru_cache(maxsize=1024)
def _globals_read(code: types.CodeType) -> tuple[str, ...]:
    """The global names that a function reads, in functions inside it too."""
    names = {
        str(instruction.argval)
        for instruction in dis.get_instructions(code)
        if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME")
    }
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            names |= set(_globals_read(constant))
    return tuple(sorted(names))
