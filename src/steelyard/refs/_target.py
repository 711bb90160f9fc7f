"""What a reference points at: a layer that is known, or a way to one that is still to be found.

Longer than other files, because a target is found, written down and read back by one set of rules,
which are seen to agree only side by side.
"""

from __future__ import annotations

import contextlib
import uuid
import weakref
from typing import Any

import keras

from steelyard.address import nearest
from steelyard.errors import (
    ShapeMismatchError,
    SteelyardError,
    TargetError,
    UnboundReferenceError,
    UnknownAddressError,
)
from steelyard.live import (
    dtype_of,
    holds,
    own_dtype,
    paths_to,
    producer,
    read,
    still_held,
    walk,
)
from steelyard.refs import _find, _stack
from steelyard.refs._find import Way
from steelyard.refs._owner import Owner, find_weight, own_weight, owner_of
from steelyard.refs._readings import held_references

_TAG = "steelyard_target"

# Layers that a config of this process speaks of without a way to walk to them.
_PROCESS = uuid.uuid4().hex
_LENDERS: weakref.WeakValueDictionary[str, keras.Layer] = weakref.WeakValueDictionary()


class Target:
    """A layer to borrow from: known as an object, or by an address, or by a way to walk.

    It is neither a layer nor a container nor anything that TensorFlow or torch tracks, so that
    whoever holds it owns nothing of the layer.

    A borrowed weight goes by a key: its name in the layer, with `|stored` behind it if the variable
    itself is meant and not the effective value.

    Attributes:
        layer: the layer, once it is known.
        variable: a variable whose layer is still to be found.
        address: what the user wrote, where the target was given as text.
        way: how to walk to the layer from the one that holds the reference, as it was saved.
        expected: shape and dtype, by key, of each weight that was borrowed when this was saved.
        lent: under which names, by key, a borrower took in the weights of a layer that was no part
            of the saved model.
        taken: by key, the variables that the holder of this target took in itself.
        given: what the user handed over.
        rest: the name of the weight, where the target names more than a layer.
        keys: the weights that are borrowed from the layer.
        seen_in: the models that were found to hold the layer.
    """

    def __init__(
        self,
        layer: keras.Layer | None = None,
        variable: keras.Variable | None = None,
        address: str | None = None,
        way: Way | None = None,
        expected: dict[str, Any] | None = None,
    ) -> None:
        self.layer = layer
        self.variable = variable
        self.address = address
        self.way = way
        self.expected = dict(expected or {})
        self.lent: dict[str, str] = {}
        self.taken: dict[str, keras.Variable] = {}
        self.given: Any = None
        self.rest: tuple[str, ...] = ()
        self.keys: dict[str, None] = {}
        self.seen_in: weakref.WeakSet[keras.Layer] = weakref.WeakSet()
        self._checked: set[str] = set()
        self._memo: dict[int, Any] | None = None

    # --- made from what users hand over ---------------------------------------------------------

    @classmethod
    def of(cls, target: Any) -> Target:
        """Reads what a user hands over as "the other layer"."""
        if isinstance(target, Target):
            return target
        made = cls._made_of(target)
        made.given = target
        return made

    @classmethod
    def _made_of(cls, target: Any) -> Target:
        if isinstance(target, keras.Layer):
            return cls(layer=target)
        if isinstance(target, keras.KerasTensor):
            step = producer(target)
            if step is not None and isinstance(step.operation, keras.Layer):
                return cls(layer=step.operation)
            made = f"operation '{step.operation.name}'" if step else "no layer"
            raise TargetError(
                f"A reference was given a symbolic tensor that {made} made; it holds no weights. "
                "Hand over the layer, or the output of a layer."
            )
        if isinstance(target, keras.Variable):
            return cls(variable=target)
        if is_target_config(target):
            return cls.from_config(target)
        if isinstance(target, str) and target.strip("/"):
            return cls(address=target.strip("/"))
        raise TargetError(_wrong_kind(target))

    # --- finding --------------------------------------------------------------------------------

    def resolve(self, holder: keras.Layer | None, root: keras.Layer | None) -> keras.Layer | None:
        """The layer, looked for anew if it is not known yet.

        Args:
            holder: the layer that holds the reference.
            root: the outermost layer that is running, or the model that is being bound.
        """
        if self.layer is not None:
            if self._memo is not None:
                self.layer = self._memo.get(id(self.layer), self.layer)
                self._memo = None
            return self.layer
        roots = [root] if root is not None else []
        # Under `build_from_config`, or a stateless call, no `__call__` runs around the parts.
        roots += [layer for layer in _stack.callers() if layer not in roots]
        if self.variable is not None:
            self._find_variable(holder, roots)
        elif self.way is not None and holder is not None:
            self.layer = self._single(_find.follow(self.way, holder, roots))
        elif self.address is not None:
            found = _find.look_up(tuple(self.address.split("/")), holder, roots)
            self.rest = found[0][1] if found else ()
            self.layer = self._single([layer for layer, _ in found])
        return self.layer

    def rebind(self, holder: keras.Layer, root: keras.Layer) -> bool:
        """Looks again, inside `root`, for a layer that was replaced; tells whether it changed."""
        before = self.layer
        if before is not None and still_held(root, before):
            self.remember(holder, root)
            return False
        if before is not None and (self.way is not None or self.address is not None):
            self.layer = None
            if self.resolve(holder, root) is None:
                self.layer = before
        elif before is None:
            self.resolve(holder, root)
        return self.layer is not before

    def remember(self, holder: keras.Layer | None, root: keras.Layer) -> None:
        """Notes that `root` holds the layer, and how to walk there from the holder."""
        self.seen_in.add(root)
        if holder is not None and self.layer is not None:
            self.way = _find.way_within(root, holder, self.layer) or self.way

    def _find_variable(self, holder: keras.Layer | None, roots: list[keras.Layer]) -> None:
        near = list(roots)
        for start in [*roots, holder]:
            for around in _find.in_graph(start) if start is not None else ():
                near += around
        owner = owner_of(self.variable, near)
        if owner is not None:
            self.layer = owner.layer
            self.rest = (owner.name,)

    def _single(self, found: list[keras.Layer]) -> keras.Layer | None:
        if len(found) > 1:
            raise UnboundReferenceError(
                f"{len(found)} layers are at {self.described()}, so it is not clear which one is "
                "meant. Call the whole model once, or `sy.bind(model)`, before its parts."
            )
        return found[0] if found else None

    # --- the weight -----------------------------------------------------------------------------

    def weight_name(self, weight: str) -> str:
        """The weight that is meant, where the target itself says more than the layer."""
        return "/".join(self.rest) or weight

    def key(self, weight: str, stored: bool = False) -> str:
        """The key of a weight that is borrowed."""
        return self.weight_name(weight) + "|stored" * stored

    def owner(self, key: str) -> Owner:
        """The layer that itself holds a weight of the target."""
        if key in self.taken:
            return Owner(None, self.lent[key], self.taken[key])
        assert self.layer is not None
        name = self.lent.get(key) or key.partition("|")[0]
        return own_weight(self.layer, name) or find_weight(self.layer, name)

    def check_shape(self, name: str, owner: Owner) -> None:
        """Refuses a weight of another shape than the one that was saved, the first time it is read.

        Raises:
            ShapeMismatchError: so it is.
        """
        if name in self._checked:
            return
        known = self.expected.get(name)
        shape = spec_of(owner, name)[0]
        if known is not None and tuple(known[0]) != shape:
            raise ShapeMismatchError(
                f"Weight '{name.partition('|')[0]}' of {self.described()} has shape {shape}, but "
                f"it had shape {tuple(known[0])} when the reference to it was saved."
            )
        self._checked.add(name)

    def address_of(self, key: str) -> str:
        """The address of a weight: in a model that holds the layer, or else from the layer on."""
        weight = key.partition("|")[0]
        if self.layer is None:
            if self.variable is not None:
                return self.variable.path
            path = self.way.path if self.way else ()
            return self.address or "/".join((*path, weight))
        try:
            owner = self.owner(key)
        except SteelyardError:
            return f"{self.layer.name}/{weight}"
        if owner.layer is None:
            return f"{self.layer.name}/{owner.name}"
        for root in self.seen_in:
            for path in paths_to(root, owner.layer):
                return "/".join((*path, owner.name))
        inner = paths_to(self.layer, owner.layer)[0]
        return "/".join((self.layer.name, *inner, owner.name))

    def not_found(self, holder: keras.Layer | None, root: keras.Layer | None) -> SteelyardError:
        """The error that says why the layer is not known, and what to do."""
        reader = "A reference" if holder is None else f"Layer '{holder.name}'"
        if self.way is None and self.address is None:
            return UnboundReferenceError(
                f"{reader} was made from a config that was written without the layer that it "
                "borrows from. Save the model that holds both, or build the layer anew."
            )
        wanted = "/".join(self.way.path) if self.way else str(self.address)
        close = nearest(wanted, _find.addresses_around(holder, root))
        hint = f" Did you mean {' or '.join(map(repr, close))}?" if close else ""
        if root is None or root is holder:
            return UnboundReferenceError(
                f"{reader} does not know yet where {self.described()} is: nothing is there in what "
                "it is called on, and no model around it is running. Call the model that holds "
                f"both, or `sy.bind(model)` first.{hint}"
            )
        return UnknownAddressError(
            f"{reader} borrows from {self.described()}, and model '{root.name}' "
            f"({type(root).__name__}) holds nothing there.{hint}"
        )

    def described(self) -> str:
        """The target in words."""
        if self.layer is not None:
            return f"layer '{self.layer.name}' ({type(self.layer).__name__})"
        if self.variable is not None:
            return f"the layer of variable '{self.variable.path}'"
        if self.address is not None:
            return f"'{self.address}'"
        if self.way is not None:
            return f"'{'/'.join(self.way.path) or '..'}' ({self.way.up} up from its holder)"
        return "a layer outside the saved model"

    # --- written and read back ------------------------------------------------------------------

    def get_config(self, holder: keras.Layer | None) -> dict[str, Any]:
        """The target as plain text and numbers."""
        roots = _stack.writers()
        if self.variable is not None and roots:
            self.resolve(holder, roots[0])
        config: dict[str, Any] = {_TAG: 1, "expected": self._specs()}
        if self.rest:
            config["rest"] = list(self.rest)
        adopter = self._adopter(holder, roots)
        if adopter is not None or self.lent:
            config["lent"] = self.lent or {key: self._name_when_lent(key) for key in self.keys}
        if adopter is not None and adopter is not holder:
            way = _find.way_within(roots[0], holder, adopter)
        else:
            way = None if adopter is holder else self._way(holder, roots)
        if way is not None:
            config |= {"up": way.up, "path": list(way.path)}
            config |= {"hops": list(way.hops), "kind": way.kind} if way.hops else {}
        elif self.address is not None:
            config["address"] = self.address
        elif self.layer is not None and holder is None and roots:
            path = next(iter(paths_to(roots[0], self.layer)), None)
            config["address"] = "/".join(path or (self.layer.name,))
        elif self.layer is not None:
            config["lender"] = f"{_PROCESS}:{id(self.layer)}"
            _LENDERS[config["lender"]] = self.layer
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Target:
        """Reads what `get_config` wrote."""
        way = None
        if "up" in config:
            hops, kind = tuple(config.get("hops", ())), config.get("kind", "")
            way = Way(config["up"], tuple(config["path"]), hops, kind)
        target = cls(address=config.get("address"), way=way, expected=config.get("expected"))
        target.lent = dict(config.get("lent", {}))
        target.rest = tuple(config.get("rest", ()))
        if not (target.lent and _stack.loading()):
            target.layer = _LENDERS.get(config.get("lender", ""))
            if target.layer is not None:
                target.lent = {}
        return target

    def _specs(self) -> dict[str, Any]:
        """Shape and dtype of each weight that is borrowed, as far as they are known."""
        specs = dict(self.expected)
        for key in self.keys if self.layer is not None else ():
            with contextlib.suppress(SteelyardError):
                shape, dtype = spec_of(self.owner(key), key)
                specs[key] = [list(shape), dtype]
        return specs

    def _way(self, holder: keras.Layer | None, roots: list[keras.Layer]) -> Way | None:
        if self.layer is None or holder is None:
            return self.way
        for root in [*roots, *self.seen_in]:
            way = _find.way_within(root, holder, self.layer)
            if way is not None:
                return _find.with_hops(way, holder, self.layer)
        way = _find.way_in_graph(holder, self.layer)
        return self.way if way is None else _find.with_hops(way, holder, self.layer)

    # --- saved without its owner ----------------------------------------------------------------

    def _adopter(self, holder: keras.Layer | None, roots: list[keras.Layer]) -> keras.Layer | None:
        """The borrower that must save the weights, because the model that is saved lacks the owner.

        The first one of those that borrow the same weights, so that they stay tied to each other.
        """
        if self.layer is None or holder is None:
            return None
        models = [root for root in roots if isinstance(root, keras.Model) and root is not holder]
        if not self.taken and any(holds(root, self.layer) for root in models):
            return None
        if not models:
            return holder if self.taken else None
        for place in walk(models[0]):
            for reference in held_references(place.layer):
                other = reference._target
                if other.resolve(place.layer, None) is self.layer and set(self.keys) <= set(
                    other.keys
                ):
                    return place.layer
        return holder

    def covers(self, other: Target) -> bool:
        """Whether this one borrows all that another target borrows."""
        return self.layer is other.layer and set(other.keys) <= set(self.keys)

    def _name_when_lent(self, key: str) -> str:
        assert self.layer is not None
        return f"{self.layer.name}_{key}".replace("/", "_").replace("|", "_")

    def values_to_lend(self, holder: keras.Layer) -> list[Any]:
        """The values that must be saved with `holder`, because their owner is not saved."""
        if self._adopter(holder, _stack.writers()) is not holder:
            return []
        with own_dtype():
            return [_value(self.owner(key), key) for key in self.keys]

    def take_in(self, holder: keras.Layer, variables: dict[str, keras.Variable]) -> None:
        """Makes `holder` the owner of what was saved without its owner."""
        self.layer, self.taken = holder, variables
        self.rest = ()

    def __deepcopy__(self, memo: dict[int, Any]) -> Target:
        copy = Target(self.layer, self.variable, self.address, self.way, self.expected)
        # The layer may be copied after this, in the same `deepcopy`: look again when it is read.
        copy._memo = memo
        copy.given = self.given
        copy.rest, copy.keys, copy.lent = self.rest, dict(self.keys), dict(self.lent)
        return copy

    def __repr__(self) -> str:
        return f"<Target {self.described()}>"


def spec_of(owner: Owner, key: str = "") -> tuple[tuple[int, ...], str]:
    """Shape and dtype of the value of a weight."""
    dtype = dtype_of(owner.variable)
    if key.endswith("|stored") or keras.backend.is_float_dtype(dtype):
        return tuple(owner.variable.shape), dtype
    with own_dtype():
        value = owner.value()
    return tuple(value.shape), keras.backend.standardize_dtype(value.dtype)


def _value(owner: Owner, key: str) -> Any:
    return read(owner.variable) if key.endswith("|stored") else owner.value()


def is_target_config(value: Any) -> bool:
    """Whether a value is a target as `Target.get_config` writes it."""
    return isinstance(value, dict) and _TAG in value


def _wrong_kind(target: Any) -> str:
    takes = (
        "it takes a layer, the symbolic output of a layer, a `keras.Variable` of a layer, or the "
        "address of a weight as text (such as 'encoder/kernel')."
    )
    if isinstance(target, type):
        return f"A reference was given the class {target.__name__} itself; {takes}"
    return f"A reference was given an object of type {type(target).__name__}; {takes}"
