"""The part of a weights file that is a rewritten layer's.

Where the layer still stores all that it stored before, its part is as before, and what a rewrite
added has a part of its own, which a plain layer does not look into: the file loads into the plain
layer and back. Where another layer stores a weight, or the weight is made of others, what is left
is written by name, and the weight itself is not.
"""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import keras

from steelyard.errors import SubstituteError
from steelyard.live import own_weights, substitutes
from steelyard.refs import save_in_progress
from steelyard.substitutes._ledger import Ledger, ledger_of
from steelyard.substitutes._place import swap


def save(layer: Any, save_plain: Callable[[Any], None], store: Any) -> None:
    """Writes what a rewritten layer owns.

    Args:
        layer: the layer.
        save_plain: how its class writes its variables.
        store: where to.
    """
    ledger = _ledger(layer)
    named = _own(layer)
    added = ledger.added_ids() | set(ledger.taken)
    if _by_name(layer):
        for name, variable in named.items():
            if id(variable) not in ledger.taken:
                store[name] = variable
        return
    kept: dict[str, Any] = {}
    with _as_before(layer):
        save_plain(kept)
    plain = [kept[key] for key in sorted(kept, key=int)]
    for index, value in enumerate(v for v in plain if id(v) not in added):
        store[str(index)] = value


def load(layer: Any, load_plain: Callable[[Any], None], store: dict[str, Any]) -> None:
    """Reads what `save` wrote, or what a plain layer wrote if that says enough."""
    ledger = _ledger(layer)
    if not layer._readings.built and not _own(layer):
        return
    if _by_name(layer):
        _load_by_name(layer, store)
        return
    plain = [store[key] for key in sorted((k for k in store if k.isdigit()), key=int)]
    extra = ledger.added_ids() | set(ledger.taken)
    for index, variable in enumerate(_in_order(layer)):
        if id(variable) in extra:
            plain.insert(index, variable)
    with _as_before(layer):
        load_plain({str(index): value for index, value in enumerate(plain)})


class Added(keras.Operation):
    """The part of a file that has what rewrites added to a layer; Keras finds it as an attribute.

    `Dense` and its like refuse a part with more in it than they have weights. An operation is the
    least that Keras writes and reads, and nobody tracks it.
    """

    def __init__(self, layer: keras.Layer) -> None:
        super().__init__()
        self._of = weakref.ref(layer)

    def call(self) -> None:
        """Nothing: it is only saved."""

    def save_own_variables(self, store: Any) -> None:
        """Writes what rewrites added, by name."""
        for name, variable in self._variables().items():
            store[name] = variable

    def load_own_variables(self, store: Any) -> None:
        """Reads it; what the file lacks is worked out from the weight that was just read."""
        missing = []
        for name, variable in self._variables().items():
            if name in store:
                variable.assign(store[name])
            else:
                missing.append(variable)
        if missing:
            _start_again(_ledger(self._of()), missing)

    def _variables(self) -> dict[str, keras.Variable]:
        layer = self._of()
        if layer is None or _by_name(layer):
            return {}
        added = _ledger(layer).added_ids()
        return {name: variable for name, variable in _own(layer).items() if id(variable) in added}


def _load_by_name(layer: Any, store: dict[str, Any]) -> None:
    ledger = _ledger(layer)
    named = {n: v for n, v in _own(layer).items() if id(v) not in ledger.taken}
    if any(key.isdigit() for key in store):
        raise SubstituteError(
            f"Layer '{layer.name}' ({ledger.base.__name__}) stores only {', '.join(named) or '-'} "
            f"itself, since {', '.join(ledger.dropped)} is tied or made of others; the file has "
            f"{len(store)} weights of a layer that stores all. Load the file before the weight is "
            "tied or parametrized, or copy by `sy.copy_weights`."
        )
    lora = {name for name in named if name.startswith("lora_")}
    missing = named.keys() - store.keys() - lora
    added = [v for name, v in named.items() if name in missing and id(v) in ledger.added_ids()]
    lacking = [name for name in missing if id(named[name]) not in ledger.added_ids()]
    if lacking:
        raise SubstituteError(
            f"The file lacks {', '.join(sorted(lacking))} of layer '{layer.name}' "
            f"({ledger.base.__name__}); it has {', '.join(store) or 'nothing'}."
        )
    for name, variable in named.items():
        if name in store:
            variable.assign(store[name])
        elif name in lora:  # merged when it was saved
            variable.assign(keras.ops.zeros(variable.shape))
    _start_again(ledger, added)


def _start_again(ledger: Ledger, missing: list[keras.Variable]) -> None:
    """What the file lacks of what a rewrite added is worked out from the weight, as at first."""
    if missing:
        ids = {id(variable) for variable in missing}
        for rewrites in ledger.at.values():
            for rewrite in rewrites:
                rewrite.start_from_stored(ids)


def refuse_loss(layer: keras.Layer) -> None:
    """Refuses to save a model in whose config nobody asked a layer what was rewritten.

    Raises:
        SubstituteError: the loaded model would be another one.
    """
    ledger = ledger_of(layer)
    running = save_in_progress()
    if ledger is None or running is None or ledger.asked_in == running:
        return
    lost = [rewrite for rewrite in ledger.kept if not rewrite.by_code]
    if lost:
        what = lost[0]
        raise SubstituteError(
            f"Weight '{what.address}' of layer '{layer.name}' was rewritten "
            f"({type(what).__name__.lower()}), and the saved config would not say so: the layer "
            "that makes it writes nothing of it. Rewrite it through the model, as in "
            f"`sy.tie(model, 'path/to/{layer.name}/{what.address}', …)`, or in the `__init__` of "
            "the layer that makes it."
        )


def _ledger(layer: keras.Layer) -> Ledger:
    ledger = ledger_of(layer)
    assert ledger is not None
    return ledger


def _own(layer: keras.Layer) -> dict[str, keras.Variable]:
    """What the layer itself stores, by name."""
    standing = {id(substitute) for substitute in substitutes(layer).values()}
    return {name: v for name, v in own_weights(layer) if id(v) not in standing}


def _in_order(layer: keras.Layer) -> list[keras.Variable]:
    return list(_own(layer).values())


def _by_name(layer: keras.Layer) -> bool:
    """Whether the layout of the plain layer cannot hold what this one stores."""
    merges = bool(getattr(layer, "lora_enabled", False)) and bool(substitutes(layer))
    return bool(_ledger(layer).dropped) or merges


@contextlib.contextmanager
def _as_before(layer: keras.Layer) -> Iterator[None]:
    """The layer with its stored variables where substitutes stand."""
    pairs = []
    for name, substitute in substitutes(layer).items():
        stored = dict(own_weights(layer))[name]
        pairs.append((substitute, stored))
    for substitute, stored in pairs:
        swap(layer, substitute, stored)
    try:
        yield
    finally:
        for substitute, stored in pairs:
            swap(layer, stored, substitute)
