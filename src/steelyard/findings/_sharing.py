"""Layers that are used in several places, and would be several layers after a load or a clone.

Keras makes the children of a functional or sequential model one by one from their configs. A file
says which configs mean one object, but the note is lost where a config is copied before the object
is met again; and what two graphs call is called in the order of loading, not in that of a graph.
`clone_model` has no such notes at all. Rather than repeat these rules, the config that Keras would
write is made and looked at; only where a layer can be reached in two ways.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from typing import NamedTuple

import keras

from steelyard.findings._configs import Configs, Keys, slots
from steelyard.findings._subject import Found, Subject, described, may_have_weights, some
from steelyard.live import children, is_graph_model


class _Shared(NamedTuple):
    """A layer that several children of one graph model use, or one child in several places."""

    layer: keras.Layer
    graph: keras.Layer | None
    users: list[keras.Layer]


def lost_on_load(subject: Subject) -> Iterator[Found]:
    """Sharing that a file of Keras's does not keep."""
    for layer, users in _lost(subject, _survives_a_file):
        yield Found(
            subject.address(layer),
            f"{described(layer)} is used by {users}; from a file of Keras's it comes back as "
            "several layers, or is called otherwise, or the file cannot be loaded.",
            "Save and load with `sy.save_model` and `sy.load_model`, or hold the layer in one "
            "place and borrow its weights elsewhere (`sy.tie`, `sy.layers.TiedDense`).",
        )


def lost_on_clone(subject: Subject) -> Iterator[Found]:
    """Sharing that `clone_model` does not keep."""
    for layer, users in _lost(subject, _survives_a_clone):
        yield Found(
            subject.address(layer),
            f"{described(layer)} is used by {users}; `keras.models.clone_model` makes several "
            "layers of it, or goes on using this model's.",
            "Clone with `sy.clone_model`, or hold the layer in one place and borrow its weights "
            "elsewhere (`sy.tie`, `sy.layers.TiedDense`).",
        )


def _lost(
    subject: Subject, survives: Callable[[Sharing, _Shared], bool]
) -> Iterator[tuple[keras.Layer, str]]:
    sharing = sharing_in(subject)
    if sharing is None:
        return
    seen: set[int] = set()
    for shared in sharing.found:
        if id(shared.layer) not in seen and not survives(sharing, shared):
            seen.add(id(shared.layer))
            yield shared.layer, some([f"'{user.name}'" for user in shared.users])


def _survives_a_file(sharing: Sharing, shared: _Shared) -> bool:
    layer, graph, users = shared
    if graph is not None:
        if graph not in sharing.slots:
            return True  # made by the code of its class, as it was the first time
        if any(count > 1 for count in Counter(map(id, users)).values()):
            return False  # a `Sequential` writes out each layer once
        places = sharing.configs.places(layer)
        for user in users:
            slot = sharing.slots[graph].get(id(user))
            if slot is None or not any(keys[: len(slot)] == slot for keys in places):
                return False
    graphs = [model for model, written in sharing.slots.items() if id(layer) in written]
    counts = any(not isinstance(model, keras.Sequential) for model in graphs)
    return sharing.configs.are_one(layer) and not (counts and len(graphs) > 1)


def _survives_a_clone(sharing: Sharing, shared: _Shared) -> bool:
    layer, graph, users = shared
    if len(sharing.configs.places(layer)) > 1:
        return False
    if graph is None:
        return True
    if graph is sharing.root:
        return len({id(user) for user in users}) == 1
    return graph not in sharing.slots


class Sharing:
    """What is used in several places of a model, and what its config says of it.

    Attributes:
        root: The model.
        configs: Its config, as a file gets it.
        slots: For each graph model that is remade from it: where its layers are written out.
        found: The layers that are shared, those with weights.
    """

    def __init__(self, subject: Subject, edges: Edges, configs: Configs) -> None:
        self.root = subject.model
        self.configs = configs
        graphs = [place.layer for place in subject.places if is_graph_model(place.layer)]
        self.slots: dict[keras.Layer, dict[int, Keys]] = {
            graph: found
            for graph in graphs
            if (found := slots(configs, graph, subject.model)) is not None
        }
        self.found = list(_shared_in(graphs, edges))
        within = [layer for layer in edges.candidates if len(configs.places(layer)) > 1]
        self.found += [_Shared(layer, None, edges.users[id(layer)]) for layer in within]


def _shared_in(graphs: list[keras.Layer], edges: Edges) -> Iterator[_Shared]:
    for graph in graphs:
        users = {
            id(layer): [child for child in graph.layers if edges.leads(child, layer)]
            for layer in edges.candidates
        }
        shared = [layer for layer in edges.candidates if len(users[id(layer)]) > 1]
        for layer in shared:
            inside_another = any(
                other is not layer
                and users[id(other)] == users[id(layer)]
                and edges.leads(other, layer)
                for other in shared
            )
            if not inside_another:
                yield _Shared(layer, graph, users[id(layer)])


class Edges:
    """Which layers of a model use which: those that they track, and those that they just hold.

    Attributes:
        users: By the identity of a layer: the layers that use it directly, each once, but a
            `Sequential` as often as it lists it.
        candidates: The layers with weights that have several users, or one that holds them twice.
    """

    def __init__(self, subject: Subject) -> None:
        self.users: dict[int, list[keras.Layer]] = {}
        self._used: dict[int, dict[int, keras.Layer]] = {}
        makers = _makers(subject)
        for place in subject.places:
            used = {id(child): child for _, child in children(place.layer)}
            used |= _held_aside(subject, place.layer, makers)
            self._used[id(place.layer)] = used
            for layer in used.values():
                self.users.setdefault(id(layer), []).append(place.layer)
            if isinstance(place.layer, keras.Sequential):
                for layer in used.values():
                    again = sum(listed is layer for listed in place.layer.layers) - 1
                    self.users[id(layer)] += [place.layer] * max(again, 0)
        self.candidates = [
            place.layer
            for place in subject.places
            if (place.aliases or len(self.users.get(id(place.layer), ())) > 1)
            and may_have_weights(place.layer)
        ]
        self._below: dict[int, set[int]] = {}

    def leads(self, start: keras.Layer, layer: keras.Layer) -> bool:
        """Whether a layer is another one, or uses it at any depth."""
        if id(start) not in self._below:
            found = {id(start)}
            queue = [start]
            while queue:
                for identity, used in self._used.get(id(queue.pop()), {}).items():
                    if identity not in found:
                        found.add(identity)
                        queue.append(used)
            self._below[id(start)] = found
        return id(layer) in self._below[id(start)]


def _makers(subject: Subject) -> dict[int, keras.Layer]:
    """The layer that made each variable, by the identity of the variable."""
    found: dict[int, keras.Layer] = {}
    for row in subject.rows:
        made = row.variable.path == f"{row.layer.path}/{row.variable.name}"
        if made or id(row.variable) not in found:
            found[id(row.variable)] = row.layer
    return found


def _held_aside(
    subject: Subject, layer: keras.Layer, makers: dict[int, keras.Layer]
) -> dict[int, keras.Layer]:
    """The layers that a layer holds without tracking them, or whose variables it holds."""
    found: dict[int, keras.Layer] = {}
    for held in subject.held[id(layer)]:
        other = makers.get(id(held.value)) if isinstance(held.value, keras.Variable) else held.value
        if not isinstance(other, keras.Layer) or other is layer or not subject.has(other):
            continue
        if not subject.leads_back(other, layer):
            found[id(other)] = other
    return found


def sharing_in(subject: Subject) -> Sharing | None:
    """What is shared in a model; None if nothing is, or if the model cannot be saved at all."""
    edges = Edges(subject)
    if not edges.candidates:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of lambdas: there is a finding of its own
        try:
            configs = Configs(subject.model)
        # Whatever a user's `get_config` raises: saving the model raises it too, and loudly.
        except Exception:
            return None
    return Sharing(subject, edges, configs)
