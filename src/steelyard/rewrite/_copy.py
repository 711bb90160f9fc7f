"""Copying weights by address, all of it or nothing."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from steelyard.address import Pattern
from steelyard.errors import SourceError
from steelyard.live import LiveSource
from steelyard.opening import weights
from steelyard.rewrite._match import Supply, match
from steelyard.rewrite._report import Report
from steelyard.rewrite._transfer import Transfer
from steelyard.selection import Changes, Rename, Weight, Weights
from steelyard.source import EditableSource


def copy_weights(
    source: Any,
    target: Any,
    *,
    rename: Rename | None = None,
    select: str | Pattern | Iterable[str | Pattern] | None = None,
    strict: bool = False,
    reshape: bool = False,
) -> Changes:
    r"""Copy weights into a live model, each to where its address leads.

    What is copied is the effective value, the one that a layer computes with: a target gets it
    whether the source has it plain, under LoRA or as codes. Between two weights that are stored
    alike (codes with their scales, a base with its LoRA factors), what is stored is copied. All
    is done or, on any error, nothing: then the target is what it was, bit for bit.

    Models may differ: a weight of another shape is skipped and keeps its own value, and so does
    one that the source lacks; the entries say so, and `strict=True` makes an error of it. It is an
    error in any case if a weight fits but cannot take its value (it is stored as codes, its dtype
    cannot hold the numbers), and if nothing at all would be copied.

    The model may be compiled, and a callback may call this during `fit`. The state of an
    optimizer stays as it is.

    Args:
        source: Whatever `steelyard.weights` opens: a Keras model or layer, a selection.
        target: A Keras model or layer, or a selection of the weights of one.
        rename: What the addresses of the source become in the target. A dictionary of addresses or
            of their heads: `{"encoder": "backbone/encoder"}`; the longest that fits counts, `""`
            fits all, and None leaves out what it fits. Or a list of such pairs, of which the first
            that fits counts. Or a function from an address to another, or to None. In a dictionary
            or list, a key `"re:…"` is a regular expression for a whole address, whose groups the
            new one may name: `{r"re:block_(\d+)/(.*)": r"blocks/\1/\2"}`; and a pattern with
            wildcards, such as `"**/bias"`, may go with None. Each address is renamed once at most.
        select: Patterns for the addresses in the target: what they do not match takes no part.
        strict: Whether a weight of the target that is not filled, or one of the source that finds
            no place, is an error. What `rename` leaves out is no such one, nor is a part of a
            weight that arrived whole.
        reshape: Whether adjacent axes may be merged or split, and axes of length 1 come and go,
            where shapes differ: an attention kernel (64, 8, 16) fits (64, 128). The order of the
            numbers stays.

    Returns:
        What became of each weight: one entry for each of the target, then one for each of the
        source that is not in it. `copied` and `reshaped` arrived, `skipped` did not, `missing`
        ones the source lacks, `unused` ones the target lacks, `merged` ones arrived as a part of
        another one, `unchanged` ones are the same variable in both.

    Raises:
        CopyError: If a weight cannot take its value, if nothing can be copied, or, under `strict`,
            not everything.
        AmbiguousAddressError: If different weights of the source would go to one of the target.
        UnknownAddressError: If `select`, or a rule of `rename`, fits nothing.
        PatternError: If `rename` cannot be read.
        SourceError: If one of the two has no weights, or the target can only be read.
    """
    patterns = _patterns(select)
    filled = _to_fill(target, patterns)
    supply = _supply(source, rename)
    plan = match(supply, filled, patterns, reshape)
    report = Report(plan, filled, supply)
    report.check(report.expected(), strict)
    transfer = Transfer(plan.pairs, plan.wholes)
    try:
        transfer.run()
        changes = report.changes(transfer.said)
        report.check(changes, strict, transfer.said)
    except BaseException:  # an interrupt, too, must leave no half of it
        transfer.put_back()
        raise
    return changes


def _patterns(select: Any) -> tuple[Pattern, ...] | None:
    if select is None:
        return None
    given = (select,) if isinstance(select, str | Pattern) else select
    return tuple(one if isinstance(one, Pattern) else Pattern(one) for one in given)


def _to_fill(target: Any, patterns: tuple[Pattern, ...] | None) -> Weights:
    found = weights(target)
    for weight in found:
        if not isinstance(weight.source, EditableSource):
            raise SourceError(
                f"The target of `copy_weights(source, target)` is a Keras model or layer; a "
                f"{type(weight.source).__name__} can only be read."
            )
    return found if patterns is None else found.select(patterns)


def _supply(source: Any, rename: Rename | None) -> Supply:
    found = weights(source)
    live = next((weight.source for weight in found), None)
    also: list[Weight] = []
    # A selection was made by hand, and gives what was selected.
    if isinstance(live, LiveSource) and not isinstance(source, Weights):
        also = [Weight(spec, live) for spec in live.also]
    return Supply(found, also, rename)
