"""A run of a training as the curves of a page: few enough steps that many series fit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from steelyard.readings import Run
from steelyard.report._spectra import rounded
from steelyard.selection import count, plain

Json = dict[str, Any]

# Together so many numbers; of the steps at least and at most so many.
_NUMBERS = 150_000
_FEWEST, _MOST = 20, 400


def curves_of(run: Run) -> Json:
    """What the page knows of a training: steps, what Keras logged, a series for each key."""
    keys, values = run.keys, run.values
    most = max(_FEWEST, min(_MOST, _NUMBERS // max(1, len(keys))))
    kept = kept_steps(len(run), most)
    steps, epochs, logs = run.steps, run.epochs, run.logs
    names = dict.fromkeys(name for told in logs for name in told)
    return {
        "steps": [steps[i] for i in kept],
        "epochs": [epochs[i] for i in kept],
        "all": len(run),
        "logs": [
            {"name": plain(name), "values": [_or_none(logs[i].get(name)) for i in kept]}
            for name in names
        ],
        "series": [
            {
                "address": plain(address),
                "metric": plain(metric),
                "unit": plain(unit),
                "values": [_or_none(values[i, column]) for i in kept],
            }
            for column, (address, metric, unit) in enumerate(keys)
        ],
    }


def kept_steps(count: int, most: int) -> list[int]:
    """Which steps of many are shown: evenly, the first and the last among them."""
    if count <= most:
        return list(range(count))
    return sorted({round(i * (count - 1) / (most - 1)) for i in range(most)})


def _or_none(number: float | None) -> Any:
    """None where nothing was measured: in a table of numbers that is NaN."""
    return None if number is None or number != number else rounded(number, 6)


def facts(run: Run) -> Sequence[str]:
    """What is known of a run, in short lines."""
    steps = run.steps
    if not steps:
        return ["no step was measured"]
    span = f"from {steps[0]:,} to {steps[-1]:,}, in epoch {run.epochs[-1] + 1:,}"
    return [f"{count(len(steps), 'step')} measured, {span}"]
