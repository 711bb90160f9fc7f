"""`sy.audit`: what will go wrong with the weights of a model, without a word from Keras."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import keras

from steelyard.errors import SourceError
from steelyard.findings import (
    _borrowed,
    _compiled,
    _graphs,
    _late,
    _paths,
    _remade,
    _sharing,
    _untracked,
)
from steelyard.findings._subject import Found, Subject
from steelyard.records import Finding

# To add a code: its check here, and its page in docs/audit/.
CHECKS: dict[str, Callable[[Subject], Iterable[Found]]] = {
    "adopted-layer": _remade.adopted_layers,
    "duplicate-path": _paths.duplicate_paths,
    "foreign-owner": _borrowed.foreign_owners,
    "frozen-value": _graphs.frozen_values,
    "late-constraint": _late.late_constraints,
    "late-regularizer": _late.late_regularizers,
    "lost-flag": _remade.lost_flags,
    "lost-name": _remade.lost_names,
    "replaced-layer": _untracked.replaced_layers,
    "sharing-lost-on-clone": _sharing.lost_on_clone,
    "sharing-lost-on-load": _sharing.lost_on_load,
    "stale-optimizer": _compiled.stale_optimizers,
    "stale-trainable": _compiled.stale_flags,
    "unbound-reference": _borrowed.unbound_references,
    "unbuilt-layer": _remade.unbuilt_layers,
    "unsafe-lambda": _remade.unsafe_lambdas,
    "untracked-layer": _untracked.untracked_layers,
    "untracked-variable": _untracked.untracked_variables,
}


def audit(model: keras.Layer) -> list[Finding]:
    """What will silently go wrong with the weights of a model.

    Builds, calls and traces nothing, and changes nothing. Of a model that is not built yet it says
    what can be said. What each code means, and how to mend it, is in `docs/audit/`.

    Args:
        model: A Keras model or layer.

    Returns:
        The findings, by address; an empty list if all is well.

    Raises:
        SourceError: `model` is no Keras model or layer.

    Example:
        >>> import keras, steelyard as sy
        >>> inputs = keras.Input((4,))
        >>> dense = keras.layers.Dense(3, name="dense")
        >>> model = keras.Model(inputs, dense(inputs))
        >>> sy.audit(model)
        []
        >>> dense.kernel_regularizer = keras.regularizers.L2(0.1)
        >>> [(finding.code, finding.address) for finding in sy.audit(model)]
        [('late-regularizer', 'dense/kernel')]
    """
    if not isinstance(model, keras.Layer):
        raise SourceError(
            f"A Keras model or layer can be audited. Received an object of type "
            f"{type(model).__name__}."
        )
    subject = Subject(model)
    found = {Finding(code, *one) for code, check in CHECKS.items() for one in check(subject)}
    return sorted(found, key=lambda finding: (finding.address, finding.code, finding.message))
