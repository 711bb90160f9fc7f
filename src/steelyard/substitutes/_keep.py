"""Where a rewrite is kept, so that it is saved, and where it takes effect."""

from __future__ import annotations

import contextlib
import functools
import gc
import uuid
import warnings
from collections.abc import Iterator
from typing import Any

import keras

from steelyard.errors import AddressError, SubstituteError, UnbuiltOwnerError
from steelyard.live import (
    calls,
    children,
    holders,
    holders_around,
    list_for_torch,
    optimized,
    paths_to,
    substitutes,
)
from steelyard.refs import descend, find_weight, fitting, making
from steelyard.substitutes._adopt import adopt, release
from steelyard.substitutes._ledger import ledger_of
from steelyard.substitutes._rewrite import Rewrite

KINDS: dict[str, type[Rewrite]] = {}


def kind(rewrite: type[Rewrite]) -> type[Rewrite]:
    """Makes a kind of rewrite known to configs, by its class name."""
    KINDS[rewrite.__name__] = rewrite
    return rewrite


def read_rewrite(config: dict[str, Any]) -> Rewrite:
    """A rewrite from what its `get_config` wrote."""
    config = dict(config)
    rewrite = KINDS[config.pop("kind")].from_config(config)
    rewrite.address, rewrite.by_code = config["address"], config["by_code"]
    return rewrite


def rewrite(layer: keras.Layer, address: str, change: Rewrite) -> None:
    """Does a change to a weight in or below a layer, and has it kept where it will be saved.

    Raises:
        SubstituteError: it cannot be done; nothing has changed.
    """
    refuse_while_training(layer)
    address = address.strip("/")
    with contextlib.suppress(AddressError, UnbuiltOwnerError):
        owner = find_weight(layer, address)
        assert owner.layer is not None
        address = "/".join((*paths_to(layer, owner.layer)[0], owner.name))
    chain = _chain(layer, address)
    change.by_code = bool(making())
    keeper, way = _keeper(chain, change.by_code)
    change.address = "/".join((*way, *_rest(chain, address)))
    keep(keeper, change)
    forget_compiled(chain[-1][1])


def keep(keeper: keras.Layer, change: Rewrite) -> None:
    """Notes a change down at the layer whose config will tell of it, and has it take effect."""
    known = ledger_of(keeper) is not None
    ledger = adopt(keeper)
    before = list(ledger.references)
    try:
        change.kept_by(keeper)
        ledger.references += change.references
        for reference in change.references:
            # A tied layer works as a reader: its owner may have been left out of a file.
            keeper.take_in_if_lent(reference.target)
        if place(keeper, change, change.address):
            ledger.kept.append(change)
        else:
            ledger.references[:] = before
    except BaseException:
        ledger.references[:] = before
        if not known:
            release(keeper)
        raise


def place(layer: keras.Layer, change: Rewrite, address: str) -> bool:
    """Has a change take effect in or below a layer, now or as soon as the weight is there.

    False where it is there already.
    """
    try:
        owner = find_weight(layer, address)
    except (AddressError, UnbuiltOwnerError):
        leaf, left = descend(layer, tuple(address.split("/")))
        if _is_complete(leaf):
            raise
        _wait(leaf, change, "/".join(left))
        return True
    site = owner.layer
    assert site is not None
    there = ledger_of(site)
    for other in there.at.get(owner.name, []) if there is not None else ():
        if change.repeats(other):
            return False
    known = there is not None
    try:
        ledger = adopt(site)
        change.install(site, owner.name)
    except BaseException:
        if not known:
            release(site)
        raise
    ledger.at.setdefault(owner.name, []).append(change)
    _work_out_once(layer, site, owner.name)
    return True


def _is_complete(layer: keras.Layer) -> bool:
    return layer.built and all(_is_complete(child) for _, child in children(layer))


def _wait(layer: keras.Layer, change: Rewrite, address: str) -> None:
    ledger = adopt(layer)
    ledger.waiting.append((change, address))
    if len(ledger.waiting) > 1:
        return
    build = layer.build

    @functools.wraps(build)
    def build_and_settle(*args: Any, **kwargs: Any) -> None:
        build(*args, **kwargs)
        settle(layer)

    vars(layer)["build"] = build_and_settle


def settle(layer: keras.Layer) -> None:
    """Has take effect what was waiting for a layer to be built."""
    ledger = ledger_of(layer)
    if ledger is not None:
        waiting, ledger.waiting = ledger.waiting, []
        try:
            while waiting:
                place(layer, *waiting[0])
                del waiting[0]
        finally:
            ledger.waiting[:0] = waiting  # what failed must fail again, and not be forgotten


def _work_out_once(layer: keras.Layer, site: keras.Layer, name: str) -> None:
    """Has each layer from here down to the site work the substitute out once in a call."""
    substitute = substitutes(site).get(name)
    if substitute is None:
        return
    for path in paths_to(layer, site)[:1]:
        for depth in range(len(path) + 1):
            on_the_way, _ = descend(layer, path[:depth])
            ledger = adopt(on_the_way)
            ledger.below = [s for s in ledger.below if s is not substitute] + [substitute]


# --- the layer that keeps it ----------------------------------------------------------------------


def _chain(layer: keras.Layer, address: str) -> list[tuple[tuple[str, ...], keras.Layer]]:
    """The layers from one down to the deepest on an address, each with the way from the last."""
    chain: list[tuple[tuple[str, ...], keras.Layer]] = [((), layer)]
    left = tuple(address.split("/"))[:-1]
    while left:
        for length in range(1, len(left) + 1):
            below, rest = descend(chain[-1][1], left[:length])
            if not rest and below is not chain[-1][1]:
                chain.append((left[:length], below))
                left = left[length:]
                break
        else:
            break
    return chain


def _rest(chain: list[tuple[tuple[str, ...], keras.Layer]], address: str) -> tuple[str, ...]:
    done = sum(len(way) for way, _ in chain)
    return tuple(address.split("/"))[done:]


def _keeper(
    chain: list[tuple[tuple[str, ...], keras.Layer]], by_code: bool
) -> tuple[keras.Layer, tuple[str, ...]]:
    """The layer whose config can tell of a change to the last of a chain, and the way from it.

    That is the layer itself if whoever holds it writes it down; else the layer that holds it, and
    so on outwards.
    """
    way: tuple[str, ...] = ()
    segments, layer = chain[-1]
    above = list(chain[:-1])
    while not calls(layer):
        if above:
            parents = [above[-1][1]]
        else:
            parents = holders(layer)
            if parents and not any(_writes(parent, layer) for parent in parents):
                gc.collect()  # what is dead holds nothing
                parents = holders(layer)
        if not parents or any(_writes(parent, layer) for parent in parents):
            break
        if by_code and any(parent is maker for parent in parents for maker in making()):
            break
        parent = parents[0]
        if not above:
            segments = next(tuple(s.split("/")) for s, child in children(parent) if child is layer)
        way = (*segments, *way)
        layer = parent
        segments = above.pop()[0] if above else ()
    return layer, way


def _writes(holder: keras.Layer, layer: keras.Layer) -> bool:
    """Whether the config of a layer has that of another one in it.

    To be asked is not enough: `LSTM` asks its cell, and throws the answer away.
    """
    mark = uuid.uuid4().hex
    get_config = layer.get_config
    vars(layer)["get_config"] = lambda: {**get_config(), "mark": mark}
    try:
        # A layer that cannot be written down writes nobody; saving it will say why.
        with contextlib.suppress(Exception), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return mark in repr(keras.saving.serialize_keras_object(holder))
    finally:
        del vars(layer)["get_config"]
    return False


# --- the models around it -------------------------------------------------------------------------


def refuse_while_training(layer: keras.Layer) -> None:
    for model in fitting():
        if isinstance(model, keras.Model):
            raise SubstituteError(
                f"Layer '{layer.name}' cannot be rewritten while model '{model.name}' is being "
                "trained: what runs was compiled from the layer of before. Do it between two fits."
            )


def forget_compiled(layer: keras.Layer) -> None:
    """Has the models around a layer compile their steps anew.

    The optimizer of one whose trainable weights are others now begins anew too, and PyTorch's own
    list of parameters, which other optimizers and wrappers go by, has those of now.
    """
    for holder in holders_around(layer):
        list_for_torch(holder)
        if not isinstance(holder, keras.Model):
            continue
        for name in ("train_function", "test_function", "predict_function"):
            if getattr(holder, name, None) is not None:
                setattr(holder, name, None)
        _renew_optimizer(holder)


def _renew_optimizer(model: keras.Model) -> None:
    known = optimized(model)
    if known is None:
        return
    if {id(v) for v in known} != {id(v) for v in model.trainable_variables}:
        optimizer = model.optimizer
        config = keras.optimizers.serialize(optimizer)
        model.optimizer = keras.optimizers.deserialize(config)
        warnings.warn(
            f"The trainable weights of model '{model.name}' have changed, so its optimizer "
            f"({type(optimizer).__name__}) begins anew.",
            stacklevel=2,
        )


def each_at(layer: keras.Layer) -> Iterator[tuple[str, Rewrite]]:
    """What was done to a layer's own weights, with their names."""
    ledger = ledger_of(layer)
    for name, changes in (ledger.at if ledger is not None else {}).items():
        for change in changes:
            yield name, change
