"""What Keras's callback `OrbaxCheckpoint` writes: variables by their paths, and the config.

A path is what Keras called a variable when it was made: it leaves out most of the models around a
layer, and the config says where that is.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from steelyard.checkpoints._flat import Entry, left_out
from steelyard.checkpoints._hdf5_source import HDF5Source, Oddity
from steelyard.checkpoints._json import parse_json
from steelyard.checkpoints._keras_paths import of_paths
from steelyard.checkpoints._keras_place import NO_CONFIG, naming_note
from steelyard.checkpoints._keras_rewritten import marked
from steelyard.checkpoints._orbax_leaves import Tree, strings_in
from steelyard.checkpoints._orbax_store import Store
from steelyard.errors import CheckpointError

_WEIGHTS = {"trainable_variables": True, "non_trainable_variables": False}
_OTHERS = ("optimizer_variables", "metrics_variables")
_SEED = "seed_generator_state"
_TRAINING = "because they are of the training"
_DEEPEST = 200


def is_of_keras(tree: Tree) -> bool:
    """Whether the top of a tree is what `Model.get_state_tree` gives."""
    tops = {leaf.keys[0] for leaf in tree.arrays if len(leaf.keys) > 1}
    if any(len(leaf.keys) < 2 for leaf in tree.arrays):
        return False
    return bool(tops & _WEIGHTS.keys()) and tops <= {*_WEIGHTS, *_OTHERS}


def keras_source(store: Store, described: Tree | None, said: str) -> HDF5Source:
    """The weights of a model.

    Args:
        store: What it is read from.
        described: The tree that has the config; None without one.
        said: What else a reader of the list should know.
    """
    odd: list[Oddity] = []
    config = _config(described, odd) if described else None
    held: dict[str, Entry] = {}
    paths: list[tuple[str, tuple[str, ...], bool]] = []
    others: list[str] = []
    for leaf, tensor in store.tensors():
        if leaf.keys[0] in _OTHERS or leaf.keys[-1] == _SEED or tensor is None:
            others.append(leaf.name)
            continue
        held[leaf.name] = Entry(tensor, partial(store.load, leaf))
        paths.append((leaf.name, leaf.keys[1:], _WEIGHTS[leaf.keys[0]]))
    named = marked(of_paths(paths, config), config)
    why = NO_CONFIG if config is None else ""
    notes = said, naming_note([n.naming for n in named], why), left_out(others, _TRAINING)
    return HDF5Source(held, named, odd, " ".join(filter(None, notes)), [store])


def _config(tree: Tree, odd: list[Oddity]) -> Any:
    """The parsed config; one that cannot be read is said, and the weights are listed without it."""
    try:
        text = strings_in(tree.folder).get("config", "")
        return parse_json(text, f"{tree.folder}: config", most_depth=_DEEPEST, pythons=True)
    except CheckpointError as error:
        odd.append(Oddity("config", "config", str(error)))
        return None
