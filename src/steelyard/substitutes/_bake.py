"""`bake`: what a weight has become is stored, and it is a weight like any other again."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from steelyard.errors import SubstituteError
from steelyard.live import (
    Substitute,
    add_at,
    dtype_of,
    hold,
    holders_around,
    let_go,
    own_dtype,
    own_weights,
    substitutes,
    to_numpy,
)
from steelyard.refs import find_weight
from steelyard.substitutes._adopt import release
from steelyard.substitutes._keep import forget_compiled, refuse_while_training
from steelyard.substitutes._ledger import ledger_of
from steelyard.substitutes._parametrize import Parametrize
from steelyard.substitutes._place import swap
from steelyard.substitutes._tie import Tie, layer_meant


def bake(layer: Any, weight: str = "kernel") -> Any:
    """Stores what a parametrized or tied weight is now, in a variable of the layer's own.

    The parametrization, or the tie, is gone; the layer computes as before, and trains that
    variable from now on. Where none is left, the layer is a plain layer of its class again.

    Args:
        layer: as in `sy.parametrize`.
        weight: the name or address of the weight.

    Returns:
        The same layer.

    Raises:
        SubstituteError: the weight is neither parametrized nor tied.
        UnknownAddressError: the layer has no such weight.
    """
    layer = layer_meant(layer)
    owner = find_weight(layer, weight.strip("/"))
    site = owner.layer
    assert site is not None
    if owner.name not in substitutes(site):
        raise SubstituteError(
            f"Weight '{owner.name}' of layer '{site.name}' ({type(site).__name__}) is neither "
            "parametrized nor tied: there is nothing to bake."
        )
    refuse_while_training(site)
    _bake(site, owner.name)
    forget_compiled(site)
    return layer


def bake_own(site: keras.Layer) -> None:
    """Bakes all that is parametrized among a layer's own weights."""
    for name in list(substitutes(site)):
        _bake(site, name)


def _bake(site: keras.Layer, name: str) -> None:
    ledger = ledger_of(site)
    assert ledger is not None
    substitute = substitutes(site)[name]
    with own_dtype():
        value = to_numpy(substitute.value)
    if name in ledger.dropped:
        place, trainable = ledger.dropped.pop(name)
        own = add_at(
            site,
            place,
            name=substitute.name,
            shape=tuple(substitute.shape),
            dtype=dtype_of(substitute),
            initializer=lambda shape, dtype=None: ops.convert_to_tensor(value, dtype=dtype),
            regularizer=getattr(site, f"{substitute.name}_regularizer", None),
            constraint=getattr(site, f"{substitute.name}_constraint", None),
        )
        own.trainable = trainable
    else:
        own = dict(own_weights(site))[name]
        own.assign(value)
    for variable in ledger.added.pop(name, []):
        let_go(site, variable, [])
    swap(site, substitute, own)
    hold(site, name, None)
    at = ledger.at.pop(name)
    gone = [change for change in at if isinstance(change, (Parametrize, Tie))]
    if left := [change for change in at if change not in gone]:
        ledger.at[name] = left
    _forget(site, substitute, gone)


def _forget(site: keras.Layer, substitute: Substitute, gone: list[Any]) -> None:
    """Strikes what was baked from the ledgers of the layers that kept or called it."""
    for holder in holders_around(site):
        theirs = ledger_of(holder)
        if theirs is None:
            continue
        theirs.kept = [r for r in theirs.kept if not any(r is g for g in gone)]
        theirs.below = [s for s in theirs.below if s is not substitute and s.recipe not in gone]
        refs = {id(reference) for rewrite in gone for reference in rewrite.references}
        theirs.references = [r for r in theirs.references if id(r) not in refs]
        release(holder)
