"""`Substitute`: stands where a layer holds a variable, and is worked out each time it is read.

A layer computes with whatever its attribute holds: `Dense` reads `self._kernel`. A substitute put
there reaches every reader at once (the layer's own call, its LoRA, its properties, references from
elsewhere), while the variables that are stored, trained and saved stay the layer's, or another's.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterable, Iterator
from typing import Any, Protocol

import keras
from keras import ops

from steelyard.errors import ShapeMismatchError, SubstituteError
from steelyard.live._keras import (
    autocast,
    dtype_of,
    in_shape_inference,
    mapped_value,
    own_dtype,
)


class Recipe(Protocol):
    """How the value of a substitute comes about."""

    def value(self, fresh: dict[str, Any]) -> Any:
        """The value, from the variables of now and from what `update` has just given."""
        ...

    def update(self) -> dict[str, Any]:
        """Takes the step that belongs to one training call."""
        ...

    def variables(self) -> list[keras.Variable]:
        """The variables that the value comes from."""
        ...

    def same_as(self) -> keras.Variable | None:
        """The variable whose layer computes with this very value, if there is one."""
        ...

    def assign(self, value: Any) -> None:
        """Makes the value become `value`, or raises a `SteelyardError`."""
        ...

    def trainable(self) -> bool:
        """Whether training could change the value."""
        ...

    def freeze(self, frozen: bool) -> None:
        """What `variable.trainable = …` does, as LoRA sets it on its base."""
        ...


class Substitute(keras.Variable):
    """A variable without a store: its value is worked out by a recipe whenever it is read."""

    recipe: Recipe
    layer_name: str

    @classmethod
    def standing_for(
        cls, variable: keras.Variable, recipe: Recipe, layer: keras.Layer
    ) -> Substitute:
        """A substitute of the same name, shape and dtype as a variable."""
        made: Substitute = object.__new__(cls)
        # Not by `__init__`, which would make a store and enter it with the backend.
        made.__dict__.update(variable.__dict__)
        made.__dict__.update(_value=None, _regularizer=None, _constraint=None)
        made.recipe, made.layer_name = recipe, layer.name
        return made

    @property
    def value(self) -> Any:
        """The value: what a stateless call was given for it, or that of the running call, or new.

        Cast for a mixed-precision layer as that of any variable.
        """
        given = mapped_value(self)
        if given is None:
            given = _now.values.get(id(self))
        return autocast(self, self.worked_out() if given is None else given)

    def worked_out(self, fresh: dict[str, Any] | None = None) -> Any:
        """The value by the recipe, in the substitute's own dtype.

        Raises:
            ShapeMismatchError: the value has another shape than the layer computes with.
            SubstituteError: the value would be worked out from itself.
        """
        if id(self) in _now.reading:
            raise SubstituteError(
                f"Weight '{self.name}' of layer '{self.layer_name}' is worked out from itself: "
                "what it is tied to leads back to it. Tie one of them to something else, or make "
                "it independent by `sy.bake`."
            )
        _now.reading.add(id(self))
        try:
            with own_dtype():
                value = self.recipe.value(fresh or {})
                self._check(tuple(value.shape))
                return ops.cast(value, dtype_of(self))
        finally:
            _now.reading.discard(id(self))

    def _check(self, shape: tuple[int, ...]) -> None:
        if shape != tuple(self.shape):
            raise ShapeMismatchError(
                f"Weight '{self.name}' of layer '{self.layer_name}' has shape "
                f"{tuple(self.shape)}, and what stands for it has shape {shape}."
            )

    def assign(self, value: Any) -> Any:
        """Makes the value become `value`, by what it is worked out from."""
        self.recipe.assign(value)
        return value

    @property
    def trainable(self) -> bool:
        """Whether training could change the value."""
        return self.recipe.trainable()

    @trainable.setter
    def trainable(self, value: bool) -> None:
        self.recipe.freeze(not value)

    def numpy(self) -> Any:
        """The value as an array."""
        return ops.convert_to_numpy(self.value)

    def __repr__(self) -> str:
        return f"<Substitute path={self.path}, shape={tuple(self.shape)}, dtype={dtype_of(self)}>"


class _Now(threading.local):
    """What holds in this thread: a replica of its own for each of TensorFlow's strategies."""

    def __init__(self) -> None:
        self.values: dict[int, Any] = {}
        self.reading: set[int] = set()


_now = _Now()


@contextlib.contextmanager
def fixed(substitutes: Iterable[Substitute], training: bool) -> Iterator[None]:
    """A call, in which each substitute is worked out once, however often it is read.

    A recurrent cell reads its kernel at each step, inside a loop that the backend compiles; what is
    worked out before the loop is worked out once. The step of a training call is taken here.
    """
    new = [substitute for substitute in substitutes if id(substitute) not in _now.values]
    if in_shape_inference():  # nothing is kept, and an owner may not be known yet
        yield
        return
    try:
        for substitute in new:
            fresh = substitute.recipe.update() if training else {}
            _now.values[id(substitute)] = substitute.worked_out(fresh)
        yield
    finally:
        for substitute in new:
            _now.values.pop(id(substitute), None)


def ultimate(variable: keras.Variable) -> list[keras.Variable]:
    """The stored variables that a variable's value comes from: itself, or those of its recipe."""
    if not isinstance(variable, Substitute):
        return [variable]
    found = {id(v): v for part in variable.recipe.variables() for v in ultimate(part)}
    return list(found.values())


def same_as(variable: keras.Variable) -> keras.Variable:
    """The variable, of another layer, that this one is tied to as it is; itself if it is stored."""
    seen = set()
    while isinstance(variable, Substitute) and id(variable) not in seen:
        seen.add(id(variable))
        other = variable.recipe.same_as()
        if other is None:
            break
        variable = other
    return variable


# --- which layer holds which ----------------------------------------------------------------------

_HELD = "_steelyard_substitutes"


class _Held:
    """The substitutes of a layer by name; no layer and no container, so that nobody tracks it."""

    def __init__(self) -> None:
        self.by_name: dict[str, Substitute] = {}


def substitutes(layer: keras.Layer) -> dict[str, Substitute]:
    """The substitutes that a layer itself holds, by the names of the weights."""
    held = vars(layer).get(_HELD)
    return {} if held is None else held.by_name


def hold(layer: keras.Layer, name: str, substitute: Substitute | None) -> None:
    """Notes that a layer holds a substitute for its weight `name`, or no more."""
    held = vars(layer).setdefault(_HELD, _Held())
    if substitute is None:
        held.by_name.pop(name, None)
    else:
        held.by_name[name] = substitute
