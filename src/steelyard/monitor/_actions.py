"""What to do about findings: say it, stop, raise, or ask a function."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import keras

from steelyard.errors import FindingError, SteelyardError
from steelyard.monitor._troubles import Troubles
from steelyard.records import Finding

ACTIONS = ("record", "warn", "stop", "raise")
Action = str | Callable[[Finding], Any]
_SHOWN = 5


def check_action(name: str, action: Any) -> Action:
    """An action as the user gave it.

    Raises:
        SteelyardError: It is none.
    """
    if action in ACTIONS or callable(action):
        checked: Action = action
        return checked
    raise SteelyardError(
        f"`{name}` is {', '.join(map(repr, ACTIONS))}, or a function of a finding. "
        f"Received: {action!r}"
    )


def act(
    action: Action, findings: Sequence[Finding], model: keras.Model, troubles: Troubles
) -> None:
    """Do what is to be done about findings of one moment.

    Raises:
        FindingError: If that is to raise.
    """
    if not findings:
        return
    if callable(action):
        for finding in findings:
            answer = None
            with troubles.kept("the function that is told of findings"):
                answer = action(finding)
            if answer in ACTIONS:
                act(answer, [finding], model, troubles)
        return
    text = "\n".join(map(str, findings[:_SHOWN]))
    if len(findings) > _SHOWN:
        text += f"\nand {len(findings) - _SHOWN:,} more"
    if action == "raise":
        raise FindingError(text)
    if action == "stop":
        model.stop_training = True
        text += "\nTraining stops here."
    if action in ("warn", "stop"):
        warnings.warn(text, stacklevel=2)
