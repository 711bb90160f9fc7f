"""What a pickle says, told without running it.

`pickletools.genops` cuts the bytes into instructions; of these, only the ones that build numbers,
texts, lists and dicts are followed, on a stack of our own. Nothing is imported by the name that a
pickle gives: a name has to be on a list, and what it stands for is up to who walks.
"""

from __future__ import annotations

import io
import pickletools
from collections.abc import Callable, Container
from typing import Any

from steelyard.errors import CheckpointError, LimitError

# A tensor of a state dict takes some 40 instructions.
_MOST_INSTRUCTIONS = 4_000_000
_PLAIN_KEYS = (str, int, float, bool, type(None))

Call = Callable[[str, tuple[Any, ...]], Any]
Find = Callable[[Any], Any]


class Odd:
    """Something that is no tensor and holds none."""


class Name(str):
    """A name that is on the list, such as `collections.OrderedDict`."""


def walk_pickle(data: bytes, where: str, names: Container[str], call: Call, find: Find) -> Any:
    """The value that a pickle describes.

    Args:
        data: The pickle.
        where: What it is of, for the errors.
        names: Those that it may use.
        call: What comes of calling one of them with arguments.
        find: What a persistent id stands for.

    Raises:
        CheckpointError: It uses another name, or another instruction, or is damaged.
        LimitError: It is too long.
    """
    walk = _Walk(where, names, call, find)
    end = -1
    try:
        for count, (op, arg, at) in enumerate(pickletools.genops(io.BytesIO(data))):
            if count >= _MOST_INSTRUCTIONS:
                raise LimitError(f"{where}: more than {_MOST_INSTRUCTIONS:,} instructions")
            walk.follow(op.name, arg)
            end = (at or 0) + 1
    except CheckpointError:
        raise
    except (ValueError, IndexError, KeyError, TypeError, OverflowError) as error:
        raise CheckpointError(f"{where}: damaged: {str(error)[:200]}") from error
    if end != len(data) or len(walk.stack) != 1 or walk.below:
        raise CheckpointError(f"{where}: damaged: there is more than one value")
    return walk.stack[0]


class _Walk:
    """The stack of a pickle."""

    def __init__(self, where: str, names: Container[str], call: Call, find: Find) -> None:
        self.where, self.names, self.call, self.find = where, names, call, find
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []  # the stacks under each mark
        self.memo: dict[int, Any] = {}

    def follow(self, op: str, arg: Any) -> None:
        """Does what one instruction says."""
        if op in _CONSTANTS:
            self.stack.append(_CONSTANTS[op])
        elif op in _ARGUMENTS:
            self.stack.append(arg)
        elif op in _NEW:
            self.stack.append(_NEW[op]())
        elif op in _STEPS:
            _STEPS[op](self, arg)
        elif op not in _SILENT:
            self._refuse(f"the instruction {op}{f' ({arg!r:.100})' if arg is not None else ''}")

    def _refuse(self, what: str) -> None:
        raise CheckpointError(
            f"{self.where}: {what} is not what a dict of tensors is made of; nothing of it was run"
        )

    def _put(self, key: int) -> None:
        self.memo[key] = self.stack[-1]

    def _get(self, key: int) -> None:
        self.stack.append(self.memo[key])

    def _mark(self) -> None:
        self.below.append(self.stack)
        self.stack = []

    def _to_mark(self) -> list[Any]:
        above, self.stack = self.stack, self.below.pop()
        return above

    def _tuple_to_mark(self) -> None:
        items = tuple(self._to_mark())
        self.stack.append(items)

    def _tuple(self, count: int) -> None:
        if len(self.stack) < count:
            raise IndexError("the stack is empty")
        items = tuple(self.stack[-count:])
        self.stack[-count:] = [items]

    def _name(self, text: str) -> None:
        if text not in self.names:
            self._refuse(f"the name {text!r:.200}")
        self.stack.append(Name(text))

    def _stack_name(self) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        self._name(f"{_of(module, str)}.{_of(name, str)}")

    def _reduce(self) -> None:
        arguments, function = self.stack.pop(), self.stack.pop()
        self.stack.append(self.call(_of(function, Name), _of(arguments, tuple)))

    def _extend(self, items: list[Any]) -> None:
        _of(self.stack[-1], list).extend(items)

    def _set(self, items: list[Any]) -> None:
        set_items(self.stack[-1], items)

    def _build(self) -> None:
        # The attributes of an OrderedDict: a state dict keeps versions there, and no tensors.
        self.stack.pop()
        if not isinstance(self.stack[-1], dict | Odd):
            self._refuse("the instruction BUILD on anything but a dict")


def set_items(target: Any, items: list[Any]) -> None:
    """Puts keys and values, in turns, into a dict.

    A key that is no plain value is replaced by a nameless one: to compare tuples of tuples may
    take for ever.
    """
    if len(items) % 2:
        raise ValueError("a key without a value")
    found = _of(target, dict)
    for key, value in zip(items[::2], items[1::2], strict=True):
        found[key if type(key) in _PLAIN_KEYS else Odd()] = value


def _of(value: Any, kind: type) -> Any:
    if not isinstance(value, kind):
        raise TypeError(f"{type(value).__name__} stands where {kind.__name__} is due")
    return value


_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_NEW: dict[str, Callable[[], Any]] = {"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_SET": Odd}
_SILENT = {"PROTO", "FRAME", "STOP"}
_ARGUMENTS = {
    *("BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT"),
    *("BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BINSTRING", "SHORT_BINSTRING"),
}
_STEPS: dict[str, Callable[[_Walk, Any], None]] = {
    "BINPUT": _Walk._put,
    "LONG_BINPUT": _Walk._put,
    "MEMOIZE": lambda walk, _: walk._put(len(walk.memo)),
    "BINGET": _Walk._get,
    "LONG_BINGET": _Walk._get,
    "MARK": lambda walk, _: walk._mark(),
    "TUPLE": lambda walk, _: walk._tuple_to_mark(),
    "TUPLE1": lambda walk, _: walk._tuple(1),
    "TUPLE2": lambda walk, _: walk._tuple(2),
    "TUPLE3": lambda walk, _: walk._tuple(3),
    "GLOBAL": lambda walk, arg: walk._name(arg.replace(" ", ".", 1)),
    "STACK_GLOBAL": lambda walk, _: walk._stack_name(),
    "REDUCE": lambda walk, _: walk._reduce(),
    "BINPERSID": lambda walk, _: walk.stack.append(walk.find(walk.stack.pop())),
    "APPEND": lambda walk, _: walk._extend([walk.stack.pop()]),
    "APPENDS": lambda walk, _: walk._extend(walk._to_mark()),
    "ADDITEMS": lambda walk, _: _of((walk._to_mark(), walk.stack[-1])[1], Odd),
    "SETITEM": lambda walk, _: walk._set([walk.stack.pop(), walk.stack.pop()][::-1]),
    "SETITEMS": lambda walk, _: walk._set(walk._to_mark()),
    "BUILD": lambda walk, _: walk._build(),
}
