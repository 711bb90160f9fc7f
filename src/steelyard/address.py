"""Addresses of weights, patterns over them, and the nearest ones to a misspelled one.

An address is the way a person walks to a weight: segments joined by slashes, such as
`encoder/proj/kernel`. A pattern is parsed once, when it is written, so a wrong one fails there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from heapq import nsmallest
from itertools import groupby

from steelyard.errors import AddressError, PatternError


class Address(str):
    """The address of a weight: a string that is known to be well formed.

    Args:
        text: Segments joined by slashes, such as `"encoder/proj/kernel"`.

    Raises:
        AddressError: If the text is empty or a segment is.
    """

    __slots__ = ()

    def __new__(cls, text: str) -> Address:
        """Check the text; a string cannot be looked at before it is made."""
        if not isinstance(text, str):
            raise AddressError(
                f"An address is a string such as 'encoder/proj/kernel'. "
                f"Received: {text!r} (of type {type(text).__name__})"
            )
        if not all(text.split("/")):
            raise AddressError(
                f"An address is segments joined by single slashes, with none at its start or end, "
                f"such as 'encoder/proj/kernel'. Received: {text!r}"
            )
        return super().__new__(cls, text)

    @property
    def segments(self) -> tuple[str, ...]:
        """The steps of the walk, the weight's own name last."""
        return tuple(self.split("/"))

    def __repr__(self) -> str:
        return f"Address({super().__repr__()})"


@dataclass(frozen=True)
class Pattern:
    r"""A set of addresses, written as a person would.

    `*` stands for anything within one segment and `?` for one character of it, `**` as a whole
    segment for any number of segments (none included), `{a,b}` for either, which may nest and may
    hold slashes. A backslash makes the next character stand for itself. After `re:` comes a
    regular expression for the whole address. All else is literal, and case counts.

    >>> Pattern("encoder/**/{kernel,bias}").matches("encoder/blocks/0/bias")
    True

    Args:
        text: The pattern.

    Raises:
        PatternError: If the pattern cannot be read; it says where and what to write.
    """

    text: str
    _compiled: re.Pattern[str] | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not isinstance(self.text, str):
            raise PatternError(
                f"A pattern is a string such as '**/kernel'. "
                f"Received: {self.text!r} (of type {type(self.text).__name__})"
            )
        object.__setattr__(self, "_compiled", _compile(self.text))

    def matches(self, address: str) -> bool:
        """Whether the whole address fits. Linear in its length, but for what follows `re:`."""
        if self._compiled is None:
            return True
        # Globs are compiled so that each segment, the last one too, ends with a slash.
        text = address if self.text.startswith("re:") else address + "/"
        return self._compiled.fullmatch(text) is not None

    def without_wildcards(self) -> str:
        """What is left to compare by eye: `"**/blok*/{kernel,bias}"` gives `"blok/kernel"`."""
        if self.text.startswith("re:"):
            return ""
        plain = [
            "".join(c.text for c in segment if c not in _WILD)
            for segment in _segments(_expand(self.text)[0])
        ]
        return "/".join(segment for segment in plain if segment)


# --- Reading a pattern ---------------------------------------------------------------------------

_MOST_ALTERNATIVES = 1024
_MOST_BRACES = 100


@dataclass(frozen=True)
class _Char:
    """One character of a glob without braces, or `**`; `special` if it stands for others."""

    text: str
    special: bool = False


_DEEP = _Char("**", special=True)
_STAR = _Char("*", special=True)
_ONE = _Char("?", special=True)
_SLASH = _Char("/", special=True)
_WILD = (_DEEP, _STAR, _ONE)
_Glob = tuple[_Char, ...]


def _compile(text: str) -> re.Pattern[str] | None:
    """The regular expression for a pattern; `None` for `"**"`, which fits everything."""
    if text == "**":
        return None
    if text.startswith("re:"):
        try:
            return re.compile(text[3:])
        except re.error as error:
            raise PatternError(
                f"Pattern {text!r}: what follows 're:' is not a regular expression: {error}. "
                f"Without 're:' it is read as a glob, such as '**/kernel'."
            ) from error
    if not text:
        raise PatternError("The pattern is empty. Write '**' for all weights.")
    globs = [_glob_regex(_segments(glob), text) for glob in _expand(text)]
    return re.compile("|".join(dict.fromkeys(globs)), re.DOTALL)


def _expand(text: str) -> list[_Glob]:
    """The pattern without braces: one glob for each choice of alternatives."""
    if text.count("{") > _MOST_BRACES:
        raise PatternError(
            f"Pattern {text!r} has more than {_MOST_BRACES} braces. Write several patterns, or a "
            f"regular expression after 're:'."
        )
    globs, _ = _alternation(text, 0, opened=None)
    return globs


def _alternation(text: str, at: int, opened: int | None) -> tuple[list[_Glob], int]:
    """Read up to the brace that closes the one at `opened`, or to the end if there is none."""
    done: list[_Glob] = []
    current: list[_Glob] = [()]
    while at < len(text):
        char = text[at]
        if char == "}" and opened is not None:
            return done + current, at + 1
        if char == "}":
            raise _error(text, at, "no '{' opens this '}'", "Write '\\}' for the character itself.")
        if char == "," and opened is not None:
            done, current = done + current, [()]
            at += 1
            continue
        if char == "{":
            choices, at = _alternation(text, at + 1, opened=at)
        else:
            token, at = _token(text, at)
            choices = [(token,)]
        if (len(done) + len(current)) * len(choices) > _MOST_ALTERNATIVES:
            raise PatternError(
                f"Pattern {text!r} has more than {_MOST_ALTERNATIVES} combinations of its "
                f"alternatives. Write several patterns, or a regular expression after 're:'."
            )
        current = [left + right for left in current for right in choices]
    if opened is not None:
        raise _error(
            text,
            opened,
            "this '{' is never closed",
            "Close it, as in '{kernel,bias}', or write '\\{' for the character itself.",
        )
    return current, at


def _token(text: str, at: int) -> tuple[_Char, int]:
    if text[at] == "\\":
        if at + 1 == len(text):
            raise _error(text, at, "nothing follows this backslash", "Write '\\\\' for one.")
        return _Char(text[at + 1]), at + 2
    if text.startswith("**", at):
        return _DEEP, at + 2
    return _Char(text[at], special=text[at] in "*?/"), at + 1


def _error(text: str, at: int, what: str, do: str) -> PatternError:
    return PatternError(f"Pattern {text!r}, at character {at + 1}: {what}. {do}")


def _segments(glob: _Glob) -> list[_Glob]:
    parts = [[]] if not glob else [list(g) for k, g in groupby(glob, _SLASH.__eq__) if not k]
    if glob and len(parts) != sum(char == _SLASH for char in glob) + 1:
        parts.append([])  # a slash too many
    return [tuple(part) for part in parts]


def _glob_regex(segments: list[_Glob], text: str) -> str:
    r"""A regular expression that never goes back on a choice that it made.

    What lies between two wildcards has a fixed length (in characters between two `*`, in segments
    between two `**`), so its first fit is as good as any later one and can be kept for good: an
    atomic group. That is what bounds the work on `**/a/**/a/**/a/**/b`.
    """
    runs: list[list[str]] = [[]]
    for segment in segments:
        if segment == (_DEEP,):
            runs.append([])
            continue
        if not segment:
            raise PatternError(
                f"Pattern {text!r} has an empty segment. Segments are joined by single slashes, "
                f"with none at the start or end; '**' stands for any number of segments."
            )
        if _DEEP in segment:
            raise PatternError(
                f"Pattern {text!r}: '**' is a whole segment. Write '*' for anything within a "
                f"segment, or set it apart with slashes, as in 'encoder/**/kernel'."
            )
        runs[-1].append(_segment_regex(segment))
    first, *others = ["".join(run) for run in runs]
    if not others:
        return first
    any_segments = "(?:[^/]+/)*"
    middle = "".join(f"(?>{any_segments}?{run})" for run in others[:-1] if run)
    return first + middle + any_segments + others[-1]


def _segment_regex(segment: _Glob) -> str:
    pieces = [""]
    for char in segment:
        if char == _STAR:
            pieces.append("")
        else:
            pieces[-1] += "[^/]" if char == _ONE else re.escape(char.text)
    first, *others = pieces
    if not others:
        return first + "/"
    return first + "".join(f"(?>[^/]*?{p})" for p in others[:-1] if p) + "[^/]*" + others[-1] + "/"


# --- Did you mean --------------------------------------------------------------------------------


def nearest(name: str, candidates: Iterable[str], n: int = 3) -> list[str]:
    """The candidates that someone who wrote `name` most likely meant, the likeliest first.

    The segments of `name` are laid along those of a candidate from both ends, so that a missing
    head, tail or middle costs little: `"proj/kernel"` and `"encoder/kernel"` both come near
    `"encoder/proj/kernel"`.

    Args:
        name: What was asked for.
        candidates: The addresses that exist.
        n: How many to give at most.

    Returns:
        At most `n` candidates; none if nothing comes near.
    """
    asked = [segment for segment in name.split("/") if segment]
    if not asked:
        return []
    known: dict[tuple[str, str], float] = {}
    ranked = []
    for order, candidate in enumerate(candidates):
        there = candidate.split("/")
        fit = _alignment(asked, there, known)
        if fit >= _NEAR:
            # A small bonus for an equal number of segments; then the order of the model.
            ranked.append((-fit + 0.01 * abs(len(there) - len(asked)), order, candidate))
    return [candidate for _, _, candidate in nsmallest(n, ranked)]


_NEAR = 0.6


def _alignment(
    asked: Sequence[str], there: Sequence[str], known: dict[tuple[str, str], float]
) -> float:
    """How well the best split of `asked` into a head and a tail fits the ends of `there`, 0 to 1.

    A tail that fits whole is put before a head that does: the weight's own name tells most.
    """
    length = min(len(asked), len(there))
    heads, tails = [0.0], [0.0]
    for i in range(length):
        heads.append(heads[-1] + _likeness(asked[i], there[i], known))
        tails.append(tails[-1] + _likeness(asked[-1 - i], there[-1 - i], known))
    best = max(heads[i] * 0.999 + tails[length - i] for i in range(length + 1))
    return best / len(asked)


def _likeness(a: str, b: str, known: dict[tuple[str, str], float]) -> float:
    if a == b:
        return 1.0
    if (a, b) not in known:
        matcher = SequenceMatcher(None, a.lower(), b.lower(), autojunk=False)
        near = matcher.real_quick_ratio() > 0.4 and matcher.quick_ratio() > 0.4
        known[a, b] = 0.98 * matcher.ratio() if near else 0.0
    return known[a, b]
