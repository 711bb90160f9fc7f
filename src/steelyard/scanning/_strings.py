"""Texts that are more than texts: paths, addresses, and what a terminal obeys."""

from __future__ import annotations

import re

# Control characters, and those that turn the order of a text around.
_OBEYED = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_PATH = re.compile(r"(?:/|~/|[A-Za-z]:[\\/]|\\\\|\.\.[\\/])[^\s/\\]")
_INSIDE = re.compile(r"[\\/]\.\.(?:[\\/]|$)")
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{1,20}://\S")
_LONGEST = 4096  # of a path


def is_obeyed(text: str) -> bool:
    """Whether a terminal would do something else than show it."""
    return _OBEYED.search(text) is not None


def is_path_out(text: str) -> bool:
    """Whether it is a path that does not stay below where it starts."""
    if len(text) > _LONGEST or "\n" in text:
        return False
    return _PATH.match(text) is not None or (" " not in text and bool(_INSIDE.search(text)))


def is_url(text: str) -> bool:
    """Whether it is an address in a network, or of a file system by its scheme."""
    return len(text) <= _LONGEST and _URL.match(text) is not None


def leads_out(name: str) -> bool:
    """Whether unpacking a member of this name would write outside of the folder."""
    parts = name.replace("\\", "/").split("/")
    drive = len(parts[0]) == 2 and parts[0].endswith(":")
    return ".." in parts or name.startswith(("/", "\\")) or drive or "\0" in name


def shown(text: str, most: int = 80) -> str:
    """A text for a message: short, in quotes, and nothing in it obeyed."""
    cut = text if len(text) <= most else f"{text[:most]}…"
    return ascii(cut) if is_obeyed(cut) else repr(cut)


def plain_line(text: str) -> str:
    """A text in one line, with what a terminal would obey escaped."""
    return _OBEYED.sub(lambda found: ascii(found[0])[1:-1], text)
