"""What a reference points at: a layer that is known, or a way to one that is still to be found."""

from __future__ import annotations

import contextlib
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
from steelyard.live import holds, own_dtype, paths_to, producer
from steelyard.refs import _find, _stack
from steelyard.refs._find import Owner, Way

_TAG = "steelyard_target"


class Target:
    """A layer to borrow from: known as an object, or by an address, or by a way to walk.

    It is neither a layer nor a container nor anything that TensorFlow or torch tracks, so that
    whoever holds it owns nothing of the layer.

    Attributes:
        layer: the layer, once it is known.
        variable: a variable whose layer is still to be found.
        address: what the user wrote, where the target was given as text.
        way: how to walk to the layer from the one that holds the reference, as it was saved.
        expected: shape and dtype, by name, of each weight that was borrowed when this was saved.
        lent: whether this was saved without the layer, which was no part of the saved model.
        rest: the name of the weight, where the target names more than a layer.
        names: the weights that are borrowed from the layer.
        seen_in: the models that were found to hold the layer.
    """

    def __init__(
        self,
        layer: keras.Layer | None = None,
        variable: keras.Variable | None = None,
        address: str | None = None,
        way: Way | None = None,
        expected: dict[str, Any] | None = None,
        lent: bool = False,
    ) -> None:
        self.layer = layer
        self.variable = variable
        self.address = address
        self.way = way
        self.expected = dict(expected or {})
        self.names: set[str] = set()
        self._checked: set[str] = set()
        self.lent = lent
        self.rest: tuple[str, ...] = ()
        self.seen_in: weakref.WeakSet[keras.Layer] = weakref.WeakSet()
        self._memo: dict[int, Any] | None = None

    # --- made from what users hand over ---------------------------------------------------------

    @classmethod
    def of(cls, target: Any) -> Target:
        """Reads what a user hands over as "the other layer"."""
        if isinstance(target, Target):
            return target
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
        if self.variable is not None:
            self._adopt_variable(holder, root)
        elif self.way is not None and holder is not None:
            self.layer = self._single(_find.follow(self.way, holder, root))
        elif self.address is not None:
            self.layer = self._at_address(holder, root)
        return self.layer

    def rebind(self, holder: keras.Layer, root: keras.Layer) -> bool:
        """Looks again, inside `root`, for a layer that was replaced; tells whether it changed."""
        before = self.layer
        if before is not None and holds(root, before):
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

    def _adopt_variable(self, holder: keras.Layer | None, root: keras.Layer | None) -> None:
        near = [root] if root is not None else []
        for start in (root, holder):
            for around in _find.in_graph(start) if start is not None else ():
                near += around
        owner = _find.owner_of(self.variable, near)
        if owner is not None:
            self.layer = owner.layer
            self.rest = (owner.name,)

    def _at_address(
        self, holder: keras.Layer | None, root: keras.Layer | None
    ) -> keras.Layer | None:
        found = _find.look_up(tuple(str(self.address).split("/")), holder, root)
        if found:
            self.rest = found[0][1]
        return self._single([layer for layer, _ in found])

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

    def check_shape(self, name: str, owner: Owner) -> None:
        """Refuses a weight of another shape than the one that was saved, the first time it is read.

        Raises:
            ShapeMismatchError: so it is.
        """
        if name in self._checked:
            return
        known = self.expected.get(name)
        shape = spec_of(owner)[0]
        if known is not None and tuple(known[0]) != shape:
            raise ShapeMismatchError(
                f"Weight '{name}' of {self.described()} has shape {shape}, but it had shape "
                f"{tuple(known[0])} when the reference to it was saved."
            )
        self._checked.add(name)

    def address_of(self, weight: str) -> str:
        """The address of a weight: in a model that holds the layer, or else from the layer on."""
        if self.layer is None:
            if self.variable is not None:
                return self.variable.path
            path = self.way.path if self.way else ()
            return self.address or "/".join((*path, weight))
        try:
            owner = self.owner(weight)
        except SteelyardError:
            return f"{self.layer.name}/{weight}"
        for root in self.seen_in:
            for path in paths_to(root, owner.layer):
                return "/".join((*path, owner.name))
        inner = paths_to(self.layer, owner.layer)[0]
        return "/".join((self.layer.name, *inner, owner.name))

    def not_found(self, holder: keras.Layer | None, root: keras.Layer | None) -> SteelyardError:
        """The error that says why the layer is not known, and what to do."""
        reader = "A reference" if holder is None else f"Layer '{holder.name}'"
        if self.lent:
            return UnboundReferenceError(
                f"{reader} was saved without the layer that it borrows from, which was no part of "
                "the saved model. Save the model that holds both, or build the layer anew."
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
        config: dict[str, Any] = {_TAG: 1}
        roots = _stack.writers()
        way = self._way(holder, roots)
        if self._is_left_out(holder, roots):
            config["lent"] = True
        elif way is not None:
            config |= {"up": way.up, "path": list(way.path)}
        elif self.address is not None:
            config["address"] = self.address
        elif self.layer is not None and holder is None and roots:
            path = next(iter(paths_to(roots[0], self.layer)), None)
            config["address"] = "/".join(path or (self.layer.name,))
        config["expected"] = self._specs()
        if self.rest and way is not None:
            config["rest"] = list(self.rest)
        return config

    def _specs(self) -> dict[str, Any]:
        """Shape and dtype of each weight that is borrowed, as far as they are known."""
        specs = dict(self.expected)
        for name in sorted(self.names) if self.layer is not None else ():
            name = self.weight_name(name)
            with contextlib.suppress(SteelyardError):
                shape, dtype = spec_of(self.owner(name))
                specs[name] = [list(shape), dtype]
        return specs

    def _way(self, holder: keras.Layer | None, roots: list[keras.Layer]) -> Way | None:
        if self.layer is None or holder is None:
            return self.way
        for root in [*roots, *self.seen_in]:
            way = _find.way_within(root, holder, self.layer)
            if way is not None:
                return way
        return _find.way_in_graph(holder, self.layer) or self.way

    def _is_left_out(self, holder: keras.Layer | None, roots: list[keras.Layer]) -> bool:
        """Whether the model that is being written holds the borrower, but not the layer."""
        if self.layer is None or holder is None:
            return self.lent
        if self.layer is holder:
            return True
        around = [root for root in roots if root is not holder]
        return bool(around) and not any(holds(root, self.layer) for root in around)

    def left_out(self, holder: keras.Layer) -> list[Any]:
        """The values that must be saved with the borrower, because their owner is not saved."""
        if self.layer is holder or not self._is_left_out(holder, _stack.writers()):
            return []
        with own_dtype():
            return [self.owner(name).value() for name in self._specs()]

    def lend_from(self, layer: keras.Layer) -> None:
        """Makes `layer` the owner: it took in what had been saved without its owner."""
        self.layer = layer
        self.rest = ()

    @staticmethod
    def name_when_lent(name: str) -> str:
        """The name under which a borrower takes in a weight of a deeper layer."""
        return name.replace("/", "_")

    def owner(self, name: str) -> Owner:
        """The layer that itself holds a weight of the target, by the name it has in the target."""
        assert self.layer is not None
        name = self.name_when_lent(name) if self.lent else name
        return _find.own_weight(self.layer, name) or _find.find_weight(self.layer, name)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Target:
        """Reads what `get_config` wrote."""
        way = Way(config["up"], tuple(config["path"])) if "up" in config else None
        target = cls(
            address=config.get("address"),
            way=way,
            expected=config.get("expected"),
            lent=config.get("lent", False),
        )
        target.rest = tuple(config.get("rest", ()))
        return target

    def __deepcopy__(self, memo: dict[int, Any]) -> Target:
        copy = Target(self.layer, self.variable, self.address, self.way, self.expected, self.lent)
        # The layer may be copied after this, in the same `deepcopy`: look again when it is read.
        copy._memo = memo
        copy.rest, copy.names = self.rest, set(self.names)
        return copy

    def __repr__(self) -> str:
        return f"<Target {self.described()}>"


def spec_of(owner: Owner) -> tuple[tuple[int, ...], str]:
    """Shape and dtype of the effective value of a weight."""
    variable = owner.variable
    if keras.backend.is_float_dtype(variable.dtype):
        return tuple(variable.shape), variable.dtype
    with own_dtype():
        value = owner.value()
    return tuple(value.shape), keras.backend.standardize_dtype(value.dtype)


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
