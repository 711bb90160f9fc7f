"""`sy.ref`: one layer's weight, from inside another layer."""

from __future__ import annotations

import copy
import weakref
from typing import Any

import keras

from steelyard.errors import SteelyardError, TargetError
from steelyard.live import (
    axes_of,
    call_root,
    in_shape_inference,
    in_stateless_scope,
    own_dtype,
    read,
)
from steelyard.refs import _outside, _stack, _target, _view
from steelyard.refs._owner import Owner
from steelyard.refs._readings import Reference
from steelyard.refs._target import Target
from steelyard.selection import html_rows, plain


def ref(
    target: Any, weight: str = "kernel", *, stored: bool = False, stop_gradient: bool = False
) -> WeightRef:
    """A reference to a weight of another layer: it owns nothing, and always reads the live value.

    Args:
        target: a layer, built or not; or the symbolic output of a layer, which means that layer;
            or a `keras.Variable` of a layer; or an address such as `"encoder/proj/kernel"`, which
            is looked up in the model that runs when the reference is read, or by `sy.bind(model)`.
        weight: the name of the weight in the layer: `"kernel"`, `"embeddings"`, `"cell/kernel"`,
            `"query/kernel"`. A name that a single weight in or below the layer has will do.
        stored: give the variable as it is stored, instead of the value that the layer computes
            with (which is different for LoRA and for quantized layers).
        stop_gradient: let no gradient flow back to the owner.

    Returns:
        The reference. Call it for the value.

    Raises:
        TargetError: `target` is nothing that holds a weight.

    Example:
        >>> import keras, steelyard as sy
        >>> dense = keras.layers.Dense(3, name="proj")
        >>> dense.build((None, 2))
        >>> kernel = sy.ref(dense, "kernel")
        >>> kernel.shape
        (2, 3)
        >>> kernel.T[:, 0].shape
        (3,)
    """
    if isinstance(target, WeightRef):
        # `clone_model` hands a clone the very objects of the original's config.
        return WeightRef.from_config(target.get_config()) if _stack.cloning() else target
    if isinstance(target, dict) and target.get("class_name") == "WeightRef":
        return WeightRef.from_config(target["config"])
    if not isinstance(weight, str) or not weight.strip("/"):
        raise TargetError(
            f"`weight` is the name of a weight as text, such as 'kernel'. Received: {weight!r}"
        )
    return WeightRef(Target.of(target), weight.strip("/"), stored, stop_gradient)


@keras.saving.register_keras_serializable(package="steelyard")
class WeightRef(Reference):
    """A weight of another layer, read anew each time; see `ref`, which makes it.

    A plain object: Keras, TensorFlow and torch see nothing to track in it, so that the layer that
    holds it neither owns, counts, saves nor freezes what it points at.

    Attributes:
        shape: the shape of the value, a tuple of int.
        dtype: the name of the dtype of the value, such as `"float32"`.
        address: where the weight is, such as `"encoder/kernel"`.
        layer: the layer that holds the weight, or None if it has not been found yet.
        is_bound: whether the layer that holds the weight is known.
        T: this reference with its axes reversed.
    """

    # A reference can be indexed, but it is no sequence: without this, `iter` would never end.
    __iter__ = None

    def __init__(
        self,
        target: Target,
        weight: str,
        stored: bool = False,
        stop_gradient: bool = False,
        view: tuple[Any, ...] = (),
        holder: keras.Layer | None = None,
    ) -> None:
        self._target = target
        self._weight = weight
        self._stored = stored
        self._target.keys[self._key()] = None
        self._stop_gradient = stop_gradient
        self._view = view
        self._holder = None if holder is None else weakref.ref(holder)

    # --- reading --------------------------------------------------------------------------------

    def __call__(self) -> Any:
        """The current value.

        Returns:
            A tensor of the running backend of shape `self.shape`, in the dtype of the variable
            (float32 for a quantized weight), whatever the precision policy of the calling layer.
            Differentiable with respect to the weight, unless `stop_gradient` was asked for.

        Raises:
            UnbuiltOwnerError: the owner has not created its weight yet.
            UnboundReferenceError: the owner has not been found.
            ForeignOwnerError: the running model trains, or is exported, without the owner in it.
        """
        return self.read_in(call_root())

    def read_in(self, root: keras.Layer | None) -> Any:
        """The current value, as for a call, on behalf of a model whose call does not run now.

        Args:
            root: the model whose losses or logs the value is for, where the owner is looked for.
        """
        owner = self._owner(root)
        if owner is None:
            return self._stand_in(root)
        with own_dtype():
            value = self._read(owner, root)
            if self._stop_gradient:
                value = keras.ops.stop_gradient(value)
            if root is None and keras.backend.backend() == "torch":
                # What is read outside any layer is kept; torch's parameter changes in place.
                value = keras.ops.copy(value)
            return _view.apply(self._view, value)

    def _owner(self, root: keras.Layer | None) -> Owner | None:
        """The layer that itself holds the weight, its name there, and the variable of now."""
        if self._target.resolve(self._held_by(), root) is None:
            variable = self._target.variable
            return None if variable is None else Owner(None, variable.name, variable)
        owner = self._target.owner(self._key())
        self._target.check_shape(self._key(), owner)
        return owner

    def owner(self) -> Owner | None:
        """The layer that itself holds the weight, and the variable of now; None if not found."""
        return self._owner(call_root())

    @property
    def is_plain(self) -> bool:
        """Whether the value is the whole effective weight: not what is stored, nor a part of it."""
        return not self._stored and not self._view

    def is_trained_by(self, model: keras.Layer) -> bool:
        """Whether training `model` moves the weight, by the gradient of what is read here."""
        owner = self._owner(model)
        return owner is not None and _outside.is_trained(self, owner, model)

    def is_of_now(self, root: keras.Layer | None) -> bool:
        """Whether `read_in` would give the value of the step that runs."""
        owner = self._owner(root)
        return owner is not None and _outside.is_of_now(owner.variable)

    def check(self) -> None:
        """Raises what reading would raise about the weight, without reading it."""
        self._spec()

    def _key(self) -> str:
        return self._target.key(self._weight, self._stored)

    def _read(self, owner: Owner, root: keras.Layer | None) -> Any:
        if call_root() is None and not in_stateless_scope():
            _outside.bring_up_to_date()
        inferring = in_shape_inference()
        unlisted = not inferring and _outside.would_be_constant(owner.variable)
        if unlisted or (root is not None and root not in self._target.seen_in):
            if root is not None and owner.is_in(root):
                self._target.remember(self._held_by(), root)
            elif not inferring:
                _outside.check(self, owner, root)
        if unlisted:
            return _outside.read_live(owner, lambda: self._value(owner))
        return self._value(owner)

    def _value(self, owner: Owner) -> Any:
        if self._stored:
            return read(owner.variable)
        return owner.value()

    def _stand_in(self, root: keras.Layer | None) -> Any:
        """While Keras works out shapes, zeros of the right shape do; anything else is an error."""
        known = self._target.expected.get(self._key())
        if in_shape_inference() and known is not None:
            shape, dtype = known
            return _view.apply(self._view, keras.ops.zeros(shape, dtype))
        raise self._target.not_found(self._held_by(), root)

    # --- what it is -----------------------------------------------------------------------------

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the value; raises what reading would raise."""
        return _view.shape(self._view, self._spec()[0])

    @property
    def dtype(self) -> str:
        """The dtype of the value; raises what reading would raise."""
        return self._spec()[1]

    def _spec(self) -> tuple[tuple[int, ...], str]:
        owner = self._owner(call_root())
        if owner is not None:
            return _target.spec_of(owner, self._key())
        known = self._target.expected.get(self._key())
        if known is None:
            raise self._target.not_found(self._held_by(), call_root())
        return tuple(known[0]), known[1]

    @property
    def axes(self) -> str:
        """What each axis is to the layer, as `WeightSpec.axes` says; empty where nobody knows."""
        owner = self._owner(call_root())
        if not self.is_plain or owner is None or owner.layer is None:
            return ""
        return axes_of(owner.layer, owner.name, len(self.shape))

    @property
    def address(self) -> str:
        """Where the weight is: in the model that was last seen to hold it, or from its layer."""
        return self._target.address_of(self._key())

    @property
    def layer(self) -> keras.Layer | None:
        """The layer that was referred to, or None if it has not been found yet."""
        return self._target.resolve(self._held_by(), call_root())

    @property
    def is_bound(self) -> bool:
        """Whether the layer that was referred to is known."""
        return self._target.layer is not None

    def __repr__(self) -> str:
        try:
            shape, dtype = self.shape, self.dtype
            what = f"shape={shape}, dtype={dtype}"
        except SteelyardError as error:
            what = f"unreadable: {error}"
        flags = ", stored" * self._stored + ", stop_gradient" * self._stop_gradient
        state = "bound" if self.is_bound else "not bound"
        view = _view.describe(self._view)
        return f"<WeightRef {self.address}{view} ({state}{flags}), {what}>"

    def _repr_html_(self) -> str:
        try:
            facts = [("shape", str(self.shape)), ("dtype", self.dtype)]
        except SteelyardError as error:
            facts = [("unreadable", str(error))]
        state = ["bound" if self.is_bound else "not bound"]
        state += ["stored"] * self._stored + ["stop_gradient"] * self._stop_gradient
        address = f"{self.address}{_view.describe(self._view)}"
        rows = [("reference to", address), *facts, ("state", ", ".join(state))]
        return html_rows((), [tuple(map(plain, row)) for row in rows])

    # --- views ----------------------------------------------------------------------------------

    def __getitem__(self, index: Any) -> WeightRef:
        return self._with_view(_view.index(index))

    @property
    def T(self) -> WeightRef:
        """This reference with its axes reversed; as live as the reference itself."""
        return self._with_view(_view.TRANSPOSE)

    def _with_view(self, step: Any) -> WeightRef:
        return WeightRef(
            self._target,
            self._weight,
            self._stored,
            self._stop_gradient,
            (*self._view, step),
            self._held_by(),
        )

    def _is_no_array(self, *_: Any, **__: Any) -> Any:
        raise TargetError(
            f"A reference is not an array: call it for its value, as in `kernel()`. This one is to "
            f"'{self.address}'."
        )

    __array__ = __jax_array__ = __len__ = __float__ = _is_no_array

    # --- who holds it ---------------------------------------------------------------------------

    def held_by(self, holder: keras.Layer) -> WeightRef:
        """This reference, for the layer `holder`, from which its way is then counted."""
        self._holder = weakref.ref(holder)
        return self

    def for_holder(self, holder: keras.Layer) -> WeightRef:
        """The same reference for a layer that was handed it: ways differ from holder to holder."""
        target = copy.deepcopy(self._target)
        return WeightRef(
            target, self._weight, self._stored, self._stop_gradient, self._view, holder
        )

    def copy_target(self, other: WeightRef, memo: dict[int, Any]) -> None:
        """Points at what `other` points at, or at its copy if the same `deepcopy` makes one."""
        self._target = copy.deepcopy(other._target, memo)

    def _held_by(self) -> keras.Layer | None:
        return self._holder() if self._holder is not None else None

    @property
    def stops_gradient(self) -> bool:
        """Whether no gradient flows back to the owner."""
        return self._stop_gradient

    @property
    def target(self) -> Target:
        """What the reference points at."""
        return self._target

    # --- written and read back ------------------------------------------------------------------

    def get_config(self) -> dict[str, Any]:
        """The reference as plain text and numbers, for Keras's serialization."""
        return {
            "target": self._target.get_config(self._held_by()),
            "weight": self._weight,
            "stored": self._stored,
            "stop_gradient": self._stop_gradient,
            "view": _view.to_config(self._view),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> WeightRef:
        """Reads what `get_config` wrote."""
        target = Target.from_config(config["target"])
        view = _view.from_config(config["view"])
        return cls(target, config["weight"], config["stored"], config["stop_gradient"], view)

    def __reduce__(self) -> tuple[Any, ...]:
        return WeightRef.from_config, (self.get_config(),)

    def __deepcopy__(self, memo: dict[int, Any]) -> WeightRef:
        target = copy.deepcopy(self._target, memo)
        return WeightRef(target, self._weight, self._stored, self._stop_gradient, self._view)
