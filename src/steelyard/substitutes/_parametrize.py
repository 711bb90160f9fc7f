"""`parametrize`: a layer computes with a function of what it stores."""

from __future__ import annotations

import weakref
from typing import Any

import keras
import numpy as np
from keras import ops

from steelyard.errors import SteelyardError, SubstituteError
from steelyard.live import (
    Substitute,
    dtype_of,
    let_go,
    own_dtype,
    read,
    reopen,
    to_numpy,
)
from steelyard.parametrizations import Parametrization
from steelyard.parametrizations.adapted import as_given, as_parametrization
from steelyard.refs import find_weight
from steelyard.substitutes._keep import each_at, kind, rewrite
from steelyard.substitutes._ledger import ledger_of
from steelyard.substitutes._place import refuse_codes, stand_in, substitute_for
from steelyard.substitutes._rewrite import Rewrite
from steelyard.substitutes._start import Start, initial_state, reading
from steelyard.substitutes._tie import layer_meant


def parametrize(layer: Any, weight: str = "kernel", parametrization: Any = None) -> Any:
    """Has a layer compute with a function of the variable that it stores.

    The variable stays the layer's own, is the one that is trained, saved and loaded, and is never
    overwritten by the function. The gradient goes through it. Keras saves, loads, clones and
    exports the layer as ever.

    Args:
        layer: the layer whose weight it is, of any class, built or not; or its symbolic output; or
            a model or layer above it, with the address of the weight from there on.
        weight: the name or address of the weight: `"kernel"`, `"cell/kernel"`, `"query/kernel"`.
        parametrization: one of `sy.parametrizations`; a function of the stored value, made of
            `keras.ops`; or an object with a method `forward` and, if the stored value shall be
            worked back from the weight that the layer has now, `right_inverse`. To be saved, a
            class or function must be registered with Keras.

    Returns:
        The same layer.

    Raises:
        ParametrizationError: it is no parametrization.
        ShapeMismatchError: the function gives another shape than the weight's; says both.
        SubstituteError: the weight cannot be parametrized so.
        UnknownAddressError: the layer has no such weight.

    Example:
        >>> import keras, numpy as np, steelyard as sy
        >>> dense = keras.layers.Dense(3)
        >>> dense.build((None, 4))
        >>> dense = sy.parametrize(dense, "kernel", sy.parametrizations.SpectralNorm())
        >>> round(float(np.linalg.norm(dense.kernel.numpy(), 2)), 3)
        1.0
    """
    layer = layer_meant(layer)
    rewrite(layer, weight, Parametrize(as_parametrization(parametrization)))
    return layer


def parametrizations_of(layer: Any, weight: str = "kernel") -> tuple[Any, ...]:
    """What a weight is parametrized by, as it was given, in the order of application.

    Args:
        layer: as in `parametrize`.
        weight: the name or address of the weight.

    Returns:
        The parametrizations; none if the weight is not parametrized.

    Raises:
        UnknownAddressError: the layer has no such weight.
    """
    owner = find_weight(layer_meant(layer), weight.strip("/"))
    assert owner.layer is not None
    found = [r for name, r in each_at(owner.layer) if name == owner.name]
    return tuple(as_given(r.parametrization) for r in found if isinstance(r, Parametrize))


@kind
class Parametrize(Rewrite):
    """A weight that is a function of what is stored. Also the recipe of its substitute.

    Attributes:
        parametrization: the function, as an object with `forward`.
        originals: the variables that it takes.
        state: what it keeps beside them, by name.
    """

    def __init__(self, parametrization: Parametrization) -> None:
        self.parametrization = parametrization
        self.originals: list[keras.Variable] = []
        self.state: dict[str, keras.Variable] = {}
        self._site: Any = None
        self._substitute: Substitute | None = None

    # --- as a rewrite ---------------------------------------------------------------------------

    def install(self, site: keras.Layer, name: str) -> None:
        """Puts the function's value in the place of what the layer stores."""
        ledger = ledger_of(site)
        assert ledger is not None
        refuse_codes(site, name)
        before = substitute_for(site, name)
        self.parametrization.check(tuple(before.shape))
        start = Start(self.parametrization, before)
        shapes = start.shapes()
        same = shapes[0] == tuple(before.shape)
        if not same and isinstance(before, Substitute):
            raise SubstituteError(
                f"Weight '{name}' of layer '{site.name}' ({type(site).__name__}) is tied or "
                "parametrized already, and this parametrization stores something of another shape "
                f"{shapes[0]}. Make it independent first: `sy.bake(layer, '{name}')`."
            )
        substitute = Substitute.standing_for(before, self, site)
        added: list[keras.Variable] = []
        try:
            self.originals = [before] if same else []
            for index in range(len(self.originals), len(shapes)):
                label = f"{name}_{_suffix(self.parametrization, index)}"
                added.append(_add(site, label, start, index, before))
                self.originals.append(added[-1])
            for key, array in start.state_now().items():
                added.append(_add_state(site, f"{name}_{key}", start, key, array))
                self.state[key] = added[-1]
            start.settle(before if same else None)
            if start.is_known:
                substitute.worked_out()  # says both shapes if they do not fit
            stand_in(site, name, substitute, ledger, keep=same)
        except BaseException:
            start.undo()
            _remove(site, added)
            self.originals, self.state = [], {}
            raise
        self._site, self._substitute = weakref.ref(site), substitute
        ledger.added.setdefault(name, []).extend(added)

    def repeats(self, other: Rewrite) -> bool:
        """Whether code does again, on a load, what the config says that it did."""
        return (
            isinstance(other, Parametrize)
            and self.by_code
            and other.by_code
            and _written(self.parametrization) == _written(other.parametrization)
        )

    def get_config(self) -> dict[str, Any]:
        """The parametrization as plain text and numbers."""
        return {"address": self.address, "parametrization": _written(self.parametrization)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Parametrize:
        """Reads what `get_config` wrote."""
        written = config["parametrization"]
        return cls(as_parametrization(keras.saving.deserialize_keras_object(written)))

    # --- as a recipe ----------------------------------------------------------------------------

    def value(self, fresh: dict[str, Any]) -> Any:
        """The function of what is stored now."""
        state = {key: _kept(read(v)) for key, v in self.state.items() if key not in fresh}
        return self.parametrization.forward(*map(reading, self.originals), **state, **fresh)

    def update(self) -> dict[str, Any]:
        """Takes the step of a training call, and notes the new state down."""
        if not self.state:
            return {}
        with own_dtype():
            state = {key: _kept(read(variable)) for key, variable in self.state.items()}
            new = self.parametrization.update(*map(reading, self.originals), **state)
            fresh = {key: ops.stop_gradient(value) for key, value in new.items()}
            for key, variable in self.state.items():
                if key in fresh:
                    variable.assign(fresh[key])
        return fresh

    def variables(self) -> list[keras.Variable]:
        """What is stored."""
        return [*self.originals, *self.state.values()]

    def same_as(self) -> keras.Variable | None:
        """None: the value is no other layer's."""
        return None

    def assign(self, value: Any) -> None:
        """Stores what gives this value, if there is something that does.

        Raises:
            SubstituteError: nothing that can be stored gives it.
        """
        value = ops.convert_to_numpy(value)
        start = Start(self.parametrization, None, value)
        got = start.result()
        scale = float(np.max(np.abs(value), initial=0))
        if not np.allclose(got, value, rtol=1e-3, atol=1e-5 * scale):
            raise SubstituteError(
                f"'{self.address}' is parametrized by {type(self.parametrization).__name__}, which "
                "gives no such value. Assign to what is stored instead "
                f"({', '.join(variable.name for variable in self.originals)}), or `sy.bake` the "
                "weight first."
            )
        for variable, array in zip(self.originals, start.originals(), strict=True):
            variable.assign(array)
        for key, array in start.state().items():
            self.state[key].assign(array)

    def start_from_stored(self, ids: set[int]) -> None:
        """Works out anew the added variables with these identities, as a file lacked them."""
        first = self.originals[0]
        if isinstance(first, Substitute) or id(first) in ids:
            return
        value = to_numpy(read(first))
        if any(id(variable) in ids for variable in self.originals):
            start = Start(self.parametrization, None, value)
            for variable, array in zip(self.originals, start.originals(), strict=True):
                variable.assign(array)
        arrays = [to_numpy(reading(variable)) for variable in self.originals]
        for key, array in initial_state(self.parametrization, arrays).items():
            if id(self.state[key]) in ids:
                self.state[key].assign(array)

    def trainable(self) -> bool:
        """Whether training moves what is stored."""
        site = self._site() if self._site is not None else None
        frozen = site is not None and not site.trainable
        return not frozen and any(variable.trainable for variable in self.originals)

    def freeze(self, frozen: bool) -> None:
        """Freezes what is stored, or lets it train."""
        for variable in self.originals:
            variable.trainable = not frozen


# --- what is added --------------------------------------------------------------------------------


def _suffix(parametrization: Parametrization, index: int) -> str:
    names = parametrization.names
    return names[index] if index < len(names) else f"original{index}"


def _add(
    site: keras.Layer, label: str, start: Start, index: int, before: keras.Variable
) -> keras.Variable:
    shape = start.shapes()[index]
    with reopen(site):
        return site.add_weight(
            name=_free(site, label),
            shape=shape,
            dtype=dtype_of(before),
            trainable=before.trainable,
            initializer=start.first(lambda: start.originals()[index]),
        )


def _add_state(
    site: keras.Layer, label: str, start: Start, key: str, array: np.ndarray
) -> keras.Variable:
    with reopen(site):
        return site.add_weight(
            name=_free(site, label),
            shape=array.shape,
            dtype=keras.backend.standardize_dtype(array.dtype),
            trainable=False,
            autocast=False,
            aggregation="only_first_replica",
            initializer=start.first(lambda: start.state()[key]),
        )


def _free(site: keras.Layer, label: str) -> str:
    label = label.replace("/", "_")  # of a weight in a list: `parts/0`
    taken = {variable.name for variable in site.variables}
    count, name = 1, label
    while name in taken:
        count += 1
        name = f"{label}_{count}"
    return name


def _remove(site: keras.Layer, added: list[keras.Variable]) -> None:
    for variable in added:
        let_go(site, variable, [])


def _kept(value: Any) -> Any:
    """A state as it is now: torch changes a variable in place while a gradient still needs it."""
    return ops.copy(value) if keras.backend.backend() == "torch" else value


def _written(parametrization: Any) -> Any:
    try:
        return keras.saving.serialize_keras_object(parametrization)
    except SteelyardError:
        raise
    except Exception as error:
        raise SubstituteError(
            f"A weight is parametrized by an object of class {type(parametrization).__name__}, "
            "which cannot be written down: give the class a `get_config`, or derive it from "
            f"`sy.parametrizations.Parametrization`. ({error})"
        ) from error
