"""A live model as a tree for a notebook, in which weights that are shared or borrowed are links."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from html import escape

from steelyard.records import Borrowing, WeightSpec
from steelyard.selection._html import LINE
from steelyard.selection._table import count, plain, total

# So many weights are shown at once; of more, the branches are closed at first.
_OPEN = 30
_INDENT = f"margin: 0 0 0 0.4em; padding: 0 0 0 0.9em; border-left: {LINE}; list-style: none"
_QUIET = "opacity: 0.7"


@dataclass
class _Branch:
    """A layer: what is in it by name, what it holds, and what it borrows."""

    branches: dict[str, _Branch] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)
    weights: list[WeightSpec] = field(default_factory=list)

    def at(self, segments: Sequence[str]) -> _Branch:
        """The branch below this one that these names lead to; made where there is none."""
        here = self
        for segment in segments:
            here = here.branches.setdefault(segment, _Branch())
        return here


def html_tree(specs: Sequence[WeightSpec], links: Sequence[Borrowing] = (), note: str = "") -> str:
    """The weights by layer, each where it is; other places of it, and who borrows it, lead to it.

    Args:
        specs: The weights.
        links: Who borrows which.
        note: What a reader should know besides.
    """
    # A notebook shows several trees in one page, and each links within itself.
    own = f"steelyard-{secrets.token_hex(4)}"
    names = {spec.address: f"{own}-{i}" for i, spec in enumerate(specs)}
    root = _Branch()
    for spec in specs:
        *above, name = spec.address.split("/")
        branch = root.at(above)
        branch.weights.append(spec)
        branch.lines.append(_weight(name, spec, names))
        for alias in spec.aliases:
            *above, name = alias.split("/")
            root.at(above).lines.append(_link(name, "is", spec.address, names))
    for link in links:
        if link.holder:
            reason = "" if link.is_bound else f" (not bound{link.reason and ': ' + link.reason})"
            line = _link("", "borrows", link.target, names, reason)
            root.at(link.holder.split("/")).lines.append(line)
    foot = "<br>".join(escape(plain(line)) for line in (total(specs), note) if line)
    inside = "".join(_items(root, is_open=len(specs) <= _OPEN))
    return (
        f'<div style="line-height: 1.5"><ul style="{_INDENT}; border-left: 0; padding: 0">'
        f'{inside}</ul><div style="{_QUIET}">{foot}</div></div>'
    )


def _items(branch: _Branch, is_open: bool) -> Iterator[str]:
    yield from branch.lines
    for name, inner in branch.branches.items():
        kinds = {spec.layer for spec in inner.weights}
        kind = f" {escape(plain(kinds.pop()))}" if len(kinds) == 1 else ""
        size = sum(spec.size for spec in _all(inner))
        told = f'<span style="{_QUIET}">{kind} {count(size, "parameter")}</span>'
        yield (
            f"<li><details{' open' * is_open}><summary><b>{escape(plain(name))}</b>{told}</summary>"
            f'<ul style="{_INDENT}">{"".join(_items(inner, is_open))}</ul></details></li>'
        )


def _all(branch: _Branch) -> Iterator[WeightSpec]:
    yield from branch.weights
    for inner in branch.branches.values():
        yield from _all(inner)


def _weight(name: str, spec: WeightSpec, names: dict[str, str]) -> str:
    facts = [str(spec.shape), spec.dtype, *([] if spec.trainable else ["frozen"])]
    told = escape(plain(" ".join(facts)))
    return (
        f'<li id="{names[spec.address]}">{escape(plain(name))} '
        f'<span style="{_QUIET}">{told}</span></li>'
    )


def _link(name: str, verb: str, target: str, names: dict[str, str], more: str = "") -> str:
    shown = escape(plain(target))
    # What is not in the selection is no place to go to.
    to = f'<a href="#{names[target]}">{shown}</a>' if target in names else shown
    return f"<li>{escape(plain(name))} <i>{verb}</i> {to}{escape(plain(more))}</li>"
