"""How sparse a weight is to be at which step of training."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from steelyard.errors import ParametrizationError
from steelyard.parametrizations._config import Configured


class SparsitySchedule(Configured):
    """The share of a weight's entries that are 0, over the steps of training.

    Subclass it and write `__call__`; `prunes_at` says when it is asked.

    Args:
        begin_step: The first step at which the mask is worked out; before it nothing is pruned.
        end_step: The last one; None: there is none.
        frequency: The number of steps from one mask to the next.
    """

    def __init__(self, begin_step: int, end_step: int | None, frequency: int) -> None:
        if begin_step < 0 or frequency < 1 or (end_step is not None and end_step < begin_step):
            raise ParametrizationError(
                f"{type(self).__name__} needs 0 <= begin_step <= end_step and a frequency of 1 or "
                f"more. Received: begin_step={begin_step!r}, end_step={end_step!r}, "
                f"frequency={frequency!r}."
            )
        self.begin_step = begin_step
        self.end_step = end_step
        self.frequency = frequency

    def __call__(self, step: Any) -> Any:
        """The sparsity at a step, in [0, 1].

        Args:
            step: The number of training calls before this one, an integer tensor of no axes.
        """
        raise NotImplementedError(f"{type(self).__name__} needs a `__call__`.")

    def prunes_at(self, step: Any) -> Any:
        """Whether the mask is worked out anew at a step; always at `end_step`."""
        since = step - self.begin_step
        due = ops.logical_and(since >= 0, ops.mod(since, self.frequency) == 0)
        if self.end_step is None:
            return due
        return ops.logical_or(ops.logical_and(due, step < self.end_step), step == self.end_step)


@keras.saving.register_keras_serializable(package="steelyard")
class ConstantSparsity(SparsitySchedule):
    """The same sparsity from `begin_step` on; which entries, is decided every `frequency` steps.

    Args:
        sparsity: The share of entries that are 0, in [0, 1].
        begin_step: The first step at which the mask is worked out.
        end_step: The last one; None: there is none.
        frequency: The number of steps from one mask to the next.
    """

    def __init__(
        self,
        sparsity: float,
        begin_step: int = 0,
        end_step: int | None = None,
        frequency: int = 100,
    ) -> None:
        super().__init__(begin_step, end_step, frequency)
        check_sparsity("ConstantSparsity", "sparsity", sparsity)
        self.sparsity = sparsity

    def __call__(self, step: Any) -> Any:
        """The sparsity, in [0, 1]."""
        return ops.convert_to_tensor(self.sparsity, "float32")


@keras.saving.register_keras_serializable(package="steelyard")
class PolynomialDecay(SparsitySchedule):
    """From an initial to a final sparsity, quickly at first.

    `final + (initial - final) · (1 - progress)^power`, where progress goes from 0 at `begin_step`
    to 1 at `end_step`. Zhu and Gupta 2017, "To prune, or not to prune".

    Args:
        initial_sparsity: The share of entries that are 0 at `begin_step`, in [0, 1].
        final_sparsity: That at `end_step` and after it.
        begin_step: The first step at which the mask is worked out.
        end_step: The last one.
        power: The exponent, above 0.
        frequency: The number of steps from one mask to the next.
    """

    def __init__(
        self,
        initial_sparsity: float,
        final_sparsity: float,
        begin_step: int,
        end_step: int,
        power: float = 3,
        frequency: int = 100,
    ) -> None:
        super().__init__(begin_step, end_step, frequency)
        check_sparsity("PolynomialDecay", "initial_sparsity", initial_sparsity)
        check_sparsity("PolynomialDecay", "final_sparsity", final_sparsity)
        if not power > 0:
            raise ParametrizationError(
                f"PolynomialDecay needs a power above 0. Received: power={power!r}."
            )
        self.initial_sparsity = initial_sparsity
        self.final_sparsity = final_sparsity
        self.power = power

    def __call__(self, step: Any) -> Any:
        """The sparsity at a step, in [0, 1]."""
        assert self.end_step is not None  # `__init__` takes no None
        since = ops.cast(step - self.begin_step, "float32")
        progress = ops.clip(since / max(self.end_step - self.begin_step, 1), 0.0, 1.0)
        if self.end_step == self.begin_step:
            progress = ops.ones_like(progress)
        gone = self.initial_sparsity - self.final_sparsity
        return self.final_sparsity + gone * (1 - progress) ** self.power


def check_sparsity(who: str, name: str, value: float) -> None:
    """Refuses what is no share.

    Raises:
        ParametrizationError: it is not in [0, 1].
    """
    if not 0 <= value <= 1:
        raise ParametrizationError(
            f"{who} needs a share of entries that are 0, from 0 to 1. Received: {name}={value!r}."
        )
