"""The first weight, gradient or loss that is not finite: where, when, and what came before."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from steelyard.live import LiveSource
from steelyard.monitor._gauge import said_of_entries
from steelyard.readings import RunStep
from steelyard.records import Finding, Reading, WeightSpec

# A finite number of one of these says that all entries are finite.
_TELLING = ("l2_norm", "l1_norm", "max_abs", "rms", "std")
_FIX = (
    "Look at the steps before; lower the learning rate, clip the gradient, or scale the loss. "
    "Start again from a checkpoint of before."
)
# So short that BLAS does not begin to use threads.
_PIECE = 1 << 13
_SHOWN = 3


def bad_weights(
    source: LiveSource, specs: Iterable[WeightSpec], readings: Iterable[Reading]
) -> dict[str, str]:
    """The weights of a model with entries that are not finite, and how many of these there are.

    Args:
        source: The model.
        specs: All of its weights.
        readings: What is known of its weights now, so that these need not be read again.
    """
    well = {one.address for one in readings if one.metric in _TELLING and one.status == "ok"}
    bad = {}
    for spec in specs:
        if spec.address in well or "float" not in spec.dtype:
            continue
        array = source.view(spec.address)
        if not _finite(array) and (said := said_of_entries(array)):
            bad[spec.address] = said
    return bad


def bad_gradients(readings: Iterable[Reading]) -> dict[str, str]:
    """The weights whose gradient was measured and is not finite."""
    return {
        one.address: one.reason
        for one in readings
        if one.metric == "gradient_norm" and one.status == "not finite"
    }


def finding_of(
    kind: str, bad: dict[str, str], now: RunStep, before: Iterable[RunStep], loss: float | None
) -> Finding:
    """One finding for all that became not finite together, at the first of them.

    Args:
        kind: `"weight"` or `"gradient"`, or `"loss"`, which has no address.
        bad: By address, what is the matter.
        now: When it was seen.
        before: The last steps that were measured.
        loss: What Keras says it is.
    """
    address = next(iter(bad), "")
    when = f"after batch {now.batch} of epoch {now.epoch + 1} (step {now.step:,})"
    if kind == "loss":
        said = f"The loss is {loss} {when}, and all weights are finite."
    else:
        what = "Its gradient" if kind == "gradient" else "It"
        said = f"{what} has {bad[address].removeprefix('of the gradient: ')} {when}"
        more = len(bad) - 1
        said += f", as {'has' if more == 1 else 'have'} {more:,} more." if more else "."
        said = said.replace("has its norm overflows", "overflows")
    said += " Before: " + (_history(address, before) or "nothing was measured") + "."
    return Finding(f"non-finite-{kind}", address, said, _FIX, now.step)


def _history(address: str, before: Iterable[RunStep]) -> str:
    """The last finite readings of a weight, and the loss."""
    parts = []
    for one in list(before)[-_SHOWN:]:
        told = [f"loss {one.logs['loss']:.4g}"] if "loss" in one.logs else []
        told += [
            f"{reading.metric} {reading.value:.4g}"
            for reading in one.readings
            if reading.address == address and isinstance(reading.value, float)
        ][:_SHOWN]
        if told:
            parts.append(f"{', '.join(told)} at step {one.step:,}")
    return "; ".join(parts)


def _finite(array: np.ndarray) -> bool:
    flat = np.ravel(array, order="K")
    with np.errstate(all="ignore"):
        return all(np.isfinite(np.dot(piece, piece)) for piece in _pieces(flat))


def _pieces(flat: np.ndarray) -> Iterator[np.ndarray]:
    for start in range(0, flat.size, _PIECE):
        yield flat[start : start + _PIECE]
