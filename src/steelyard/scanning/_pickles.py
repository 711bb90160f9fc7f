"""What a pickle would use, told by its instructions; none of them is carried out.

The stack of the pickle is followed only as far as texts are on it, since a name may be put together
from two texts. Whatever else is on it is nobody's business: what matters are the names.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from typing import Any

from steelyard.errors import CheckpointError, LimitError
from steelyard.scanning._pickle_names import code_of
from steelyard.scanning._piece import Piece
from steelyard.scanning._report import Report
from steelyard.scanning._strings import shown

_MOST_INSTRUCTIONS = 3_000_000
_MOST_READ = 128 << 20  # one value of the pickle
_MOST_NAME = 1000
_OLD_TORCH = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."
_PICKLES_OF_TORCH = 5  # a number, a version, what system, the value, the keys of the storages
_MOST_PICKLES = 10_000

_SOMETHING, _MARK = object(), object()
_MOST_TRIED = 100_000  # instructions, to see whether something is a pickle at all
INSTRUCTIONS = {op.code for op in pickletools.opcodes}
_CALLS = ("GLOBAL", "INST", "STACK_GLOBAL")
_TEXTS = {
    *("UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING"),
}


def scan_pickles(piece: Piece, report: Report, start: int = 0) -> str:
    """Notes what the pickles from a place on would use, and what they are of.

    Raises:
        CheckpointError: The instructions are damaged; what came before is noted.
        LimitError: There are too many, or they take too long.
    """
    at, count = start, 0
    torch = piece.read(start, len(_OLD_TORCH)) == _OLD_TORCH
    while at < piece.size:
        if count >= _MOST_PICKLES:
            raise LimitError(f"more than {_MOST_PICKLES:,} pickles, one after the other")
        if count and not torch and not _begins(piece.read(at, 2)):
            rest = piece.size - at
            report.add("pickle-trailing", piece, f"byte {at:,}", f"{rest:,} bytes follow its end.")
            break
        at = _Walk(piece, report, at).run()
        count += 1
        if torch and count == _PICKLES_OF_TORCH:
            break  # what follows are the numbers
    return "PyTorch, as before 1.6" if torch else "a pickle"


def begins_as_pickle(piece: Piece, *, whole: bool) -> bool:
    """Whether it can be a pickle of the first protocol, which has nothing to be known by.

    Args:
        piece: What it is.
        whole: Whether it has to be one up to its end, since it is a text; else it has to use a
            name before it breaks off.
    """
    file: Any = _Bounded(piece, 0)
    names, at = False, -1
    try:
        for count, (op, _, place) in enumerate(pickletools.genops(file)):
            if count >= _MOST_TRIED:
                return True
            names, at = names or op.name in _CALLS, place or 0
    except (ValueError, IndexError, OverflowError):
        return names and not whole
    return not piece.read(at + 1, 100).strip()


def _begins(head: bytes) -> bool:
    return len(head) == 2 and head[0] == 0x80 and head[1] <= 5


class _Bounded:
    """A file to read instructions from: one value is no longer than is allowed."""

    def __init__(self, piece: Piece, start: int) -> None:
        self._file, self._start = piece.stream(start), start

    def read(self, count: int) -> bytes:
        if count > _MOST_READ:
            raise LimitError(f"a value of {count:,} bytes; at most {_MOST_READ:,} are read")
        return self._file.read(count)

    def readline(self) -> bytes:
        return self._file.readline(_MOST_READ)

    def tell(self) -> int:
        return self._start + self._file.tell()


class _Walk:
    """One pickle: its stack, as far as texts are on it."""

    def __init__(self, piece: Piece, report: Report, start: int) -> None:
        self._piece, self._report, self._start = piece, report, start
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}
        self._at = start
        self._is_joblib = False

    def run(self) -> int:
        """Follows the instructions; gives where the pickle ends."""
        file: Any = _Bounded(self._piece, self._start)
        try:
            for count, (op, arg, at) in enumerate(pickletools.genops(file)):
                self._at = at or 0
                if count >= _MOST_INSTRUCTIONS:
                    raise LimitError(f"more than {_MOST_INSTRUCTIONS:,} instructions")
                if not count % 4096:
                    self._report.check()
                _STEPS.get(op.name, _Walk._any)(self, op, arg)
        except CheckpointError as error:
            raise type(error)(f"after byte {self._at:,}: {error}") from None
        except (ValueError, IndexError, OverflowError, UnicodeError) as error:
            where = f"the pickle breaks off after byte {self._at:,}"
            if self._is_joblib:
                where = (
                    f"joblib keeps arrays between the instructions, and only what comes before the "
                    f"first was read, {self._at:,} bytes"
                )
            raise CheckpointError(f"{where}: {str(error)[:100]}") from None
        return self._at + 1

    def _add(self, code: str, message: str) -> None:
        self._report.add(code, self._piece, f"byte {self._at:,}", message)

    # --- The stack --------------------------------------------------------------------------------

    def _any(self, op: Any, arg: Any) -> None:
        """Takes from the stack what the instruction takes, and puts as much there as it does."""
        for kind in reversed(op.stack_before):
            if kind is pickletools.stackslice:
                self._to_mark()
            elif kind is not pickletools.markobject:
                self._pop()
        is_text = op.name in _TEXTS and isinstance(arg, str) and len(arg) <= _MOST_NAME
        self._stack += [arg if is_text else _SOMETHING] * len(op.stack_after)

    def _pop(self) -> Any:
        return self._stack.pop() if self._stack else _SOMETHING

    def _to_mark(self) -> None:
        while self._stack and self._stack.pop() is not _MARK:
            pass

    def _mark(self, op: Any, arg: Any) -> None:
        self._stack.append(_MARK)

    def _pop_mark(self, op: Any, arg: Any) -> None:
        self._to_mark()

    def _dup(self, op: Any, arg: Any) -> None:
        self._stack.append(self._stack[-1] if self._stack else _SOMETHING)

    def _put(self, op: Any, arg: Any) -> None:
        key = len(self._memo) if op.name == "MEMOIZE" else arg
        self._memo[key] = self._stack[-1] if self._stack else _SOMETHING

    def _get(self, op: Any, arg: Any) -> None:
        self._stack.append(self._memo.get(arg, _SOMETHING))

    # --- The names --------------------------------------------------------------------------------

    def _name(self, module: str, name: str) -> None:
        self._is_joblib = self._is_joblib or module == "joblib.numpy_pickle"
        if code := code_of(module, name):
            self._add(code, f"The name {shown(f'{module}.{name}')} is used.")

    def _global(self, op: Any, arg: Any) -> None:
        module, _, name = str(arg).partition(" ")
        self._name(module, name)
        self._stack.append(_SOMETHING)

    def _inst(self, op: Any, arg: Any) -> None:
        self._to_mark()
        self._global(op, arg)

    def _stack_global(self, op: Any, arg: Any) -> None:
        name, module = self._pop(), self._pop()
        if isinstance(module, str) and isinstance(name, str):
            self._name(module, name)
        else:
            self._add("pickle-opcode", "A name is put together while the pickle is loaded.")
        self._stack.append(_SOMETHING)

    def _extension(self, op: Any, arg: Any) -> None:
        self._add("pickle-opcode", f"A name stands in a registry under the number {arg}.")
        self._stack.append(_SOMETHING)


_STEPS: dict[str, Callable[[_Walk, Any, Any], None]] = {
    "MARK": _Walk._mark,
    "POP_MARK": _Walk._pop_mark,
    "DUP": _Walk._dup,
    "GLOBAL": _Walk._global,
    "INST": _Walk._inst,
    "STACK_GLOBAL": _Walk._stack_global,
    **dict.fromkeys(("EXT1", "EXT2", "EXT4"), _Walk._extension),
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"), _Walk._put),
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), _Walk._get),
}
