"""References whose owner is missing, or is no part of the model."""

from __future__ import annotations

from collections.abc import Iterator

from steelyard.errors import SteelyardError
from steelyard.findings._subject import Found, Subject
from steelyard.live import Place, holds
from steelyard.refs import WeightRef


def unbound_references(subject: Subject) -> Iterator[Found]:
    """References that lead nowhere in the model."""
    for place, reference in _references(subject):
        target = reference.target
        try:
            if target.resolve(place.layer, subject.model) is not None:
                continue
            reason = str(target.not_found(place.layer, subject.model))
        except SteelyardError as error:
            reason = str(error)
        yield Found(
            subject.address(place.layer),
            f"It borrows '{reference.address}', which is not found: {reason}",
            "Give the address as it is in the model that holds both, or hand over the layer "
            "itself; then `sy.bind(model)`.",
        )


def foreign_owners(subject: Subject) -> Iterator[Found]:
    """References to weights of a layer that the model does not hold, and would train."""
    for place, reference in _references(subject):
        try:
            owner = reference.target.resolve(place.layer, subject.model)
        except SteelyardError:
            continue  # an unbound reference
        if owner is None or holds(subject.model, owner):
            continue
        if reference.stops_gradient or not owner.trainable:
            continue
        yield Found(
            subject.address(place.layer),
            f"It borrows '{reference.address}' of a layer that is no part of "
            f"'{subject.model.name}', which would neither train nor save it.",
            f"Use the layer in the model, or hold it there (`model.{owner.name} = layer`, before "
            "`compile`); if it shall only be read, borrow with `stop_gradient=True`.",
        )


def _references(subject: Subject) -> Iterator[tuple[Place, WeightRef]]:
    """Each reference that a layer holds, as a copy: to look for its owner binds it."""
    for place in subject.places:
        for held in subject.held[id(place.layer)]:
            if isinstance(held.value, WeightRef):
                yield place, held.value.for_holder(place.layer)
