"""What has changed since a model was compiled, and what its optimizer does not know."""

from __future__ import annotations

from collections.abc import Iterator

import keras

from steelyard.findings._subject import Found, Row, Subject, described, some
from steelyard.live import Substitute, compiled_flags, optimized, place_of, walk

_COMPILE = (
    "Call `model.compile(...)` again after the change. To train a layer in one model and not in "
    "another, as in a GAN, write one `train_step` with an optimizer for each part."
)


def stale_flags(subject: Subject) -> Iterator[Found]:
    """`trainable` flags that were changed since the model was compiled."""
    model = subject.model
    if not _is_compiled(model):
        return
    changed = _changed(subject)
    for layer, was in changed.items():
        rows = [row for row in _movable(subject, layer) if row.variable.trainable != was]
        above = [parent for parent in subject.parents.get(id(layer), []) if parent in changed]
        if not rows or above:
            continue
        verb = "stop" if was else "start"
        yield Found(
            subject.address(layer),
            f"`trainable` of {described(layer)} was {was} when '{model.name}' was compiled and is "
            f"{not was} now: Keras reads it at the next trace, and what is compiled goes on as "
            f"before until then; it will {verb} training {some([row.address for row in rows])}.",
            _COMPILE,
        )


def stale_optimizers(subject: Subject) -> Iterator[Found]:
    """Trainable weights that the optimizer was not built for, and what it still has."""
    model = subject.model
    known = optimized(model) if _is_compiled(model) else None
    if known is None:
        return
    told = {id(variable) for variable in known}
    explained = {
        id(row.variable) for layer in _changed(subject) for row in _movable(subject, layer)
    }
    new = [
        row
        for row in subject.rows
        if row.variable.trainable
        and not isinstance(row.variable, Substitute)
        and id(row.variable) not in told | explained
    ]
    if new:
        yield Found(
            new[0].address,
            f"The optimizer of '{model.name}' was built without {some([r.address for r in new])}: "
            "what is compiled does not train it, and a step that is compiled anew fails.",
            "Call `model.compile(...)` again, after all layers are there and all flags are set.",
        )
    gone = [variable for variable in known if id(variable) not in subject.tracked]
    if gone and not _is_quantized(subject):  # which is done after training
        yield Found(
            "",
            f"The optimizer of '{model.name}' still has {some([v.path for v in gone])}, which the "
            "model has no more.",
            "Call `model.compile(...)` again, after all layers are there and all flags are set.",
        )


def _is_compiled(model: keras.Layer) -> bool:
    return isinstance(model, keras.Model) and bool(model.compiled)


def _is_quantized(subject: Subject) -> bool:
    return any(getattr(place.layer, "quantization_mode", None) for place in subject.places)


def _movable(subject: Subject, layer: keras.Layer) -> list[Row]:
    """The weights below a layer that were made to be trained."""
    below = {id(place.layer) for place in walk(layer)}
    return [
        row
        for row in subject.rows
        if id(row.layer) in below and (place_of(row.layer, row.variable) or (False,))[0]
    ]


def _changed(subject: Subject) -> dict[keras.Layer, bool]:
    """The layers whose flag is another than it was, each with what it was."""
    flags = compiled_flags(subject.model)
    changed = {
        place.layer: flags[place.layer]
        for place in subject.places
        if flags.get(place.layer, place.layer.trainable) != place.layer.trainable
    }
    known = optimized(subject.model)
    if flags or known is None:
        return changed
    # Older Kerases note no flags, but the optimizer knows what it was built for.
    told = {id(variable) for variable in known}
    for place in subject.places:
        rows = _movable(subject, place.layer)
        if rows and not place.layer.trainable and all(id(row.variable) in told for row in rows):
            changed[place.layer] = True
    return changed
