"""The one file of a page: its style, its scripts and its data, and nothing from elsewhere."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from html import escape
from importlib.resources import files
from typing import Any

# In this order they are one script.
_SCRIPTS = ("parts.js", "table.js", "heat.js", "plots.js", "curves.js", "page.js")
_STYLES = ("page.css",)


def html_of(document: Mapping[str, Any]) -> str:
    """The page of a document. It may run and load what is in it, and nothing else."""
    style, script = _text(_STYLES), _text(_SCRIPTS)
    policy = (
        f"default-src 'none'; style-src {_digest(style)}; script-src {_digest(script)}; "
        f"base-uri 'none'; form-action 'none'"
    )
    title = escape(str(document["title"]))
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta name="color-scheme" content="light dark">\n'
        f"<title>{title}</title>\n<style>{style}</style>\n</head>\n<body>\n"
        f"<noscript>This page draws itself from the data in it, for which JavaScript must be "
        f"allowed.</noscript>\n"
        f'<script type="application/json" id="data">{as_json(document)}</script>\n'
        f"<script>{script}</script>\n</body>\n</html>\n"
    )


def as_json(document: Mapping[str, Any]) -> str:
    """Strict JSON in ASCII that no tag can end and no HTML parser can read anything into."""
    text = json.dumps(document, allow_nan=False, separators=(",", ":"))
    for char in "<>&":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return text


def _text(names: tuple[str, ...]) -> str:
    folder = files("steelyard.report") / "page"
    return "\n".join((folder / name).read_text(encoding="utf-8") for name in names)


def _digest(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
