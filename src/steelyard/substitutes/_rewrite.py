"""`Rewrite`: one change of how a layer comes by a weight, as it is noted down and written out."""

from __future__ import annotations

from typing import Any

import keras

from steelyard.refs import WeightRef


class Rewrite:
    """A change of one weight: tied, parametrized or penalized.

    It is kept by the layer in whose config it is written, and works at the layer that itself holds
    the weight; these differ where a layer makes others that its config says nothing of.

    Attributes:
        address: where the weight is, from the layer that keeps this.
        by_code: whether it was made in an `__init__` or a `build`, which makes it again on a load.
        references: what it reads of other layers.
    """

    address: str = ""
    by_code: bool = False

    @property
    def references(self) -> list[WeightRef]:
        """The references to other layers' weights that this reads."""
        return []

    def kept_by(self, keeper: keras.Layer) -> None:
        """Tells which layer writes this into its config; ways to other layers start there."""

    def install(self, site: keras.Layer, name: str) -> None:
        """Takes effect at the layer that holds the weight; on an error nothing has changed."""
        raise NotImplementedError

    def start_from_stored(self, ids: set[int]) -> None:
        """Works out anew those of the variables that this added which a file lacked."""

    def repeats(self, other: Rewrite) -> bool:
        """Whether this says no more than `other`, which is there already."""
        return False

    def get_config(self) -> dict[str, Any]:
        """This as plain text and numbers."""
        raise NotImplementedError

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Rewrite:
        """Reads what `get_config` wrote."""
        raise NotImplementedError
