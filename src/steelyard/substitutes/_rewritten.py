"""The class of a layer whose weights were rewritten: that of before, which also knows of this.

The layer stays the object that it was, and an instance of its class. A generated subclass of the
same name adds what must happen at its calls, in its config and in its part of a weights file; so
Keras saves, loads and clones it like any other layer.
"""

from __future__ import annotations

from typing import Any

import keras

from steelyard.errors import SubstituteError
from steelyard.live import AsksForLosses, fixed, in_training
from steelyard.refs import Reader, save_in_progress
from steelyard.substitutes import _storage
from steelyard.substitutes._adopt import adopt, mixin
from steelyard.substitutes._bake import bake_own
from steelyard.substitutes._keep import keep, read_rewrite, settle
from steelyard.substitutes._ledger import LEDGER, Ledger
from steelyard.substitutes._penalize import Penalize

# The key of a layer's config under which its rewrites stand.
KEY = "steelyard"


@mixin
class Rewritten(AsksForLosses, Reader):
    """Put before the class of a layer whose weights were rewritten."""

    base_of_rewritten: Any = None

    @property
    def _readings(self) -> Ledger:
        ledger: Ledger = vars(self)[LEDGER]
        return ledger

    def call(self, *args: Any, **kwargs: Any) -> Any:
        """As the layer calls itself, with each substitute worked out once."""
        with fixed(self._readings.below, in_training()):
            outputs = super().call(*args, **kwargs)  # type: ignore[misc]
        if self._readings.waiting:
            settle(self)
        return outputs

    def quantized_call(self, *args: Any, **kwargs: Any) -> Any:
        """As `call`; what a layer does instead of it in a quantized policy."""
        with fixed(self._readings.below, in_training()):
            return super().quantized_call(*args, **kwargs)  # type: ignore[misc]

    def losses_of_now(self) -> list[Any]:
        """The penalties on the layer's own weights."""
        changes = [change for some in self._readings.at.values() for change in some]
        penalties = [change for change in changes if isinstance(change, Penalize)]
        if not penalties:
            return []
        model: Any = self.asker() or self
        return [loss for change in penalties if (loss := change.loss(model)) is not None]

    def is_ready_to_quantize(self) -> bool:
        """Bakes what is parametrized; what is tied is another layer's to quantize."""
        if self._readings.dropped:
            return False
        bake_own(self)
        return True

    # --- written and read back ------------------------------------------------------------------

    def get_config(self) -> dict[str, Any]:
        """The config of the layer, with what was rewritten."""
        ledger = self._readings
        ledger.asked_in = save_in_progress()
        kept = [
            {"kind": type(r).__name__, "by_code": r.by_code, **r.get_config()} for r in ledger.kept
        ]
        config: dict[str, Any] = super().get_config()  # type: ignore[misc]
        return {**config, KEY: {"class": _identity(ledger.base), "rewrites": kept}}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        """A layer of the class of before, rewritten again."""
        config = dict(config)
        note = config.pop(KEY)
        own = cls.base_of_rewritten
        same = own is not None and _identity(own) == note["class"]
        layer = (own if same else _find(note["class"])).from_config(config)
        adopt(layer)
        for written in note["rewrites"]:
            keep(layer, read_rewrite(written))
        return layer

    def save_own_variables(self, store: Any) -> None:
        """Saves what the layer owns, and what it reads from outside the model that is saved."""
        _storage.refuse_loss(self)
        _storage.save(self, super().save_own_variables, store)  # type: ignore[misc]
        self.save_lent(store)

    def load_own_variables(self, store: Any) -> None:
        """Loads what the layer owns; what it reads, the owner loads."""
        _storage.load(self, super().load_own_variables, self.load_lent(store))  # type: ignore[misc]


def _identity(base: type) -> dict[str, Any]:
    """How a config names a class."""
    for module, place in (("keras.layers", keras.layers), ("keras", keras)):
        if getattr(place, base.__name__, None) is base:
            return {"module": module, "class_name": base.__name__, "registered_name": None}
    registered = keras.saving.get_registered_name(base)
    return {
        "module": base.__module__,
        "class_name": base.__name__,
        "registered_name": registered,
    }


def _find(identity: dict[str, Any]) -> Any:
    name, registered = identity["class_name"], identity["registered_name"]
    if registered is None:
        found = getattr(keras.layers if identity["module"] == "keras.layers" else keras, name, None)
    else:
        found = keras.saving.get_registered_object(registered)
    if not (isinstance(found, type) and issubclass(found, keras.Layer)):
        raise SubstituteError(
            f"A layer of class '{name}' (module '{identity['module']}') was saved with rewritten "
            "weights, and no such class is known. Decorate it with "
            "`@keras.saving.register_keras_serializable()` and import it, or hand it to "
            "`load_model` as one of `custom_objects`."
        )
    return found
